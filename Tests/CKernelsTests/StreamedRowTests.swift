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
  func check(_ kernel: @escaping ck_kernel, _ args: (UnsafeMutablePointer<Float>) -> ck_norm_args) {
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
      args.y = y
      args.x = UnsafePointer(x.floats)
      args.gamma = UnsafePointer(gamma.floats)
      args.rows = Int64(Self.rows)
      args.cols = Int64(Self.cols)
      args.x_stride = Int64(Self.cols)
      args.epsilon = 1e-5
      return args
    }
  }

  @Test func gradientsOfNormalisedRows_haveTheSameBits() {
    let x = Memory(Self.rows * Self.cols, seed: 7), dy = Memory(Self.rows * Self.cols, seed: 9)
    let mean = Memory(Self.rows, seed: 11), rstd = Memory(Self.rows, seed: 13)
    let aligned = Memory(Self.rows * Self.cols), shifted = Memory(Self.rows * Self.cols, seed: 2)
    for dx in [aligned.floats, shifted.floats + 1] {
      var args = ck_norm_backward_args()
      args.dx = dx
      args.dy = UnsafePointer(dy.floats)
      args.x = UnsafePointer(x.floats)
      args.mean = UnsafePointer(mean.floats)
      args.rstd = UnsafePointer(rstd.floats)
      args.rows = Int64(Self.rows)
      args.cols = Int64(Self.cols)
      args.x_stride = Int64(Self.cols)
      args.dy_stride = Int64(Self.cols)
      TestTeams.shared.run(ck_norm(CK_NORM_LAYER_BACKWARD, ck_isa_best()), args, team: 1)
    }
    #expect(isSame(aligned.floats, shifted.floats + 1))
  }
}
