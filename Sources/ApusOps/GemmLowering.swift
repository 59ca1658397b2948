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
    product.bind(&call)
    return call
  }

  /// One leading axis: its extent and the distance between its matrices.
  struct Axis: Equatable {
    var count: Int
    var a: Int
    var b: Int
    var c: Int
  }

  /// A product in the kernel's terms.
  struct Product {
    var block = ck_gemm_args()
    var axes: [Axis] = []

    init(_ op: MatMul, _ site: LoweringSite) throws {
      guard site.operands[0].dtype == .f32, site.results[0].dtype == .f32 else {
        throw ApusError(
          .unsupported, "matmul: there is no kernel for \(site.operands[0])", expected: "f32")
      }
      let shape = site.results[0].shape
      let views = op.matrixViews(of: site.views, batch: shape.leading)
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
            c: c.strides[axis]))
      }
      foldBatchIntoRows()
      merge()
      guard axes.count <= Int(CK_GEMM_BATCH_DIMS) else {
        throw ApusError(
          .unsupported,
          "matmul: the leading axes of \(site.operands[0]) and \(site.operands[1]) do not merge",
          expected: "at most \(CK_GEMM_BATCH_DIMS) that broadcast in different ways")
      }
      let padded = Array(repeating: Axis(count: 1, a: 0, b: 0, c: 0), count: 3 - axes.count) + axes
      func three(_ value: (Axis) -> Int) -> (Int64, Int64, Int64) {
        (Int64(value(padded[0])), Int64(value(padded[1])), Int64(value(padded[2])))
      }
      block.batch = three(\.count)
      block.a_batch = three(\.a)
      block.b_batch = three(\.b)
      block.c_batch = three(\.c)
    }

    /// Where one right operand serves all matrices of an axis, their rows are rows of one product.
    private mutating func foldBatchIntoRows() {
      while let inner = axes.last, inner.b == 0 {
        if block.M == 1 {
          block.a_row = Int64(inner.a)
          block.c_row = Int64(inner.c)
        } else if inner.a != Int(block.a_row * block.M) || inner.c != Int(block.c_row * block.M) {
          return
        }
        block.M *= Int64(inner.count)
        axes.removeLast()
      }
    }

    /// Neighbouring axes that all three operands cross in equal steps become one.
    private mutating func merge() {
      for index in stride(from: axes.count - 1, to: 0, by: -1) {
        let (outer, inner) = (axes[index - 1], axes[index])
        guard outer.a == inner.a * inner.count, outer.b == inner.b * inner.count,
          outer.c == inner.c * inner.count
        else { continue }
        axes[index - 1] = Axis(
          count: outer.count * inner.count, a: inner.a, b: inner.b, c: inner.c)
        axes.remove(at: index)
      }
    }

    var matrices: Int { axes.reduce(1) { $0 * $1.count } }

    /// The call without an epilogue's program.
    func call(isa: ISA) -> KernelCall {
      let level = ck_isa(isa)
      var call = KernelCall(
        "gemm \(block.M)x\(block.N)x\(block.K)",
        entry: KernelEntry(entryAddress(ck_gemm(level))), block: block)
      withUnsafePointer(to: block) {
        call.scratchBytesPerThread = ck_gemm_scratch_bytes($0, level)
        call.workspaceBytes = ck_gemm_workspace_bytes($0, level)
      }
      let (m, n, k) = (Double(block.M), Double(block.N), Double(block.K))
      call.flops = 2 * m * n * k * Double(matrices)
      call.bytes = 4 * (m * k + k * n + m * n) * Double(matrices)
      return call
    }

    func bind(_ call: inout KernelCall) {
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.a)!, to: .operand(0))
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.b)!, to: .operand(1))
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.c)!, to: .result(0))
      if call.workspaceBytes > 0 {
        call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.workspace)!, to: .workspace)
      }
    }
  }
}

extension View {
  /// The strides of the last two axes.
  fileprivate var matrixStrides: (Int64, Int64) {
    (Int64(strides[strides.count - 2]), Int64(strides[strides.count - 1]))
  }
}
