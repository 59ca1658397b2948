// From matrix products to the kernel's argument block: strides from views, batch axes folded.

import ApusGraph
import CKernels

/// Builds argument blocks of the matrix product (`ck_gemm`).
enum GemmLowering {
  /// Whether the kernel can read an operand through this view: any strides will do, as long as the
  /// leading axes come down to as many as the kernel loops over.
  static func accepts(_ view: View) -> Bool {
    if view.isContiguous { return true }
    var axes = 0
    var outer: Int?  // the stride that would continue the axis inside
    for axis in stride(from: view.shape.rank - 3, through: 0, by: -1) where view.shape[axis] > 1 {
      if view.strides[axis] != outer { axes += 1 }
      outer = view.strides[axis] * view.shape[axis]
    }
    return axes <= Int(CK_GEMM_BATCH_DIMS)
  }

  static func matmul(_ op: MatMul, _ site: LoweringSite) throws -> KernelCall {
    let product = try Product(op, site)
    var call = product.call(isa: site.isa)
    call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.c)!, to: .result(0))
    return noting(product, isa: site.isa, in: call)
  }

  /// One leading axis: its extent and the distance between its matrices.
  struct Axis {
    var count: Int
    var a: Int
    var b: Int
    var c: Int
    var followers: [Int]
  }

  /// A product in the kernel's terms, and arrays of the product's shape that an epilogue walks along
  /// with it (followers).
  struct Product {
    var block = ck_gemm_args()
    /// Element types of A, B and C.
    var types: [DType]
    var axes: [Axis] = []
    /// The followers' strides along rows and columns.
    var rows: [Int]
    var columns: [Int]
    /// The followers' buffers where an epilogue program walks along; the first, the product, is none.
    var followerBuffers: [KernelCall.Buffer] = []

    init(_ op: MatMul, _ site: LoweringSite, followers: [View] = []) throws {
      let result = try op.resultTypes(Array(site.operands.prefix(2)))[0]
      let shape = result.shape
      types = site.operands.prefix(2).map(\.dtype) + [result.dtype]
      guard types.allSatisfy({ [.f32, .bf16, .f16].contains($0) }) else {
        throw ApusError(
          .unsupported,
          "matmul: there is no kernel for \(types[0]) by \(types[1]) to \(types[2])",
          expected: "f32, bf16 or f16")
      }
      block.a_type = Int16(types[0].kernelCode)
      block.b_type = Int16(types[1].kernelCode)
      block.precision = Int16(ck_gemm_precision(site.precision).rawValue)
      let views = op.matrixViews(of: site.views, batch: shape.leading)
      let followers = followers.map { $0.broadcast(to: shape) }
      rows = followers.map { $0.strides[shape.rank - 2] }
      columns = followers.map { $0.strides[shape.rank - 1] }
      block.M = Int64(shape[-2])
      block.N = Int64(shape[-1])
      block.K = Int64(views[0].shape[-1])
      (block.a_row, block.a_col) = views[0].matrixStrides
      (block.b_row, block.b_col) = views[1].matrixStrides
      block.c_row = Int64(shape[-1])
      block.alpha = 1
      let c = View(dense: shape)
      for axis in 0..<shape.leading.rank where shape[axis] != 1 {
        axes.append(
          Axis(
            count: shape[axis], a: views[0].strides[axis], b: views[1].strides[axis],
            c: c.strides[axis], followers: followers.map { $0.strides[axis] }))
      }
      foldBatchIntoRows()
      merge()
      guard axes.count <= Int(CK_GEMM_BATCH_DIMS) else {
        throw ApusError(
          .unsupported,
          "matmul: the leading axes of \(site.operands[0]) and \(site.operands[1]) do not merge",
          expected: "at most \(CK_GEMM_BATCH_DIMS) that broadcast in different ways")
      }
      let none = Axis(count: 1, a: 0, b: 0, c: 0, followers: [])
      let padded = Array(repeating: none, count: Int(CK_GEMM_BATCH_DIMS) - axes.count) + axes
      func all(_ value: (Axis) -> Int) -> (Int64, Int64, Int64, Int64, Int64, Int64) {
        let values = padded.map { Int64(value($0)) }
        return (values[0], values[1], values[2], values[3], values[4], values[5])
      }
      block.batch = all(\.count)
      block.a_batch = all(\.a)
      block.b_batch = all(\.b)
      block.c_batch = all(\.c)
    }

    /// Where one right operand serves all matrices of an axis, their rows are rows of one product.
    private mutating func foldBatchIntoRows() {
      while let inner = axes.last, inner.b == 0 {
        if block.M == 1 {
          block.a_row = Int64(inner.a)
          block.c_row = Int64(inner.c)
          rows = inner.followers
        } else if inner.a != Int(block.a_row * block.M) || inner.c != Int(block.c_row * block.M)
          || inner.followers != rows.map({ $0 * Int(block.M) })
        {
          return
        }
        block.M *= Int64(inner.count)
        axes.removeLast()
      }
    }

    /// Neighbouring axes that all arrays cross in equal steps become one.
    private mutating func merge() {
      for index in stride(from: axes.count - 1, to: 0, by: -1) {
        let (outer, inner) = (axes[index - 1], axes[index])
        guard outer.a == inner.a * inner.count, outer.b == inner.b * inner.count,
          outer.c == inner.c * inner.count,
          outer.followers == inner.followers.map({ $0 * inner.count })
        else { continue }
        axes[index - 1] = inner
        axes[index - 1].count *= outer.count
        axes.remove(at: index)
      }
    }

    /// The followers' distance between matrices, which are counted through all leading axes; nil
    /// where one does not advance evenly.
    var batchStrides: [Int]? {
      for index in axes.indices.dropFirst() {
        let inner = axes[index]
        if axes[index - 1].followers != inner.followers.map({ $0 * inner.count }) { return nil }
      }
      return axes.last?.followers ?? rows.map { _ in 0 }
    }

    /// Has the followers walk along with the product: the further operands, then the results.
    mutating func walk(operands: Int, results: Int) {
      followerBuffers =
        [.operand(0)] + (2..<max(operands, 2)).map { .operand($0) }
        + (0..<results).map { .result($0) }
    }

    /// Whether C is written once, complete, rather than added to for every block of K: always where it
    /// is narrow.
    var isWrittenOnce: Bool { types[2] != .f32 || block.K <= ck_gemm_k_block(block.K) }

    /// Whether the kernel of that level takes the block's combination with another array, and a mask after it.
    func combines(isa: ISA, masks: Bool = false) -> Bool {
      var block = block
      block.c_type = Int16(types[2].kernelCode)
      return ck_gemm_combines(&block, masks, ck_isa(isa))
    }

    var matrices: Int { axes.reduce(1) { Shape.product($0, $1.count) } }

    /// What a call's name says of the types: nothing where all are f32.
    private var typeNames: String {
      if types.allSatisfy({ $0 == .f32 }) { return "" }
      return types == [types[0], types[0], types[0]]
        ? " \(types[0])" : " \(types[0])·\(types[1])→\(types[2])"
    }

    /// The call, with everything but the place of C bound.
    ///
    /// - `epilogue`: a prepared `ck_loop_args` and its tail.
    func call(isa: ISA, epilogue: [UInt8] = []) -> KernelCall {
      let level = ck_isa(isa)
      var block = block
      block.c_type = Int16(types[2].kernelCode)
      var bytes = withUnsafeBytes(of: block) { Array($0) }
      if !epilogue.isEmpty {
        block.epilogue.program = Int64(GemmLowering.epilogueOffset)
        bytes = withUnsafeBytes(of: block) { Array($0) }
        bytes += [UInt8](repeating: 0, count: GemmLowering.epilogueOffset - bytes.count)
        bytes += epilogue
      }
      var call = KernelCall(
        "gemm \(block.M)x\(block.N)x\(block.K)\(typeNames)" + (epilogue.isEmpty ? "" : " fused"),
        entry: KernelEntry(ck_gemm(level)), bytes: bytes)
      bytes.withUnsafeBytes {
        let args = $0.baseAddress!.assumingMemoryBound(to: ck_gemm_args.self)
        call.scratchBytesPerThread = ck_gemm_scratch_bytes(args, level)
        call.arithmeticNanoseconds = ck_gemm_nanoseconds(args, level)
      }
      let row = GemmLowering.row(at: isa)
      call.isa = ISA(rawValue: Int32(row.isa.rawValue))
      call.tile = Tile(rows: Int(row.tile_rows), columns: Int(row.tile_columns))
      call.partition = partition(of: bytes, isa: isa)
      let (m, n, k) = (Double(block.M), Double(block.N), Double(block.K))
      call.flops = 2 * m * n * k * Double(matrices)
      let sizes = types.map { Double($0.byteCount) }
      let moved = sizes[0] * m * k + sizes[1] * k * n + sizes[2] * m * n
      call.bytes = moved * Double(matrices)
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.a)!, to: .operand(0))
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.b)!, to: .operand(1))
      return call
    }
  }

  /// The row of the kernel table that a level runs.
  static func row(at isa: ISA) -> ck_gemm_row {
    var count = 0
    let rows = UnsafeBufferPointer(start: ck_gemm_rows(&count), count: count)
    // The last is the reference, which every level can run.
    return rows.first { !$0.emulated && $0.isa.rawValue <= UInt32(isa.rawValue) }
      ?? rows[count - 1]
  }

  /// Where the epilogue's block starts behind the product's own.
  static let epilogueOffset = (MemoryLayout<ck_gemm_args>.size + 63) & ~63
}

extension View {
  /// The strides of the last two axes.
  fileprivate var matrixStrides: (Int64, Int64) {
    (Int64(strides[strides.count - 2]), Int64(strides[strides.count - 1]))
  }
}

extension ck_gemm_precision {
  init(_ precision: Precision) {
    switch precision {
    case .highest: self = CK_GEMM_HIGHEST
    case .high: self = CK_GEMM_HIGH
    case .mixed: self = CK_GEMM_MIXED
    }
  }
}
