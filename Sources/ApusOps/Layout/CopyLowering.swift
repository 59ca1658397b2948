// From ops that only move elements to the copy kernels.

import ApusGraph
import CKernels

/// Builds argument blocks of the copy family (`ck_copy`).
enum CopyLowering {
  /// The result, dense, from operand 0 read through `view`.
  static func copy(_ site: LoweringSite, through view: View) throws -> KernelCall {
    let type = site.results[0]
    let view = view.collapsed
    var args = ck_copy_args()
    args.element_size = Int32(type.dtype.byteCount)
    args.rank = Int32(try checkedRank(view.shape))
    fill(&args.sizes, view.shape.dimensions)
    fill(&args.dst_strides, view.shape.strides)
    fill(&args.src_strides, view.strides)
    // The offset of the operand's own view is in its pointer already.
    args.src_offset = Int64(view.offset - site.views[0].offset)
    var call = KernelCall(
      "ck_copy_strided", entry: entry(CK_COPY_STRIDED, site.isa), block: args)
    call.bind(MemoryLayout<ck_copy_args>.offset(of: \.dst)!, to: .result(0))
    call.bind(MemoryLayout<ck_copy_args>.offset(of: \.src)!, to: .operand(0))
    call.bytes = Double(2 * type.byteCount)
    return call
  }

  /// Operand 0 (dense) within the result: element `i` at `low + step·i` along each axis, `value`
  /// everywhere else.
  static func pad(
    _ site: LoweringSite, low: [Int], step: [Int], value: Double
  ) throws -> KernelCall {
    let (source, target) = (site.operands[0], site.results[0])
    var args = ck_pad_args()
    args.element_size = Int32(target.dtype.byteCount)
    args.fill = bits(of: value, target.dtype)
    // A scalar is one row of one element.
    let isScalar = target.rank == 0
    args.rank = Int32(try checkedRank(isScalar ? [1] : target.shape))
    fill(&args.dst_sizes, isScalar ? [1] : target.shape.dimensions)
    fill(&args.src_sizes, isScalar ? [1] : source.shape.dimensions)
    fill(&args.low, isScalar ? [0] : low)
    fill(&args.step, isScalar ? [1] : step)
    var call = KernelCall("ck_copy_pad", entry: entry(CK_COPY_PAD, site.isa), block: args)
    call.bind(MemoryLayout<ck_pad_args>.offset(of: \.dst)!, to: .result(0))
    call.bind(MemoryLayout<ck_pad_args>.offset(of: \.src)!, to: .operand(0))
    call.bytes = Double(source.byteCount + target.byteCount)
    return call
  }

  /// The most operands that ``concat(_:axis:)`` takes.
  static var concatLimit: Int { Int(CK_CONCAT_MAX) }

  /// The operands (dense) joined along `axis`.
  static func concat(_ site: LoweringSite, axis: Int) throws -> KernelCall {
    let target = site.results[0]
    guard site.operands.count <= concatLimit else {
      throw ApusError(
        .unsupported, "concat of \(site.operands.count) operands has no kernel",
        expected: "at most \(concatLimit) at a time")
    }
    var args = ck_concat_args()
    args.outer = Int64(target.shape.dimensions.prefix(axis).reduce(1, Shape.product))
    args.count = Int32(site.operands.count)
    let inner = target.shape.dimensions.dropFirst(axis + 1).reduce(
      target.dtype.byteCount, Shape.product)
    fill(&args.bytes, site.operands.map { Shape.product($0.shape[axis], inner) })
    var call = KernelCall("ck_copy_concat", entry: entry(CK_COPY_CONCAT, site.isa), block: args)
    call.bind(MemoryLayout<ck_concat_args>.offset(of: \.dst)!, to: .result(0))
    let sources = MemoryLayout<ck_concat_args>.offset(of: \.src)!
    for index in site.operands.indices {
      call.bind(sources + index * MemoryLayout<UnsafeRawPointer>.stride, to: .operand(index))
    }
    call.bytes = Double(2 * target.byteCount)
    return call
  }

  /// The bits of a number as one element of that type, in the low bytes.
  static func bits(of value: Double, _ dtype: DType) -> UInt64 {
    var result: UInt64 = 0
    NDArray(doubles: [value], type: TensorType(dtype, [])).withUnsafeBytes { bytes in
      withUnsafeMutableBytes(of: &result) { $0.copyMemory(from: bytes) }
    }
    return result
  }

  private static func entry(_ op: ck_copy_op, _ isa: ISA) -> KernelEntry {
    KernelEntry(ck_copy(op, ck_isa(isa)))
  }

  private static func checkedRank(_ shape: Shape) throws -> Int {
    guard shape.rank <= Int(CK_MAX_DIMS) else {
      throw ApusError(
        .unsupported, "a copy of shape \(shape) has \(shape.rank) axes that cannot be joined",
        expected: "at most \(CK_MAX_DIMS)")
    }
    return shape.rank
  }
}

extension View {
  /// The same elements in the same order under the fewest axes: those of extent 1 dropped,
  /// neighbours joined where they are one run.
  var collapsed: View {
    var extents: [Int] = []
    var steps: [Int] = []
    for axis in 0..<shape.rank where shape[axis] != 1 {
      if let last = steps.last, last == strides[axis] * shape[axis] {
        extents[extents.count - 1] *= shape[axis]
        steps[steps.count - 1] = strides[axis]
      } else {
        extents.append(shape[axis])
        steps.append(strides[axis])
      }
    }
    return View(shape: Shape(extents), strides: steps, offset: offset)
  }
}
