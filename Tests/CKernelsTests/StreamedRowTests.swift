// Results larger than the processor's cache, which kernels write past it: the same bits as where the
// address does not allow that.

import CKernels
import Foundation
import Testing

@Suite struct StreamedRowTests {
  static let cols = 1024
  /// Rows that make a result of at least three quarters of the cache, and a few more.
  static let rows = Int(ck_cache_bytes()) * 3 / 4 / (cols * 4) + 9

  /// Floats with a cache line to spare, at a 64-byte boundary.
  final class Memory: @unchecked Sendable {
    let floats: UnsafeMutablePointer<Float>
    let count: Int

    init(_ count: Int, seed: UInt32 = 0) {
      self.count = count
      let bytes = (count + 16) * 4
      floats = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        .bindMemory(to: Float.self, capacity: count + 16)
      var state = seed | 1
      for i in 0..<count + 16 {
        state = state &* 1_664_525 &+ 1_013_904_223
        floats[i] = Float(Int32(bitPattern: state) >> 8) * 0x1p-23
      }
    }

    deinit { floats.deallocate() }
  }

  /// Runs a kernel into an aligned result and into one that is not, and compares.
  func check<Args>(_ kernel: @escaping ck_kernel, _ args: (UnsafeMutablePointer<Float>) -> Args) {
    let aligned = Memory(Self.rows * Self.cols), shifted = Memory(Self.rows * Self.cols, seed: 2)
    TestTeams.shared.run(kernel, args(aligned.floats), team: 1)
    TestTeams.shared.run(kernel, args(shifted.floats + 1), team: 1)
    #expect(isSame(aligned.floats, shifted.floats + 1))
  }

  func isSame(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>) -> Bool {
    memcmp(a, b, Self.rows * Self.cols * 4) == 0
  }

  @Test func normalisedRows_haveTheSameBits() {
    let x = Memory(Self.rows * Self.cols, seed: 3), gamma = Memory(Self.cols, seed: 5)
    check(ck_norm(CK_NORM_LAYER_FORWARD, ck_isa_best())) { y in
      var args = ck_norm_args()
      args.y = UnsafeMutableRawPointer(y)
      args.x = UnsafeRawPointer(x.floats)
      args.gamma = UnsafePointer(gamma.floats)
      args.rows = Int64(Self.rows)
      args.cols = Int64(Self.cols)
      args.x_stride = Int64(Self.cols)
      args.epsilon = 1e-5
      return args
    }
  }

  /// As many bytes of bf16, each float two elements of its upper half.
  static func pairs(seed: UInt32) -> Memory {
    let memory = Memory(rows * cols, seed: seed)
    for i in 0..<rows * cols {
      let bits = memory.floats[i].bitPattern
      memory.floats[i] = Float(bitPattern: bits & 0xffff_0000 | bits >> 16)
    }
    return memory
  }

  @Test func normalisedRowsOfHalfTheBytes_haveTheSameBits() {
    let x = Self.pairs(seed: 3), gamma = Memory(Self.cols, seed: 5)
    check(ck_norm(CK_NORM_LAYER_FORWARD, ck_isa_best())) { y in
      var args = ck_norm_args()
      args.y = UnsafeMutableRawPointer(y)
      args.x = UnsafeRawPointer(x.floats)
      args.gamma = UnsafePointer(gamma.floats)
      args.rows = Int64(2 * Self.rows)
      args.cols = Int64(Self.cols)
      args.x_stride = Int64(Self.cols)
      args.epsilon = 1e-5
      args.x_dtype = Int32(CK_BF16.rawValue)
      args.y_dtype = Int32(CK_BF16.rawValue)
      return args
    }
    let dy = Self.pairs(seed: 9)
    check(ck_norm(CK_NORM_RMS_BACKWARD, ck_isa_best())) { dx in
      var args = ck_norm_backward_args()
      args.dx = UnsafeMutableRawPointer(dx)
      args.dy = UnsafeRawPointer(dy.floats)
      args.x = UnsafeRawPointer(x.floats)
      args.rows = Int64(2 * Self.rows)
      args.cols = Int64(Self.cols)
      args.x_stride = Int64(Self.cols)
      args.dy_stride = Int64(Self.cols)
      args.epsilon = 1e-5
      args.dx_dtype = Int32(CK_BF16.rawValue)
      args.dy_dtype = Int32(CK_BF16.rawValue)
      args.x_dtype = Int32(CK_BF16.rawValue)
      return args
    }
  }

  @Test func gradientsOfNormalisedRows_haveTheSameBits() {
    let x = Memory(Self.rows * Self.cols, seed: 7), dy = Memory(Self.rows * Self.cols, seed: 9)
    let mean = Memory(Self.rows, seed: 11), rstd = Memory(Self.rows, seed: 13)
    check(ck_norm(CK_NORM_LAYER_BACKWARD, ck_isa_best())) { dx in
      var args = ck_norm_backward_args()
      args.dx = UnsafeMutableRawPointer(dx)
      args.dy = UnsafeRawPointer(dy.floats)
      args.x = UnsafeRawPointer(x.floats)
      args.mean = UnsafePointer(mean.floats)
      args.rstd = UnsafePointer(rstd.floats)
      args.rows = Int64(Self.rows)
      args.cols = Int64(Self.cols)
      args.x_stride = Int64(Self.cols)
      args.dy_stride = Int64(Self.cols)
      return args
    }
  }

  @Test(arguments: [
    CK_SOFTMAX_FORWARD, CK_SOFTMAX_BACKWARD, CK_SOFTMAX_LOG_FORWARD, CK_SOFTMAX_LOG_BACKWARD,
    CK_SOFTMAX_BACKWARD_OF_LOGITS,
  ])
  func softmaxesOfRows_haveTheSameBits(_ operation: ck_softmax_op) {
    let x = Memory(Self.rows * Self.cols, seed: 15), dy = Memory(Self.rows * Self.cols, seed: 17)
    check(ck_softmax(operation, ck_isa_best())) { out in
      var args = ck_softmax_args()
      args.out = UnsafeMutableRawPointer(out)
      args.x = UnsafeRawPointer(x.floats)
      args.y = UnsafeRawPointer(x.floats)
      args.dy = UnsafeRawPointer(dy.floats)
      args.rows = Int64(Self.rows)
      args.cols = Int64(Self.cols)
      args.out_stride = Int64(Self.cols)
      args.x_stride = Int64(Self.cols)
      args.y_stride = Int64(Self.cols)
      args.dy_stride = Int64(Self.cols)
      return args
    }
  }

  @Test func droppedNumbers_haveTheSameBits() {
    let x = Memory(Self.rows * Self.cols, seed: 23)
    let state: [Int64] = [11, 5]
    state.withUnsafeBufferPointer { state in
      check(ck_random(CK_RANDOM_DROPOUT, ck_isa_best())) { out in
        var args = ck_random_args()
        args.out = UnsafeMutableRawPointer(out)
        args.x = UnsafePointer(x.floats)
        args.state = state.baseAddress
        args.count = Int64(Self.rows * Self.cols)
        args.p = 0.25
        return args
      }
    }
  }

  @Test(arguments: [CK_CROSS_ENTROPY_BACKWARD, CK_CROSS_ENTROPY_COMBINED])
  func gradientsOfCrossEntropy_haveTheSameBits(_ operation: ck_cross_entropy_op) {
    let x = Memory(Self.rows * Self.cols, seed: 19)
    let aligned = Memory(Self.rows * Self.cols), shifted = Memory(Self.rows * Self.cols, seed: 2)
    // A label is the first or the last of its class's vector, or ignored.
    let labels = (0..<Self.rows).map { Int32($0 % 5 == 4 ? -1 : $0 % 2 == 0 ? 16 : Self.cols - 1) }
    let logSums = Memory(Self.rows, seed: 21)
    for gradient in [aligned.floats, shifted.floats + 1] {
      let workspace = UnsafeMutableRawPointer.allocate(
        byteCount: Self.rows * 16, alignment: 64)
      defer { workspace.deallocate() }
      var loss: Float = 0
      labels.withUnsafeBufferPointer { labels in
        withUnsafeMutablePointer(to: &loss) { loss in
          var args = ck_cross_entropy_args()
          args.loss = loss
          args.log_sum = logSums.floats
          args.gradient = UnsafeMutableRawPointer(gradient)
          args.logits = UnsafeRawPointer(x.floats)
          args.labels = UnsafeRawPointer(labels.baseAddress)
          args.workspace = workspace
          args.rows = Int64(Self.rows)
          args.cols = Int64(Self.cols)
          args.logits_stride = Int64(Self.cols)
          args.gradient_stride = Int64(Self.cols)
          args.ignore_index = -1
          args.smoothing = 0.1
          args.label_dtype = Int32(CK_I32.rawValue)
          args.reduction = Int32(CK_REDUCTION_MEAN.rawValue)
          TestTeams.shared.run(ck_cross_entropy(operation, ck_isa_best()), args, team: 1)
        }
      }
    }
    #expect(isSame(aligned.floats, shifted.floats + 1))
  }
}
