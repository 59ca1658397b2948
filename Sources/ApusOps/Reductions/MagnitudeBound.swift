// A bound of the absolute values of arrays, and of products that need not be computed for it.

import ApusGraph
import CKernels

/// A number that no absolute value of the arrays exceeds; not finite where any of them is not.
///
///     y = max(max over plain arrays of max |x|, max over products of terms · max |a| · max |b|)
///
/// A step of training looks at it before it changes anything: a gradient that is a NaN or an infinity must
/// not reach a weight. Of a gradient that is a matrix product, its factors tell enough: each element is a
/// sum of `terms` products. `BoundByFactors` puts them in the product's place.
///
/// Operands: floats of any shapes, each once. The result is `f32[]`.
package struct MagnitudeBound: CompositeOp {
  package static let mnemonic = "magnitude_bound"
  /// The operands that count by themselves.
  package let plain: [Int]
  /// The operands that are factors, in pairs, and the terms of each product's sums.
  package let products: [Product]

  /// A product of two operands.
  package struct Product: Sendable, Hashable {
    package var a: Int
    package var b: Int
    package var terms: Int

    package init(_ a: Int, _ b: Int, terms: Int) {
      self.a = a
      self.b = b
      self.terms = terms
    }
  }

  package init(plain: [Int], products: [Product] = []) {
    self.plain = plain
    self.products = products
  }

  package init(attributes: AttributeReader) throws {
    let flat = try attributes.ints("products")
    guard flat.count % 3 == 0 else {
      throw ApusError(
        .parse, "\(Self.mnemonic): products of \(flat.count) numbers",
        expected: "two operands and a number of terms for each")
    }
    self.init(
      plain: try attributes.ints("plain"),
      products: stride(from: 0, to: flat.count, by: 3).map {
        Product(flat[$0], flat[$0 + 1], terms: flat[$0 + 2])
      })
  }

  package var attributes: [Attribute] {
    [
      Attribute("plain", .ints(plain)),
      Attribute("products", .ints(products.flatMap { [$0.a, $0.b, $0.terms] })),
    ]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    if let bad = operands.first(where: { !$0.dtype.isFloat }) {
      throw ApusError(
        .dtypeMismatch, "\(Self.mnemonic): an operand is \(bad)", expected: "floats")
    }
    let used = plain + products.flatMap { [$0.a, $0.b] }
    guard used.allSatisfy(operands.indices.contains), products.allSatisfy({ $0.terms >= 0 }),
      Set(used).count == operands.count
    else {
      throw ApusError(
        .invalidArgument,
        "\(Self.mnemonic): \(operands.count) operands for plain \(plain) and \(products)",
        expected: "operands that count or are factors, and terms from 0 on")
    }
    return [.f32()]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    context.operands.map { _ in nil }
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let greatest = operands.map { $0.doubles.reduce(0) { greater($0, abs($1)) } }
    let bounds =
      plain.map { greatest[$0] }
      + products.map { Double($0.terms) * greatest[$0.a] * greatest[$0.b] }
    return [NDArray(doubles: [bounds.reduce(0, greater)], type: results[0])]
  }

  private func greater(_ a: Double, _ b: Double) -> Double { a.isNaN || a > b ? a : b }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    view.isContiguous
  }

  package func hasKernel(_ operands: [TensorType]) -> Bool {
    operands.allSatisfy { $0.dtype == .f32 || $0.dtype == .bf16 }
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let trace = operands.first?.trace ?? Trace.current ?? Trace()
    let zero = trace.constant(0)
    let greatest = operands.map { $0.type.count == 0 ? zero : abs($0).max().cast(to: .f32) }
    let bounds =
      plain.map { greatest[$0] }
      + products.map { greatest[$0.a] * greatest[$0.b] * Double($0.terms) }
    return [bounds.dropFirst().reduce(bounds.first ?? zero) { maximum($0, $1) }]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    guard hasKernel(site.operands) else {
      throw ApusError(
        .unsupported, "\(Self.mnemonic) has no kernel for these types", expected: "f32 or bf16")
    }
    return boundCall(site, CK_BOUND_MAGNITUDE, "ck_magnitude_\(site.isa.name)", products) {
      plain.contains($0)
    }
  }
}

extension Op {
  /// The call of a kernel of ck_bound.h, which reads all operands.
  ///
  /// - `isPlain`: whether the operand at that place counts by itself.
  func boundCall(
    _ site: LoweringSite, _ op: ck_bound_op, _ name: String,
    _ products: [MagnitudeBound.Product] = [], isPlain: (Int) -> Bool
  ) -> KernelCall {
    var header = ck_bound_args()
    header.arrays = Int32(site.operands.count)
    header.products = Int32(products.count)
    var bytes = withUnsafeBytes(of: header) { Array($0) }
    for (index, type) in site.operands.enumerated() {
      var array = ck_bound_array()
      array.count = Int64(type.count)
      array.dtype = type.dtype.kernelCode
      array.is_plain = isPlain(index) ? 1 : 0
      withUnsafeBytes(of: array) { bytes += $0 }
    }
    for product in products {
      let block = ck_bound_product(
        a: Int32(product.a), b: Int32(product.b), terms: Double(product.terms))
      withUnsafeBytes(of: block) { bytes += $0 }
    }
    var call = KernelCall(
      name, entry: KernelEntry(ck_bound(op, ck_isa(site.isa))), bytes: bytes)
    call.bind(MemoryLayout<ck_bound_args>.offset(of: \.out)!, to: .result(0))
    call.bind(MemoryLayout<ck_bound_args>.offset(of: \.workspace)!, to: .workspace)
    for index in site.operands.indices {
      let block = MemoryLayout<ck_bound_args>.size + index * MemoryLayout<ck_bound_array>.stride
      call.bind(block + MemoryLayout<ck_bound_array>.offset(of: \.data)!, to: .operand(index))
    }
    call.workspaceBytes = bytes.withUnsafeBytes {
      ck_bound_workspace_bytes($0.baseAddress!.assumingMemoryBound(to: ck_bound_args.self))
    }
    call.flops = Double(site.operands.reduce(0) { $0 + $1.count })
    call.bytes = Double(site.operands.reduce(0) { $0 + $1.byteCount })
    return call
  }
}

extension MagnitudeBound: NarrowableOp {
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { true }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { false }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op { self }
}

/// A number, `f32[]`, that no absolute value of the tensors exceeds; not finite where any of them holds a NaN
/// or an infinity. No gradient flows through it.
///
///     let bound = magnitudeBound(gradients)
///
/// - `tensors`: floats; 0 where there are none.
package func magnitudeBound(
  _ tensors: [Tensor], file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  var seen: Set<ValueID?> = []
  let each = tensors.filter { seen.insert($0.value).inserted }
  guard !each.isEmpty else { return Trace.recording.constant(0) }
  return Tensor.applyAll(
    MagnitudeBound(plain: Array(each.indices)), to: each, location: sourceLocation(file, line))[0]
}
