// The memory of arenas and states.

import Testing

@testable import ApusGraph
@testable import ApusRuntime

@Suite struct MemoryTests {
  @Test(arguments: [0, 1, 64, 4096, (2 << 20) - 1, 2 << 20, (6 << 20) + 1])
  func isAlignedZeroAndWritable(byteCount: Int) throws {
    let memory = try Memory(byteCount: byteCount, for: "a test")
    let alignment = byteCount >= Memory.hugePage ? Memory.hugePage : 64
    #expect(UInt(bitPattern: memory.base) % UInt(alignment) == 0)
    let bytes = UnsafeMutableRawBufferPointer(start: memory.base, count: byteCount)
    #expect(bytes.allSatisfy { $0 == 0 })
    for i in stride(from: 0, to: byteCount, by: 4096) { bytes[i] = 7 }
    if byteCount > 0 { bytes[byteCount - 1] = 9 }
    #expect(bytes.last == (byteCount > 0 ? 9 : nil))
  }

  @Test(arguments: [1 << 60, Int.max - 4096, Int.max])
  func whatDoesNotFitIsThrown(byteCount: Int) throws {
    let error = try #require(throws: ApusError.self) {
      try Memory(byteCount: byteCount, for: "state 'w'")
    }
    #expect(error.kind == .resource)
    #expect(error.description.contains("state 'w' of \(byteCount) bytes"))
  }
}
