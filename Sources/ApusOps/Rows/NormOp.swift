// What layer and RMS normalisation have in common: operand checks, references, argument blocks.

import ApusGraph
import CKernels
import Glibc

/// A normalisation or the gradient of one: rows of floats, computed in f32 whatever they are stored in.
///
/// All elements have one type, unless `result` is given: then the rows read may be of different float
/// types, what is made of them is rounded to `result` once, and parameters, statistics and the gradients
/// of parameters are f32.
package protocol RowNormOp: StoredRowsOp {
  /// How many operands are rows, from the first on.
  static var rowOperands: Int { get }
}

extension RowNormOp {
  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func hasKernel(_ operands: [TensorType]) -> Bool {
    hasKernel(operands.prefix(Self.rowOperands).map(\.dtype))
  }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    index < Self.rowOperands
  }

  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { index == 0 }

  /// The element type that rows are computed in, and that parameters and statistics have.
  func arithmetic(_ operands: [TensorType]) -> DType {
    arithmetic(operands.prefix(Self.rowOperands).map(\.dtype))
  }

  /// Rows of floats with a last axis, and parameters of it.
  func expectNormOperands(_ operands: [TensorType], _ parameters: some Sequence<TensorType>) throws
  {
    let x = operands[0]
    guard x.dtype.isFloat, x.rank >= 1, result?.isFloat ?? true else {
      throw ApusError(
        .dtypeMismatch,
        "\(mnemonic): not defined for \(x)" + (result.map { " with a result of \($0)" } ?? ""),
        expected: "floats of [rows…, columns]")
    }
    let wanted = x.with(arithmetic(operands)).lastAxis
    for parameter in parameters where parameter != wanted {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): \(x) with a parameter \(parameter)", expected: "\(wanted)")
    }
  }

  /// `1 / sqrt(squares / C + ε)` in primitives, from sums of squares; 0 where both are 0.
  func reciprocalRoot(_ squares: Tensor, _ columns: Int, epsilon: Double) -> Tensor {
    let square = squares / Double(columns) + epsilon
    guard epsilon < Double(Float.leastNormalMagnitude) else { return 1 / sqrt(square) }
    let isFlat = square .== 0
    return `where`(isFlat, 0, 1 / sqrt(`where`(isFlat, 1, square)))
  }

  /// The forward pass in double; results y, (mean,) rstd.
  func normReference(
    _ operands: [NDArray], _ results: [TensorType], epsilon: Double, isCentered: Bool
  ) -> [NDArray] {
    let columns = operands[0].shape[-1]
    let x = operands[0].doubles
    let gamma = operands.count > 1 ? operands[1].doubles : nil
    let beta = operands.count > 2 ? operands[2].doubles : nil
    var y: [Double] = []
    var means: [Double] = []
    var rstds: [Double] = []
    for i in 0..<results[1].count {
      let row = x[i * columns..<(i + 1) * columns]
      var mean = isCentered ? row.reduce(0, +) / Double(columns) : 0
      // The mean's rounding error is taken out: equal numbers have no deviation at all.
      if isCentered { mean += row.reduce(0) { $0 + ($1 - mean) } / Double(columns) }
      let square = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns) + epsilon
      let rstd = square == 0 ? 0 : 1 / sqrt(square)
      means.append(mean)
      rstds.append(rstd)
      for (c, value) in row.enumerated() {
        y.append((value - mean) * rstd * (gamma?[c] ?? 1) + (beta?[c] ?? 0))
      }
    }
    let statistics = isCentered ? [means, rstds] : [rstds]
    return zip([y] + statistics, results).map { NDArray(doubles: $0, type: $1) }
  }
}

/// ``LayerNorm`` or ``RMSNorm``. Operands: x, and parameters of its last axis. Results: y, and statistics
/// of the rows.
package protocol NormOp: RowNormOp {
  /// How many there are of each row.
  static var statistics: Int { get }
  static var mostParameters: Int { get }
  /// What is added to the variance.
  var epsilon: Double { get }
  init(epsilon: Double, result: DType?)
}

extension NormOp {
  package static var rowOperands: Int { 1 }

  package init(attributes: AttributeReader) throws {
    self.init(
      epsilon: try attributes.double("epsilon"),
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    [Attribute("epsilon", .double(epsilon))]
      + Attribute.storageType(result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(min(max(operands.count, 1), 1 + Self.mostParameters), operands)
    try expectNormOperands(operands, operands.dropFirst())
    let x = operands[0]
    let row = TensorType(arithmetic(operands), x.shape.withoutLast)
    return [x.with(result ?? x.dtype)] + Array(repeating: row, count: Self.statistics)
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    Self(epsilon: epsilon, result: results[0])
  }

  func normCall(_ site: LoweringSite, _ op: ck_norm_op, _ name: String) -> KernelCall {
    let x = site.operands[0]
    var args = ck_norm_args()
    args.rows = Int64(x.shape.withoutLast.count)
    args.cols = Int64(x.shape[-1])
    args.x_stride = args.cols
    args.epsilon = Float(epsilon)
    args.x_dtype = x.dtype.kernelCode
    args.y_dtype = site.results[0].dtype.kernelCode
    var call = KernelCall(name, ck_norm(op, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_norm_args.x, to: .operand(0))
    call.bind(\ck_norm_args.y, to: .result(0))
    if site.operands.count > 1 { call.bind(\ck_norm_args.gamma, to: .operand(1)) }
    if x.dtype == site.results[0].dtype { call.inPlace = [(operand: 0, result: 0)] }
    call.partition = .tiles(
      count: Int(args.rows), elementsPerTile: Int(args.cols), alignedOperands: [0])
    call.flops = 8 * Double(x.count)
    return call
  }
}

/// The gradients of a normalisation. Operands: dy, x, statistics of x's rows, and γ where there are
/// parameters; with `epsilon` the statistics are no operands but computed from x.
package protocol NormGradientOp: RowNormOp {
  /// How many there are of each row.
  static var statistics: Int { get }
  /// How many parameters there are gradients of, γ first.
  var parameters: Int { get }
  /// What the forward pass adds to the variance; nil where the statistics are operands.
  var epsilon: Double? { get }
  init(parameters: Int, epsilon: Double?, result: DType?)
}

extension NormGradientOp {
  package static var rowOperands: Int { 2 }

  package init(attributes: AttributeReader) throws {
    self.init(
      parameters: try attributes.int("parameters"),
      epsilon: attributes.has("epsilon") ? try attributes.double("epsilon") : nil,
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    [Attribute("parameters", .int(parameters))]
      + (epsilon.map { [Attribute("epsilon", .double($0))] } ?? [])
      + Attribute.storageType(result)
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    Self(parameters: parameters, epsilon: epsilon, result: results[0])
  }

  private var statisticsGiven: Int { epsilon == nil ? Self.statistics : 0 }
  /// The operand that is γ.
  var gammaIndex: Int? { parameters > 0 ? 2 + statisticsGiven : nil }

  /// dx, and the gradients of the parameters.
  func normGradientTypes(_ operands: [TensorType], atMost: Int) throws -> [TensorType] {
    guard (0...atMost).contains(parameters) else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): \(parameters) parameters", expected: "0 to \(atMost)")
    }
    let given = 2 + statisticsGiven
    try expect(given + (parameters > 0 ? 1 : 0), operands)
    try expectNormOperands(operands, operands.dropFirst(given))
    let (dy, x, wide) = (operands[0], operands[1], arithmetic(operands))
    let row = TensorType(wide, x.shape.withoutLast)
    guard dy.shape == x.shape, dy.dtype == x.dtype || result != nil && x.dtype.isFloat,
      operands[2..<given].allSatisfy({ $0 == row })
    else {
      throw ApusError(
        .shapeMismatch,
        "\(mnemonic): operands are \(operands.map(\.description).joined(separator: ", "))",
        expected: (result == nil ? "gradient and input of one type" : "floats of one shape")
          + (epsilon == nil ? ", and statistics \(row)" : ""))
    }
    return [x.with(result ?? x.dtype)]
      + Array(repeating: x.with(wide).lastAxis, count: parameters)
  }

  /// The backward pass in double; results dx, (dγ, (dβ)).
  func normGradientReference(_ operands: [NDArray], _ results: [TensorType], isCentered: Bool)
    -> [NDArray]
  {
    let x = operands[1]
    let columns = x.shape[-1]
    let row = x.type.with(x.shape.withoutLast)
    let types = [x.type] + Array(repeating: row, count: Self.statistics)
    let statistics =
      epsilon.map {
        Array(normReference([x], types, epsilon: $0, isCentered: isCentered).dropFirst())
      } ?? Array(operands[2..<2 + Self.statistics])
    let (d, h, s) = (operands[0].doubles, x.doubles, statistics[Self.statistics - 1].doubles)
    let m = isCentered ? statistics[0].doubles : nil
    let scale = gammaIndex.map { operands[$0].doubles }
    var dx: [Double] = []
    var sums = [[Double]](repeating: Array(repeating: 0, count: columns), count: 2)
    for i in 0..<s.count {
      let places = i * columns..<(i + 1) * columns
      let n = places.map { (h[$0] - (m?[i] ?? 0)) * s[i] }
      let g = places.enumerated().map { d[$1] * (scale?[$0] ?? 1) }
      let meanG = m == nil ? 0 : g.reduce(0, +) / Double(columns)
      let meanGN = zip(g, n).reduce(0) { $0 + $1.0 * $1.1 } / Double(columns)
      for (c, place) in places.enumerated() {
        dx.append(s[i] * (g[c] - meanG - n[c] * meanGN))
        sums[0][c] += d[place] * n[c]
        sums[1][c] += d[place]
      }
    }
    return zip([dx] + sums, results).map { NDArray(doubles: $0, type: $1) }
  }

  func normGradientCall(_ site: LoweringSite, _ op: ck_norm_op, _ name: String) -> KernelCall {
    let x = site.operands[1]
    var args = ck_norm_backward_args()
    args.rows = Int64(x.shape.withoutLast.count)
    args.cols = Int64(x.shape[-1])
    args.x_stride = args.cols
    args.dy_stride = args.cols
    args.epsilon = Float(epsilon ?? 0)
    args.dy_dtype = site.operands[0].dtype.kernelCode
    args.x_dtype = x.dtype.kernelCode
    args.dx_dtype = site.results[0].dtype.kernelCode
    var call = KernelCall(name, ck_norm(op, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_norm_backward_args.dy, to: .operand(0))
    call.bind(\ck_norm_backward_args.x, to: .operand(1))
    call.bind(\ck_norm_backward_args.dx, to: .result(0))
    if let gammaIndex { call.bind(\ck_norm_backward_args.gamma, to: .operand(gammaIndex)) }
    if parameters > 0 { call.bind(\ck_norm_backward_args.dgamma, to: .result(1)) }
    if parameters > 1 { call.bind(\ck_norm_backward_args.dbeta, to: .result(2)) }
    if parameters > 0 {
      call.workspaceBytes = ck_norm_workspace_bytes(&args)
      call.bind(\ck_norm_backward_args.workspace, to: .workspace)
    }
    call.inPlace = [0, 1].filter { site.operands[$0].dtype == site.results[0].dtype }
      .map { (operand: $0, result: 0) }
    call.flops = 16 * Double(x.count)
    return call
  }
}
