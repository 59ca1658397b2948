// Reading by index: take, take along an axis, embedding lookup.

import ApusGraph
import CKernels

/// Elements of the first operand chosen along `axis` by the integers of the second.
///
/// - Take (`isAlong` false): indices of any shape stand in the axis' place, as in NumPy's `take`:
///   `y[o…, k…, i…] = x[o…, indices[k…], i…]`.
/// - Take along (`isAlong` true): an index for each element, as in NumPy's `take_along_axis` and
///   PyTorch's `gather`: `y[o…, k, i…] = x[o…, indices[o…, k, i…], i…]`.
///
/// An index outside the axis is an error (`outOfRange`), negative ones included. The elements keep their
/// type, unless `result` is given: then floats are rounded to that.
package struct Gather: MovingOp {
  package static let mnemonic = "gather"
  /// From 0.
  package let axis: Int
  package let isAlong: Bool
  /// The element type of the result; nil for that of the first operand.
  package let result: DType?

  package init(axis: Int, isAlong: Bool = false, result: DType? = nil) {
    self.axis = axis
    self.isAlong = isAlong
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      axis: try attributes.int("axis"), isAlong: try attributes.bool("along"),
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    [Attribute("axis", .int(axis)), Attribute("along", .bool(isAlong))]
      + Attribute.storageType(result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(2, operands)
    var (x, indices) = (operands[0], operands[1])
    _ = try checkedAxis(x, axis)
    try expectIndices(indices)
    if let result {
      guard x.dtype.isFloat, result.isFloat else {
        throw ApusError(
          .dtypeMismatch, "gather: \(x) with a result of \(result)", expected: "floats")
      }
      x = x.with(result)
    }
    if isAlong {
      guard
        indices.rank == x.rank,
        indices.shape == x.shape.replacing(axis, with: indices.shape[axis])
      else {
        throw ApusError(
          .shapeMismatch, "gather: \(x) and indices \(indices) do not match",
          expected: "extents that are equal but at axis \(axis)")
      }
      return [x.with(indices.shape)]
    }
    let dimensions = x.shape.dimensions
    return [
      x.with(
        Shape(
          Array(dimensions[..<axis]) + indices.shape.dimensions + Array(dimensions[(axis + 1)...])))
    ]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (x, indices) = (context.operands[0], context.operands[1])
    guard x.dtype.isFloat else { return [nil, nil] }
    let op = ScatterAdd(axis: axis, extent: x.shape[axis], isAlong: isAlong)
    return [op.applied(to: context.gradient.cast(to: x.dtype), indices), nil]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let walk = GatherWalk(operands[0].shape, operands[1], axis: axis, isAlong: isAlong)
    let chosen = operands[0].elements(at: try walk.places(mnemonic), shape: results[0].shape)
    return [chosen.cast(to: results[0].dtype)]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let (outer, extent, inner) = site.operands[0].shape.split(at: axis)
    var args = ck_gather_args()
    args.outer = Int64(outer)
    args.axis = Int64(extent)
    args.inner = Int64(inner)
    args.count = Int64(isAlong ? site.operands[1].shape[axis] : site.operands[1].count)
    args.index_outer = isAlong ? args.count * args.inner : 0
    args.index_count = isAlong ? args.inner : 1
    args.index_inner = isAlong ? 1 : 0
    args.index_dtype = site.operands[1].dtype.kernelCode
    let (from, to) = (site.operands[0].dtype, site.results[0].dtype)
    args.element_size = Int32(from.byteCount)
    guard from == to || !isAlong && Set([from, to]) == Set([.f32, .bf16]) else {
      throw ApusError(
        .unsupported, "gather has no kernel from \(from) to \(to)",
        expected: "one type, or rows of f32 and bf16")
    }
    var call =
      from == to
      ? KernelCall("ck_gather", ck_gather(CK_GATHER_GATHER, ck_isa(site.isa)), site, block: args)
      : KernelCall(
        "ck_gather_cast", ck_gather(CK_GATHER_GATHER_CAST, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_gather_args.dst, to: .result(0))
    call.bind(\ck_gather_args.src, to: .operand(0))
    call.bind(\ck_gather_args.indices, to: .operand(1))
    call.bind(\ck_gather_args.error, to: .errorSlot)
    call.checkedIndices = (1, extent)
    call.bytes = Double(
      site.results[0].count * (from.byteCount + to.byteCount) + site.operands[1].byteCount)
    call.partition = .tiles(
      count: outer * Int(args.count), elementsPerTile: inner, alignedOperands: [])
    return call
  }
}

extension Gather: NarrowableOp {
  /// Single elements are not rounded: they are mostly what a loss is made of.
  private func takesRows(_ node: NodeTypes) -> Bool {
    let (_, _, inner) = node.operands[0].shape.split(at: axis)
    return !isAlong && inner > 1
  }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    index == 0 && takesRows(node)
  }

  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { takesRows(node) }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    Gather(
      axis: axis, isAlong: isAlong, result: operands[0] == results[0] ? nil : results[0])
  }
}

/// Where each element of a gather comes from, for the references.
struct GatherWalk {
  let shape: Shape
  let indices: NDArray
  let axis: Int
  let isAlong: Bool

  init(_ shape: Shape, _ indices: NDArray, axis: Int, isAlong: Bool) {
    self.shape = shape
    self.indices = indices
    self.axis = axis
    self.isAlong = isAlong
  }

  /// For each element of the gathered array, in order, its place in an array of `shape`.
  ///
  /// - Throws: `outOfRange` for an index outside the axis.
  func places(_ mnemonic: String) throws -> [Int] {
    let (outer, extent, inner) = shape.split(at: axis)
    let table = indices.integers
    let count = isAlong ? indices.shape[axis] : indices.count
    var result: [Int] = []
    result.reserveCapacity(outer * count * inner)
    for o in 0..<outer {
      for k in 0..<count {
        for i in 0..<inner {
          let position = isAlong ? (o * count + k) * inner + i : k
          let index = table[position]
          guard (0..<extent).contains(index) else {
            throw ApusError(
              .outOfRange, "\(mnemonic): index \(index) at position \(position) is out of range",
              expected: "an index in 0..<\(extent)")
          }
          result.append((o * extent + index) * inner + i)
        }
      }
    }
    return result
  }
}

extension Op {
  /// Indices are of an integer type.
  func expectIndices(_ indices: TensorType) throws {
    guard indices.dtype.isInteger else {
      throw ApusError(
        .dtypeMismatch, "\(mnemonic): indices are \(indices)", expected: "i32, i64 or u8")
    }
  }
}

extension Tensor {
  /// The slices along `axis` that `indices` choose; the indices' axes stand in its place.
  ///
  ///     table.take(tokens, axis: 0)   // f32[50257,768], i32[8,128] → f32[8,128,768]
  public func take(
    _ indices: Tensor, axis: Int = 0, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    gathered(indices, axis, isAlong: false, file, line)
  }

  /// An element along `axis` for each index; `indices` has this tensor's shape but at the axis.
  ///
  ///     logP.takeAlong(labels.reshaped([-1, 1]), axis: 1)   // f32[64,10] → f32[64,1]
  public func takeAlong(
    _ indices: Tensor, axis: Int = -1, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    gathered(indices, axis, isAlong: true, file, line)
  }

  private func gathered(
    _ indices: Tensor, _ axis: Int, isAlong: Bool, _ file: StaticString, _ line: UInt
  ) -> Tensor {
    let location = sourceLocation(file, line)
    do {
      let op = Gather(axis: try shape.normalized(axis: axis), isAlong: isAlong)
      return .apply(op, to: self, indices, location: location)
    } catch {
      return .poisoned(asApusError(error), like: self, location: location)
    }
  }
}

/// The rows of `table` for each index: the lookup of an embedding layer. Its gradient adds
/// rows to the table's.
///
///     embedding(tokens, table)   // i32[8,128], f32[50257,768] → f32[8,128,768]
public func embedding(
  _ indices: Tensor, _ table: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  table.take(indices, axis: 0, file: file, line: line)
}
