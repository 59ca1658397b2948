// NumPy arrays of every type we take, and broken files.

import ApusGraph
import Testing

@testable import ApusData

@Suite struct NPYTests {
  static let signed = [-100, -60, -20, 20, 60, 100]
  static let unsigned = [0, 40, 80, 120, 160, 200]

  @Test(arguments: [
    ("f4", TensorType.f32(2, 3)), ("f2", .f16(2, 3)), ("f8", .f64(2, 3)), ("i4", .i32(2, 3)),
    ("i8", .i64(2, 3)), ("big-f4", .f32(2, 3)), ("big-i8", .i64(2, 3)), ("i1", .i32(2, 3)),
    ("i2", .i32(2, 3)),
  ])
  func signedElementsAreRead(name: String, type: TensorType) throws {
    let array = try NPY.read(fixture("\(name).npy"))
    #expect(array.type == type)
    #expect(array.integers == Self.signed)
  }

  @Test(arguments: [
    ("u1", TensorType.u8(2, 3)), ("u2", .i32(2, 3)), ("u4", .i64(2, 3)),
  ])
  func unsignedElementsAreRead(name: String, type: TensorType) throws {
    let array = try NPY.read(fixture("\(name).npy"))
    #expect(array.type == type)
    #expect(array.integers == Self.unsigned)
  }

  @Test func otherLayoutsAreRead() throws {
    let grid = NDArray([0, 1, 2, 3, 4, 5], shape: [2, 3])
    #expect(try NPY.read(fixture("column-major.npy")) == grid)
    #expect(try NPY.read(fixture("version2.npy")) == grid)
    #expect(try NPY.read(fixture("scalar.npy")) == NDArray(0.5))
    #expect(try NPY.read(fixture("empty.npy")).type == .f32(0, 3))
    #expect(
      try NPY.read(fixture("bool.npy"))
        == NDArray([false, true, false, true, false, true], shape: [2, 3]))
  }

  @Test(arguments: ["f4", "f2", "f8", "i4", "i8", "u1", "bool", "scalar", "empty", "vector"])
  func whatIsWrittenHasNumPysBytes(name: String) throws {
    try withTemporaryFolder { folder in
      let array = try NPY.read(fixture("\(name).npy"))
      try NPY.write(array, to: "\(folder)/x.npy")
      #expect(try contents("\(folder)/x.npy") == (try contents(fixture("\(name).npy"))))
    }
  }

  @Test func whatNumPyDoesNotHaveIsRefused() throws {
    try withTemporaryFolder { folder in
      let failure = error { try NPY.write(NDArray(zeros: .bf16(2)), to: "\(folder)/x.npy") }
      #expect(failure?.kind == .unsupported)
      let left = try names(in: folder)
      #expect(left.isEmpty)
    }
    #expect(error { _ = try NPY.read(fixture("complex.npy")) }?.kind == .unsupported)
  }

  static func file(_ header: String, data: Int = 24) -> [UInt8] {
    NPY.magic + [1, 0] + littleEndian(UInt16(header.utf8.count)) + Array(header.utf8)
      + [UInt8](repeating: 0, count: data)
  }

  @Test(arguments: [
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }", "ends within"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "bytes follow"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "malformed shape"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9), }", "absurd"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", "malformed"),
    ("{'descr': '<f4', 'fortran_order': 0, 'shape': (6,), }", "malformed header"),
    ("{'descr': '<f4', 'shape': (6,), }", "lacks keys"),
    ("{'descr': '<f4', 'descr': '<f4', 'shape': (6,), }", "stands twice"),
    ("{'descr': '<f4', 'x': '<f4', 'shape': (6,), }", "unknown key"),
    ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }", "malformed header"),
    ("{'descr': '<f4, 'fortran_order': False, 'shape': (6,), }", "not read"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), } x", "follows the header"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (6,", "malformed shape"),
    ("", "malformed header"),
  ])
  func aHeaderThatLiesIsRefused(header: String, what: String) {
    let failure = error { _ = try NPY.parse(Self.file(header), path: "x.npy") }
    #expect(failure?.what.contains(what) == true, "\(failure?.what ?? "")")
    #expect(failure?.location?.hasPrefix("x.npy, byte ") == true)
  }

  @Test func aTruncatedFileIsRefusedWhereverItEnds() throws {
    let whole = try contents(fixture("f4.npy"))
    for count in 0..<whole.count {
      #expect(error { _ = try NPY.parse(Array(whole[..<count])) }?.kind == .invalidFile)
    }
    #expect(error { _ = try NPY.parse(whole + [0]) }?.location == "<bytes>, byte \(whole.count)")
    #expect(error { _ = try NPY.parse([0] + whole) }?.location == "<bytes>, byte 0")
  }

  @Test func mutatedFilesAreReadOrRefused() throws {
    let files = try ["f4", "i8", "u1", "bool", "column-major", "version2", "i2", "big-f4"].map {
      try contents(fixture("\($0).npy"))
    }
    let refused = fuzz(files, rounds: 6000, seed: 3) { _ = try NPY.parse($0) }
    #expect(refused > 3000)
  }

  static let archive = [
    "x": NDArray([0, 1, 2, 3, 4, 5], shape: [2, 3]),
    "y": NDArray([0, 1, 2, 3, 4, 5] as [Int64], shape: [2, 3]),
  ]

  @Test(arguments: ["stored.npz", "deflated.npz", "written.npz"])
  func archivesAreRead(name: String) throws {
    #expect(try NPZ.read(fixture(name)) == Self.archive)
  }

  @Test func archivesAreWrittenAsNumPyReadThem() throws {
    try withTemporaryFolder { folder in
      try NPZ.write(Self.archive, to: "\(folder)/x.npz")
      #expect(try contents("\(folder)/x.npz") == (try contents(fixture("written.npz"))))
    }
  }

  @Test func aDamagedArchiveIsRefused() throws {
    let whole = try contents(fixture("stored.npz"))
    #expect(error { _ = try NPZ.parse(Array(whole.dropLast(30))) }?.kind == .invalidFile)
    // The last byte of the second array's elements.
    var changed = whole
    let directory = try #require(
      changed.indices.first { changed[$0...].starts(with: [0x50, 0x4b, 0x01, 0x02]) })
    changed[directory - 1] ^= 1
    #expect(error { _ = try NPZ.parse(changed) }?.what.contains("checksum of 'y.npy'") == true)
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
