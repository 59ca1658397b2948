// The bytes that a step reads and writes, thread by thread, and whether two steps can run without the
// threads waiting for each other in between.

import ApusGraph

/// Bytes that a step reads or writes, and which thread touches which.
struct Touch {
  /// Who touches the bytes.
  enum Members: Hashable {
    /// Any thread may touch any of them.
    case anyone
    /// One thread touches them all.
    case one(Int)
    /// By thread.
    case each([Region])
  }

  var space: Place.Space
  /// All of them lie within.
  var bytes: Range<Int>
  var isWrite: Bool
  var members: Members
  /// What is touched, as dumps call it.
  var name: String

  /// - `member`: the thread that runs the step alone, nil where all do.
  static func all(of step: Plan.Step, threads: Int, member: Int?) -> [Touch] {
    func members(_ access: Plan.Access, _ buffer: KernelCall.Buffer) -> Members {
      if let member { return .one(member) }
      let size = access.type.dtype.byteCount
      var all: [Region] = []
      all.reserveCapacity(threads)
      for thread in 0..<threads {
        guard
          let region = step.call.partition.region(buffer, thread: thread, threads: threads)?
            .bytes(elementSize: size, from: access.place.offset, within: access.extent)
        else { return .anyone }
        all.append(region)
      }
      return .each(all)
    }
    var touches: [Touch] = []
    touches.reserveCapacity(step.operands.count + step.results.count + 1)
    func add(_ access: Plan.Access, _ buffer: KernelCall.Buffer, isWrite: Bool) {
      if access.extent.isEmpty { return }
      touches.append(
        Touch(
          space: access.place.space, bytes: access.extent, isWrite: isWrite,
          members: members(access, buffer), name: access.name))
    }
    for (index, operand) in step.operands.enumerated() {
      add(operand, .operand(index), isWrite: false)
    }
    for (index, result) in step.results.enumerated() { add(result, .result(index), isWrite: true) }
    if let workspace = step.workspace, step.call.workspaceBytes > 0 {
      touches.append(
        Touch(
          space: workspace.space,
          bytes: workspace.offset..<workspace.offset + step.call.workspaceBytes, isWrite: true,
          members: member.map { .one($0) } ?? .anyone, name: "its workspace"))
    }
    return touches
  }

  /// Whether two threads may touch a byte of both, at least one writing.
  func conflicts(with other: Touch) -> Bool {
    guard isWrite || other.isWrite, space == other.space, bytes.overlaps(other.bytes) else {
      return false
    }
    switch (members, other.members) {
    case (.anyone, _), (_, .anyone): return true
    case (.one(let a), .one(let b)): return a != b
    case (.one(let member), .each(let regions)):
      return Self.reach(regions, bytes, butNot: member)
    case (.each(let regions), .one(let member)):
      return Self.reach(regions, other.bytes, butNot: member)
    case (.each(let regions), .each(let others)):
      // With many threads, regions that differ are not worth the search.
      guard regions.count <= 64 else {
        return regions != others
          || !zip(regions, regions.dropFirst()).allSatisfy { $0.end <= $1.start }
      }
      for (thread, region) in regions.enumerated() where region.width > 0 {
        for (peer, other) in others.enumerated() where peer != thread && region.overlaps(other) {
          return true
        }
      }
      return false
    }
  }

  /// Whether any other thread than `member` touches one of `bytes`.
  private static func reach(_ regions: [Region], _ bytes: Range<Int>, butNot member: Int) -> Bool {
    let whole = Region(bytes)
    for (thread, region) in regions.enumerated() where thread != member && region.overlaps(whole) {
      return true
    }
    return false
  }
}

extension Region {
  /// The same in bytes from `start` on, cut off where the extent ends.
  fileprivate func bytes(elementSize size: Int, from start: Int, within extent: Range<Int>)
    -> Region
  {
    if width <= 0 || count <= 0 { return .none }
    let first = start + self.start * size
    if count == 1 {
      let end = min(first + width * size, extent.upperBound)
      return Region(min(first, end)..<end)
    }
    return Region(start: first, width: width * size, pitch: pitch * size, count: count)
  }

  /// The end of the last run.
  fileprivate var end: Int { start + (count - 1) * pitch + width }

  /// Whether the two have an element in common; true as well where that is hard to tell.
  func overlaps(_ other: Region) -> Bool {
    guard width > 0, count > 0, other.width > 0, other.count > 0, start < other.end,
      other.start < end
    else { return false }
    if count == 1 && other.count == 1 { return true }
    if count > 1 && other.count > 1 && pitch != other.pitch { return true }
    let pitch = max(count > 1 ? self.pitch : 0, other.count > 1 ? other.pitch : 0)
    guard pitch > 0 else { return true }
    // Run i of one and run j of the other meet where start + (i - j) pitch lies less than the other's
    // width before and less than the own width behind the other's start.
    let low = other.start - start - width, high = other.start - start + other.width
    let above = (low - (low < 0 ? pitch - 1 : 0)) / pitch + 1  // the first i - j above low / pitch
    let first = max(above, -(other.count - 1))
    return first * pitch < high && first <= count - 1
  }
}
