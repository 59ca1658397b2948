// Host memory filled with random numbers by the team: what first values of parameters are drawn with.
//
// The numbers are those of the kernels (CKernels/include/ck_random.h): a function of seed, stream and
// position, the same at every level and for any number of threads.

import ApusGraph
import CKernels

/// A distribution whose numbers a kernel draws: `shift + scale · x`.
package enum RandomFill: Sendable {
  /// `shift + scale · u` for u in [0, 1) of 24 bits.
  case uniform(scale: Float, shift: Float)
  /// `shift + scale · z` for z of mean 0 and variance 1.
  case normal(scale: Float, shift: Float)

  /// Writes one number an element. Element i comes of word i mod 4 of Philox's block with the counter
  /// {i / 4, `stream`}.
  ///
  /// - Throws: `invalidArgument` for a bad environment variable, `resource` where the system gives no
  ///   threads.
  package func write(
    to target: UnsafeMutableBufferPointer<Float>, seed: UInt64, stream: UInt64
  ) throws {
    guard let out = target.baseAddress, !target.isEmpty else { return }
    let team = try Team.shared()
    var args = ck_random_args()
    args.out = UnsafeMutableRawPointer(out)
    args.count = Int64(target.count)
    let op: ck_random_op
    switch self {
    case .uniform(let scale, let shift):
      (op, args.scale, args.shift) = (CK_RANDOM_SCALED_UNIFORM, scale, shift)
    case .normal(let scale, let shift):
      (op, args.scale, args.shift) = (CK_RANDOM_SCALED_NORMAL, scale, shift)
    }
    let kernel = ck_random(op, ck_isa(UInt32(bitPattern: try Self.isa.get().rawValue)))
    try withUnsafePointer(to: (Int64(bitPattern: seed), Int64(bitPattern: stream))) { state in
      args.state = UnsafeRawPointer(state).assumingMemoryBound(to: Int64.self)
      try withUnsafePointer(to: args) { args in
        let step = ck_step(
          kernel: kernel, args: UnsafeRawPointer(args), threads: 0, barrier: 1, condition: nil)
        try withUnsafePointer(to: step) {
          try team.run(UnsafeBufferPointer(start: $0, count: 1), scratchBytes: 0)
        }
      }
    }
  }

  /// Read once: a model has many parameters, and the level does not change the numbers.
  private static let isa = Result { try Environment.current.isa() }
}
