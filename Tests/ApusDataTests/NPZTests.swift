// Archives of arrays: what is read, what is refused before anything is inflated, and the memory that takes.

import ApusGraph
import Foundation
import TestSupport
import Testing

@testable import ApusData

@Suite struct NPZTests {
  static let archive: NamedArrays = [
    "x": NDArray([0, 1, 2, 3, 4, 5], shape: [2, 3]),
    "y": NDArray([0, 1, 2, 3, 4, 5] as [Int64], shape: [2, 3]),
  ]

  @Test(arguments: ["stored.npz", "deflated.npz", "written.npz"])
  func archivesAreRead(name: String) throws {
    #expect(try NPZ.read(fixture(name)) == Self.archive)
    #expect(try NPZFile(fixture(name)).array("y") == Self.archive["y"])
  }

  @Test func archivesAreWrittenAsNumPyReadThem() throws {
    try withTemporaryFolder { folder in
      try NPZ.write(Self.archive, to: "\(folder)/x.npz")
      #expect(try contents("\(folder)/x.npz") == (try contents(fixture("written.npz"))))
    }
  }

  /// Members "x" and "y" with the arrays of `archive`.
  private static func builder(isDeflated: Bool = false) throws -> ZipBuilder {
    ZipBuilder(
      try archive.map {
        ZipBuilder.Member("\($0.key).npy", try file($0.value), isDeflated: isDeflated)
      })
  }

  private static func file(_ array: NDArray) throws -> [UInt8] {
    try NPY.header(array.type, path: "") + array.withUnsafeBytes { Array($0) }
  }

  @Test func allLegalFormsAreRead() throws {
    for isDeflated in [false, true] {
      var builder = try Self.builder(isDeflated: isDeflated)
      #expect(try NPZ.parse(builder.bytes) == Self.archive)
      for isZIP64 in [false, true] {
        builder.isZIP64 = isZIP64
        for countsPrefix in [false, true] {
          builder.countsPrefix = countsPrefix
          builder.prefix = Array("#!/bin/sh\nexit 0\n".utf8)
          builder.comment = Array("made by hand".utf8)
          #expect(try NPZ.parse(builder.bytes) == Self.archive)
        }
      }
      builder = try Self.builder(isDeflated: isDeflated)
      builder.members[0].isStreamed = true
      #expect(try NPZ.parse(builder.bytes) == Self.archive)
    }
    #expect(try NPZ.parse(ZipBuilder([]).bytes).isEmpty)
  }

  @Test func twentyTimesTheMembersTakeTwentyTimesTheWork() throws {
    let header = try NPY.header(.f32(), path: "")
    func seconds(_ count: Int) throws -> Double {
      let members = (0..<count).map {
        ZipBuilder.Member("\($0).npy", header + littleEndian(Float($0).bitPattern))
      }
      let bytes = ZipBuilder(members).bytes
      // What this thread has worked, whatever else the machine does.
      var start = timespec(), end = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start)
      let file = try NPZFile(.memory(bytes, path: "a.npz"))
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end)
      #expect(file.names.count == count)
      return Double(end.tv_sec - start.tv_sec) + Double(end.tv_nsec - start.tv_nsec) * 1e-9
    }
    let few = try seconds(1000), many = try seconds(20000)
    // With the square it would be 400 times.
    #expect(many < 60 * few, "\(few) s, then \(many) s")
  }

  @Test func foldersAndOtherFilesAreNoArrays() throws {
    var builder = try Self.builder()
    builder.members.insert(ZipBuilder.Member("data/", []), at: 0)
    builder.members.append(ZipBuilder.Member("README.md", Array("Read me.".utf8)))
    builder.members.append(ZipBuilder.Member("data/z.npy", try Self.file(NDArray(7))))
    #expect(try NPZ.parse(builder.bytes).names == ["x", "y", "data/z"])
    let file = try NPZFile(.memory(builder.bytes, path: "a.npz"))
    #expect(file.names == ["x", "y", "data/z"] && file.otherNames == ["README.md"])
    #expect(try file.array("data/z").scalar == 7)
    let failure = error { _ = try file.array("README.md") }
    #expect(failure?.kind == .missing && failure?.expected == "one of x, y, data/z")
  }

  @Test func namesAreToldApartByTheirBytes() throws {
    let one = "\u{e9}", two = "e\u{301}"
    let arrays = [(key: one, value: NDArray(1)), (key: two, value: NDArray(2))]
    try withTemporaryFolder { folder in
      try NPZ.write(arrays, to: "\(folder)/x.npz")
      let file = try NPZFile("\(folder)/x.npz")
      #expect(try file.array(one).scalar == 1)
      #expect(try file.array(two).scalar == 2)
      let all = try NPZ.read("\(folder)/x.npz")
      #expect(all.count == 2 && all[one]?.scalar == 1 && all[two]?.scalar == 2)
      let twice = error { try NPZ.write(arrays + arrays, to: "\(folder)/y.npz") }
      #expect(twice?.kind == .invalidArgument)
    }
  }

  /// How the archive is changed, and what the error says.
  static let lies: [(what: String, change: @Sendable (inout ZipBuilder) throws -> Void)] = [
    ("twice", { $0.members.append($0.members[0]) }),
    ("another name in its own header", { $0.members[0].localName = Array("z.npy".utf8) }),
    ("not where the directory says", { $0.start = { $1 + 1 } }),
    ("the directory lists 2 members", { $0.claimedMembers = 1 }),
    ("the directory lists 2 members", { $0.claimedMembers = 0 }),
    ("would list 3 members", { $0.claimedMembers = 3 }),
    ("lies beyond the members", { $0.start = { index, start in start + index * 200 } }),
    ("claims", { $0.start = { _, start in start + 4000 } }),
    // Both entries have the first one's header: forty such entries inflate one body forty times.
    ("another name in its own header", { $0.start = { _, _ in 0 } }),
    (
      "claims",
      {
        $0.members[0].claimedCount = 1 << 30; $0.members[0].isDeflated = true
      }
    ),
    ("claims", { $0.members[0].claimedCount = 3 }),
    ("UTF-8", { $0.members[0].name = [0xff] + Array(".npy".utf8) }),
    ("UTF-8", { $0.members[0].name = Array("a\0b.npy".utf8) }),
  ]

  @Test(arguments: 0..<lies.count)
  func anArchiveThatLiesIsRefused(index: Int) throws {
    let lie = Self.lies[index]
    var builder = try Self.builder()
    try lie.change(&builder)
    let failure = error { _ = try NPZFile(.memory(builder.bytes, path: "a.npz")) }
    #expect(failure?.kind == .invalidFile)
    #expect(failure?.what.contains(lie.what) == true, "\(failure?.what ?? "")")
    #expect(failure?.location?.hasPrefix("a.npz, byte ") == true)
  }

  @Test func membersThatShareBytesAreRefused() throws {
    // The second member, header and all, is the content of the first.
    let inner = try Self.file(NDArray(7))
    var builder = ZipBuilder([ZipBuilder.Member("b.npy", inner)])
    let local = Array(builder.bytes[..<(30 + 5 + inner.count)])
    builder = ZipBuilder([ZipBuilder.Member("a.npy", local), ZipBuilder.Member("b.npy", inner)])
    #expect(try NPZFile(.memory(builder.bytes, path: "")).array("b").scalar == 7)
    builder.start = { index, start in index == 0 ? start : 30 + 5 }
    let failure = error { _ = try NPZFile(.memory(builder.bytes, path: "")) }
    #expect(failure?.what == "'b.npy' overlaps 'a.npy'")
  }

  @Test func whatFollowsTheEndRecordIsNoticed() throws {
    let whole = try contents(fixture("stored.npz"))
    #expect(error { _ = try NPZ.parse(whole + [0]) }?.what == "1 bytes follow the end record")
    #expect(error { _ = try NPZ.parse(Array(whole.dropLast(30))) }?.kind == .invalidFile)
  }

  @Test func contentIsComparedWithSizeAndChecksum() throws {
    let whole = try contents(fixture("stored.npz"))
    // The last byte of the second array's elements.
    var changed = whole
    let directory = try #require(
      changed.indices.first { changed[$0...].starts(with: [0x50, 0x4b, 0x01, 0x02]) })
    changed[directory - 1] ^= 1
    #expect(error { _ = try NPZ.parse(changed) }?.what.contains("checksum of 'y.npy'") == true)
    #expect(try NPZFile(.memory(changed, path: "")).array("x") == Self.archive["x"])
    var builder = try Self.builder(isDeflated: true)
    for count in [0, 151, 153, 300] {
      builder.members[0].claimedCount = count
      #expect(error { _ = try NPZ.parse(builder.bytes) }?.kind == .invalidFile)
    }
  }

  /// One damaged byte never makes an array vanish or differ.
  @Test(arguments: ["stored.npz", "deflated.npz", "written.npz", "zip64"])
  func ofOneDamagedByteNothingIsLost(name: String) throws {
    var whole: [UInt8]
    if name == "zip64" {
      var builder = try Self.builder()
      (builder.isZIP64, builder.comment) = (true, [1, 2, 3])
      whole = builder.bytes
    } else {
      whole = try contents(fixture(name))
    }
    var accepted = 0
    for index in whole.indices {
      let byte = whole[index]
      for change in [0, 0xff, byte &+ 1, byte &- 1, byte ^ 0x80, byte ^ 0x20] where change != byte {
        whole[index] = change
        do {
          let arrays = try NPZ.parse(whole, limit: 1 << 20)
          accepted += 1
          if arrays != Self.archive { Issue.record("byte \(index) is \(change)") }
        } catch is ApusError {}
      }
      whole[index] = byte
    }
    // Dates, attributes, comments and versions of writers.
    #expect(accepted > 20 && accepted < whole.count)
  }

  @Test func aLimitIsKept_andNamesTheMember() throws {
    let builder = try Self.builder(isDeflated: true)
    let bytes = builder.bytes
    let sizes = builder.members.map(\.content.count)
    #expect(try NPZ.parse(bytes, limit: sizes[0] + sizes[1]).count == 2)
    let failure = error { _ = try NPZ.parse(bytes, path: "a.npz", limit: sizes[0] + sizes[1] - 1) }
    #expect(failure?.kind == .resource)
    #expect(
      failure?.what == "'y.npy' with the arrays before it would take \(sizes[0] + sizes[1]) bytes")
    #expect(failure?.expected?.contains("at most \(sizes[0] + sizes[1] - 1) bytes") == true)
    let file = try NPZFile(.memory(bytes, path: "a.npz"))
    #expect(try file.array("y", limit: sizes[1]) == Self.archive["y"])
    #expect(error { _ = try file.array("y", limit: sizes[1] - 1) }?.kind == .resource)
    // Bytes that become 32-bit integers take more than the archive says.
    let small = NPYTests.file(
      "{'descr': '|i1', 'fortran_order': False, 'shape': (1000,), }", data: 1000)
    let wide = ZipBuilder([ZipBuilder.Member("w.npy", small)]).bytes
    #expect(
      error { _ = try NPZ.parse(wide, limit: 2000) }?.what
        == "'w.npy', i32[1000], would take 4000 bytes")
  }

  @Test func noArchiveTakesMoreMemoryThanItsHeadersState() async {
    // A process of its own: its peak is nobody else's.
    await #expect(processExitsWith: .success) { try Peaks.check() }
  }

  @Test func mutatedArchivesAreReadOrRefused() throws {
    let files = try ["stored", "deflated", "written"].map { try contents(fixture("\($0).npz")) }
    let refused = fuzz(files, rounds: 6000, seed: 4) { _ = try NPZ.parse($0) }
    #expect(refused > 3000)
    // The directory stands at the end: mutations there need an aim of their own.
    let ends = fuzz(files.map { $0.reversed() }, rounds: 6000, seed: 5) {
      _ = try NPZ.parse($0.reversed())
    }
    #expect(ends > 3000)
  }
}

/// The peaks of memory while archives are read that claim much.
private enum Peaks {
  struct Failed: Error { let text: String }

  /// What a process may have besides arrays: buffers, zlib, pages of code not touched before.
  static let rest = 6 << 20

  static func check() throws {
    let folder = NSTemporaryDirectory() + "apus-peaks-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
      try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
      return "\(folder)/\(name)"
    }
    let big = 24 << 20
    let header = try NPY.header(.u8(big), path: "")
    let array = header + [UInt8](repeating: 0, count: big)
    func archive(_ names: [String], isDeflated: Bool = true) -> ZipBuilder {
      ZipBuilder(names.map { ZipBuilder.Member($0, array, isDeflated: isDeflated) })
    }
    let honest = try file("honest.npz", archive(["a.npy", "b.npy"]).bytes)
    let stored = try file("stored.npz", archive(["a.npy", "b.npy"], isDeflated: false).bytes)
    let doubled = try file("dupnames.npz", archive(["a.npy", "a.npy", "a.npy", "a.npy"]).bytes)
    var shared = archive((0..<8).map { "\($0).npy" })
    shared.start = { _, _ in 0 }
    let overlap = try file("overlap.npz", shared.bytes)
    let idx: [UInt8] = [0, 0, 8, 1, 1, 128, 0, 0]  // 24 MB
    let gzip = try file("honest.idx.gz", ZipBuilder.deflated(idx, zeros: big))
    let bomb = try file(
      "bomb.idx.gz", ZipBuilder.deflated([0, 0, 8, 1, 0, 0, 4, 0], zeros: 256 << 20))
    let columns = try file(
      "columns.npy",
      NPYTests.file(
        "{'descr': '>f4', 'fortran_order': True, 'shape': (\(big / 4096), 1024), }", data: big))

    try peak("two arrays", 2 * big) { _ = try NPZ.read(honest) }
    try peak("two stored arrays", 2 * big) { _ = try NPZ.read(stored) }
    try peak("one of two", big) { _ = try NPZFile(honest).array("b") }
    try peak("a compressed IDX file", big) { _ = try IDX.read(gzip) }
    try peak("columns of the other byte order", big) { _ = try NPY.read(columns) }
    // Refused before anything is inflated.
    try peak("two arrays beyond a limit", 0) {
      try refused { _ = try NPZ.read(honest, limit: big) }
    }
    try peak("names that stand twice", 0) { try refused { _ = try NPZ.read(doubled) } }
    try peak("shared bytes", 0) { try refused { _ = try NPZ.read(overlap) } }
    try peak("more than the header says", 0) { try refused { _ = try IDX.read(bomb) } }
    try peak("beyond a limit", 0) { try refused { _ = try IDX.read(gzip, limit: 1 << 20) } }
  }

  private static func refused(_ body: () throws -> Void) throws {
    do { try body() } catch is ApusError { return }
    throw Failed(text: "nothing was thrown")
  }

  /// Fails where `body` takes more than 1.2 x `bytes`.
  private static func peak(_ what: String, _ bytes: Int, _ body: () throws -> Void) throws {
    // The peak is from now on.
    try Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))
    let before = try memory("VmRSS:")
    try body()
    let taken = try memory("VmHWM:") - before
    FileHandle.standardError.write(Data("\(what): \(taken >> 10) KB\n".utf8))
    guard taken <= bytes * 6 / 5 + rest else { throw Failed(text: "\(what): \(taken) bytes") }
  }

  private static func memory(_ key: String) throws -> Int {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix(key) })
    return try #require(Int(line.split { $0 == " " || $0 == "\t" }[1])) << 10
  }
}
