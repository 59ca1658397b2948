// How a plan is spread over a team: which steps one thread runs by itself, and after which steps the
// threads must wait for each other.
//
// A barrier stands only where a later step touches bytes that another thread wrote, or overwrites bytes
// that another thread may still be reading. Which thread touches what is known from the partition that
// each kernel call states; the analysis is of bytes, so it covers the arena's reuse of memory too.

import ApusGraph

/// What a step costs, roughly, for deciding whether to spread it and for comparing with measurements.
public struct CostModel: Sendable {
  /// Floating-point operations a nanosecond of one thread.
  public var flopsPerNanosecond: Double
  /// Bytes a nanosecond of one thread, between cache and memory speed.
  public var bytesPerNanosecond: Double
  /// Nanoseconds of calling a kernel.
  public var callNanoseconds: Double
  /// Nanoseconds that spreading a step costs: a barrier, and lines that move between caches.
  public var spreadNanoseconds: Double

  public init(isa: ISA) {
    flopsPerNanosecond = isa == .ref ? 4 : 60
    bytesPerNanosecond = isa == .ref ? 4 : 25
    callNanoseconds = 40
    spreadNanoseconds = 500
  }

  /// Nanoseconds that one thread takes.
  public func alone(_ call: KernelCall) -> Double {
    callNanoseconds + call.overhead
      + max(call.flops / flopsPerNanosecond, call.bytes / bytesPerNanosecond)
  }

  /// Nanoseconds that a team takes.
  public func spread(_ call: KernelCall, threads: Int) -> Double {
    callNanoseconds + spreadNanoseconds + (alone(call) - callNanoseconds) / Double(threads)
  }
}

/// A plan's steps on a team of a certain size.
public struct Schedule: Sendable {
  /// How one step of the plan is run.
  public struct Entry: Sendable, Hashable {
    /// Whether thread 0 runs the step by itself.
    public var isAlone: Bool
    /// Whether all threads wait for each other after it.
    public var barrier: Bool
    public var predictedNanoseconds: Double
  }

  public let threads: Int
  public let entries: [Entry]

  public var barrierCount: Int { entries.count(where: \.barrier) }

  /// The end of a run is a barrier by itself, so the last step never carries one.
  public init(_ plan: Plan, threads: Int) {
    let model = CostModel(isa: plan.isa)
    self.threads = threads
    var entries = plan.steps.map { step in
      let alone = model.alone(step.call)
      let spread = model.spread(step.call, threads: threads)
      let isAlone = threads == 1 || !step.call.isParallel || alone <= spread
      return Entry(
        isAlone: isAlone, barrier: false, predictedNanoseconds: isAlone ? alone : spread)
    }
    if threads > 1 {
      var pending = PendingTouches()
      for (index, step) in plan.steps.enumerated() {
        let touches = Touch.all(of: step, threads: threads, isAlone: entries[index].isAlone)
        if pending.conflict(with: touches) {
          entries[index - 1].barrier = true
          pending = PendingTouches()
        }
        pending.add(touches)
      }
    }
    self.entries = entries
  }
}

/// Bytes that a step reads or writes, and which thread touches which.
private struct Touch {
  var space: Place.Space
  var bytes: Range<Int>
  var isWrite: Bool
  /// Thread t touches only bytes in `bounds[t]..<bounds[t + 1]`; nil where any thread may touch any.
  var bounds: [Int]?

  static func all(of step: Plan.Step, threads: Int, isAlone: Bool) -> [Touch] {
    func touch(_ access: Plan.Access, isWrite: Bool, isAligned: Bool) -> Touch {
      var bounds: [Int]?
      if isAlone {
        bounds =
          [access.extent.lowerBound]
          + [Int](repeating: access.extent.upperBound, count: threads)
      } else if isAligned, case .tiles(let count, let elements, _) = step.call.partition {
        let tile = elements * access.type.dtype.byteCount
        // The boundaries of `ck_share`.
        bounds = (0...threads).map {
          min(access.place.offset + count * $0 / threads * tile, access.extent.upperBound)
        }
      }
      return Touch(
        space: access.place.space, bytes: access.extent, isWrite: isWrite, bounds: bounds)
    }
    var aligned: [Int] = []
    if case .tiles(_, _, let operands) = step.call.partition { aligned = operands }
    var touches = step.operands.enumerated().map { index, access in
      touch(access, isWrite: false, isAligned: aligned.contains(index))
    }
    touches += step.results.enumerated().map { index, access in
      touch(access, isWrite: true, isAligned: index == 0)
    }
    if let workspace = step.workspace {
      let bytes = workspace.offset..<workspace.offset + step.call.workspaceBytes
      let bounds =
        isAlone
        ? [bytes.lowerBound] + [Int](repeating: bytes.upperBound, count: threads) : nil
      touches.append(Touch(space: workspace.space, bytes: bytes, isWrite: true, bounds: bounds))
    }
    return touches.filter { !$0.bytes.isEmpty }
  }

  /// Whether two threads may touch a byte of both, at least one writing.
  func conflicts(with other: Touch) -> Bool {
    guard isWrite || other.isWrite, space == other.space, bytes.overlaps(other.bytes) else {
      return false
    }
    guard let bounds, let others = other.bounds, let start = others.first, let end = others.last
    else { return true }
    for thread in 0..<bounds.count - 1 {
      let low = max(bounds[thread], start)
      let high = min(bounds[thread + 1], end)
      guard low < high else { continue }
      if low < others[thread] || high > others[thread + 1] { return true }
    }
    return false
  }
}

/// What has been touched since the last barrier.
private struct PendingTouches {
  private var bySpace: [Place.Space: [Touch]] = [:]

  func conflict(with touches: [Touch]) -> Bool {
    touches.contains { touch in
      bySpace[touch.space]?.contains { touch.conflicts(with: $0) } ?? false
    }
  }

  mutating func add(_ touches: [Touch]) {
    for touch in touches { bySpace[touch.space, default: []].append(touch) }
  }
}
