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

  @Test(arguments: [
    ("(2L, 3L)", [2, 3]), ("(6L,)", [6]), ("(0L, 6)", [0, 6]), ("( 3 ,2, )", [3, 2]),
  ])
  func headersOfPython2AreRead(shape: String, extents: [Int]) throws {
    for descr in ["'<f4'", "u'<f4'", "'f4'", "'f'", "'float32'", "'=f4'", "'|f4'"] {
      let header = "{'descr': \(descr), 'fortran_order': False, 'shape': \(shape), }"
      let file = Self.file(header, data: Shape(extents).count * 4)
      #expect(try NPY.parse(file).type == TensorType(.f32, Shape(extents)))
    }
  }

  /// As `numpy.load` refuses them.
  @Test(arguments: [
    "(6)", "6", "[6]", "(6l,)", "(06,)", "(,)", "(6,,)", "(2 3)", "(-6,)", "(6.0,)", "(6,\u{b})",
  ])
  func shapesThatAreNoneAreRefused(shape: String) {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': \(shape), }"
    #expect(error { _ = try NPY.parse(Self.file(header)) }?.kind == .invalidFile)
  }

  @Test func python2sIntegersAreNotThoseOfVersion3() {
    var file = Self.file("{'descr': '<f4', 'fortran_order': False, 'shape': (6L,), }")
    file.replaceSubrange(6..<10, with: [3, 0, UInt8(file.count - 34), 0, 0, 0])
    #expect(error { _ = try NPY.parse(file) }?.what == "malformed shape")
  }

  @Test func columnsAreTurnedAroundWhileTheyAreRead() throws {
    // More than one piece of the buffer, in three axes.
    let (a, b, c) = (7, 100, 60)
    var elements: [UInt8] = []
    for k in 0..<c {
      for j in 0..<b { for i in 0..<a { elements += littleEndian(Int16(i * b + j - k)) } }
    }
    let header = "{'descr': '<i2', 'fortran_order': True, 'shape': (\(a), \(b), \(c)), }"
    let array = try NPY.parse(Self.file(header, data: 0) + elements)
    var expected: [Int] = []
    for i in 0..<a { for j in 0..<b { for k in 0..<c { expected.append(i * b + j - k) } } }
    #expect(array.type == .i32(a, b, c) && array.integers == expected)
  }
}
