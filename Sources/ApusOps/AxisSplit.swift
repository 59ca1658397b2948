// An axis between what lies outside and inside of it, and small helpers of lowering.

import ApusGraph
import CKernels

extension Shape {
  /// A dense tensor of this shape as `[outer, extent, inner]` around `axis` (an index from 0).
  func split(at axis: Int) -> (outer: Int, extent: Int, inner: Int) {
    (
      dimensions.prefix(axis).reduce(1, *), self[axis], dimensions.dropFirst(axis + 1).reduce(1, *)
    )
  }

  /// All axes but the last.
  var withoutLast: Shape { Shape(Array(dimensions.dropLast())) }

  /// This shape with `axis` of another extent.
  func replacing(_ axis: Int, with extent: Int) -> Shape {
    var result = self
    result.dimensions[axis] = extent
    return result
  }

  /// This shape with one more axis of extent 1 at the end.
  var appendingOne: Shape { Shape(dimensions + [1]) }
}

extension KernelCall {
  /// Binds a pointer field of the argument block by its key path.
  mutating func bind<Block, Pointer>(_ field: KeyPath<Block, Pointer>, to buffer: Buffer) {
    bind(MemoryLayout<Block>.offset(of: field)!, to: buffer)
  }

  /// A call of `kernel`, whose operands and results are read and written once.
  init<Block: BitwiseCopyable>(
    _ name: String, _ kernel: ck_kernel?, _ site: LoweringSite, block: Block
  ) {
    self.init(
      "\(name)_\(site.isa.name)", entry: KernelEntry(entryAddress(kernel)), block: block)
    bytes = Double((site.operands + site.results).reduce(0) { $0 + $1.byteCount })
  }
}

extension Op {
  /// The one operand type, which must be of floats, and this op's axis in it.
  func floatAxis(_ operands: [TensorType], _ axis: Int) throws -> Int {
    guard let first = operands.first, first.dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "\(mnemonic): not defined for \(operands.first?.description ?? "nothing")",
        expected: "floats")
    }
    return try checkedAxis(first, axis)
  }

  /// `axis`, which must be an index from 0 into the type's shape.
  func checkedAxis(_ type: TensorType, _ axis: Int) throws -> Int {
    guard (0..<type.rank).contains(axis) else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): axis \(axis) does not exist in \(type)",
        expected: type.rank == 0 ? "a tensor with axes" : "an axis in 0..<\(type.rank)")
    }
    return axis
  }
}

extension Tensor {
  /// Applies an op made for an axis that may count from the end.
  func alongAxis(
    _ axis: Int, _ file: StaticString, _ line: UInt, _ make: (Int) -> some Op
  ) -> Tensor {
    do {
      return .apply(
        make(try shape.normalized(axis: axis)), to: self, location: sourceLocation(file, line))
    } catch {
      return .poisoned(asApusError(error), like: self, location: sourceLocation(file, line))
    }
  }
}

/// The error itself where it is one of ours.
func asApusError(_ error: any Error) -> ApusError {
  error as? ApusError ?? ApusError(.invalidArgument, "\(error)")
}
