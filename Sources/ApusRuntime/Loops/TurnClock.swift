// Times the steps of a loop's turns.

import CKernels

/// Where the loops of a plan write how long the steps of their turns take, all turns together. Loops within loops
/// are timed as steps.
final class TurnClock {
  private let buffers: [Int: UnsafeMutableBufferPointer<Int64>]

  init(_ plan: Plan) {
    var buffers: [Int: UnsafeMutableBufferPointer<Int64>] = [:]
    for (index, step) in plan.steps.enumerated() {
      guard let loop = step.loop else { continue }
      let buffer = UnsafeMutableBufferPointer<Int64>.allocate(capacity: loop.plan.steps.count)
      buffer.initialize(repeating: 0)
      buffers[index] = buffer
    }
    self.buffers = buffers
  }

  deinit { for buffer in buffers.values { buffer.deallocate() } }

  /// By step of the plan that is a loop: nanoseconds of each step of its turn.
  var nanoseconds: [Int: [Int64]] { buffers.mapValues { Array($0) } }

  /// Makes the loops write here. Only while the states are locked, and until ``stop(_:)``.
  func start(_ binding: Binding) {
    for (step, buffer) in buffers { set(binding, step, buffer.baseAddress) }
  }

  func stop(_ binding: Binding) { for step in buffers.keys { set(binding, step, nil) } }

  private func set(_ binding: Binding, _ step: Int, _ pointer: UnsafeMutablePointer<Int64>?) {
    let field = binding.block(step) + MemoryLayout<ck_repeat_args>.offset(of: \.nanoseconds)!
    field.storeBytes(of: UInt(bitPattern: pointer), as: UInt.self)
  }
}
