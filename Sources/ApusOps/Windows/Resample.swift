// Images made larger or smaller along one axis.

import ApusGraph
import CKernels

/// How pixels are found between pixels.
///
///     interpolate(x, scale: [2], mode: .bilinear)
public enum Interpolation: String, Sendable, Hashable, CaseIterable {
  /// The pixel at or before the place, as PyTorch's `nearest`.
  case nearest
  /// The pixel whose middle is nearest, as PyTorch's `nearest-exact`.
  case nearestExact
  /// Between the two neighbours along each axis.
  case linear
  /// Through four neighbours along each axis, by Keys' kernel with a = -0.75 (1981), as PyTorch's.
  case cubic

  /// `linear` along two axes, three axes; `cubic` along two.
  public static let bilinear = Interpolation.linear
  public static let trilinear = Interpolation.linear
  public static let bicubic = Interpolation.cubic

  var isNearest: Bool { self == .nearest || self == .nearestExact }
}

/// Along `axis`, each of `to` places is a weighted sum of a few of `from`; or, the adjoint, what flows back
/// from `to` places to `from`.
///
/// The place `o` lies at `o · step`, or, between aligned middles, `(o + ½) step - ½` of the operand, held at
/// its edges. Operand: floats. ``Interpolation`` has the weights.
package struct Resample: Op, NarrowableOp {
  package static let mnemonic = "resample"
  package let axis: Int
  package let from: Int
  package let to: Int
  package let mode: Interpolation
  package let alignsCorners: Bool
  /// Places of the operand from one of the result to the next.
  package let step: Double
  package let isAdjoint: Bool
  package let result: DType?

  /// Extents that tables of weights are made for.
  static let extents = 1...1 << 20

  package init(
    axis: Int, from: Int, to: Int, mode: Interpolation, alignsCorners: Bool = false,
    step: Double, isAdjoint: Bool = false, result: DType? = nil
  ) {
    self.axis = axis
    self.from = from
    self.to = to
    self.mode = mode
    self.alignsCorners = alignsCorners
    self.step = step
    self.isAdjoint = isAdjoint
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    let name = try attributes.string("mode")
    guard let mode = Interpolation(rawValue: name) else {
      throw ApusError(
        .parse, "resample: there is no mode '\(name)'",
        expected: Interpolation.allCases.map(\.rawValue).joined(separator: ", "))
    }
    self.init(
      axis: try attributes.int("axis"), from: try attributes.int("from"),
      to: try attributes.int("to"), mode: mode,
      alignsCorners: try attributes.bool("alignsCorners"), step: try attributes.double("step"),
      isAdjoint: try attributes.bool("isAdjoint"), result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    [
      Attribute("axis", .int(axis)), Attribute("from", .int(from)), Attribute("to", .int(to)),
      Attribute("mode", .string(mode.rawValue)),
      Attribute("alignsCorners", .bool(alignsCorners)), Attribute("step", .double(step)),
      Attribute("isAdjoint", .bool(isAdjoint)),
    ] + Attribute.storageType(result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    let x = operands[0]
    guard x.dtype.isFloat, result?.isFloat ?? true else {
      throw ApusError(.dtypeMismatch, "resample: not defined for \(x)", expected: "floats")
    }
    guard Self.extents.contains(from), Self.extents.contains(to), step >= 0, step.isFinite,
      step <= Double(Self.extents.upperBound)
    else {
      throw ApusError(
        .invalidArgument, "resample: \(from) places to \(to), by \(step)",
        expected: "1 to \(Self.extents.upperBound) places, and a step between 0 and that")
    }
    guard (0..<x.rank).contains(axis), x.shape[axis] == (isAdjoint ? to : from) else {
      throw ApusError(
        .shapeMismatch, "resample: \(x) along axis \(axis)",
        expected: "extent \(isAdjoint ? to : from) there")
    }
    var shape = x.shape
    shape.dimensions[axis] = isAdjoint ? from : to
    return [TensorType(result ?? x.dtype, shape)]
  }

  // The op is linear, and its matrix knows nothing of x.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let op = Resample(
      axis: axis, from: from, to: to, mode: mode, alignsCorners: alignsCorners, step: step,
      isAdjoint: !isAdjoint, result: result.map { _ in context.operands[0].dtype })
    return [.apply(op, to: context.gradient)]
  }

  // MARK: The matrix

  /// The places that a result's place reads, and their weights.
  private func taps(_ place: Int) -> [(index: Int, weight: Double)] {
    func held(_ index: Double) -> Int { Int(min(max(index, 0), Double(from - 1))) }
    let middle = alignsCorners ? step * Double(place) : step * (Double(place) + 0.5) - 0.5
    switch mode {
    case .nearest:
      // In whole numbers where the step is that of the extents: a quotient is rounded.
      let isWhole = step == Double(from) / Double(to)
      return [(isWhole ? place * from / to : held((step * Double(place)).rounded(.down)), 1)]
    case .nearestExact: return [(held((step * (Double(place) + 0.5)).rounded(.down)), 1)]
    case .linear:
      let at = max(middle, 0)
      let index = held(at.rounded(.down))
      let part = min(at - Double(index), 1)
      if part == 0 || index == from - 1 { return [(index, 1)] }
      return [(index, 1 - part), (index + 1, part)]
    case .cubic:
      let start = middle.rounded(.down)
      let part = middle - start
      return (0..<4).map { k in
        (held(start + Double(k - 1)), Self.cubic(abs(part - Double(k - 1))))
      }
    }
  }

  /// Keys' kernel with a = -0.75.
  private static func cubic(_ distance: Double) -> Double {
    let (a, x) = (-0.75, distance)
    if x <= 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  }

  /// For each place along the result's axis: what it reads of the operand.
  private var rows: [[(index: Int, weight: Double)]] {
    let forward = (0..<to).map(taps)
    guard isAdjoint else { return forward }
    var rows = [[(index: Int, weight: Double)]](repeating: [], count: from)
    for (place, taps) in forward.enumerated() {
      for tap in taps { rows[tap.index].append((place, tap.weight)) }
    }
    return rows
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (outer, extent, inner) = operands[0].shape.split(at: axis)
    let (x, rows) = (operands[0].doubles, rows)
    var y: [Double] = []
    y.reserveCapacity(results[0].count)
    for o in 0..<outer {
      for taps in rows {
        for i in 0..<inner {
          y.append(
            taps.reduce(0) { $0 + $1.weight * x[(o * extent + $1.index) * inner + i] })
        }
      }
    }
    return [NDArray(doubles: y, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    view.isContiguous
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let (x, y) = (site.operands[0], site.results[0])
    guard [x, y].allSatisfy({ $0.dtype == .f32 || $0.dtype == .bf16 }) else {
      throw ApusError(
        .unsupported, "resample has no kernel from \(x) to \(y)", expected: "f32 or bf16")
    }
    let (outer, extent, inner) = x.shape.split(at: axis)
    let rows = rows
    var args = ck_resample_args()
    (args.outer, args.extent) = (Int64(outer), Int64(extent))
    (args.results, args.inner) = (Int64(rows.count), Int64(inner))
    (args.x_dtype, args.y_dtype) = (x.dtype.kernelCode, y.dtype.kernelCode)
    var bytes = withUnsafeBytes(of: args) { Array($0) }
    var first: Int64 = 0
    for count in [0] + rows.map(\.count) {
      first += Int64(count)
      withUnsafeBytes(of: first) { bytes += $0 }
    }
    for tap in rows.joined() {
      let block = ck_resample_tap(index: Int32(tap.index), weight: Float(tap.weight))
      withUnsafeBytes(of: block) { bytes += $0 }
    }
    var call = KernelCall(
      "ck_resample_axis_\(site.isa.name)",
      entry: KernelEntry(ck_resample(CK_RESAMPLE_AXIS, ck_isa(site.isa))), bytes: bytes)
    call.bind(MemoryLayout<ck_resample_args>.offset(of: \.y)!, to: .result(0))
    call.bind(MemoryLayout<ck_resample_args>.offset(of: \.x)!, to: .operand(0))
    call.partition = .tiles(
      count: outer * rows.count, elementsPerTile: inner, alignedOperands: [])
    call.flops = 2 * Double(first) * Double(outer * inner)
    call.bytes = Double(x.byteCount + y.byteCount)
    return call
  }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { true }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { true }
  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    Resample(
      axis: axis, from: from, to: to, mode: mode, alignsCorners: alignsCorners, step: step,
      isAdjoint: isAdjoint, result: results[0])
  }
}
