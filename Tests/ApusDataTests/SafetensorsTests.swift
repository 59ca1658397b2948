// Safetensors: reading, writing, and files that are not what they say.

import ApusGraph
import Testing

@testable import ApusData

@Suite struct SafetensorsTests {
  /// What the reference files hold.
  static let arrays: NamedArrays = [
    "blocks.0.weight": NDArray([0, 0.5, 1, 1.5, 2, 2.5], shape: [2, 3]),
    "blocks.0.bias": NDArray([1, 2, 3], shape: [3]),
    "half": NDArray(doubles: [1, -2, 0.5], type: .f16(3)),
    "brain": NDArray(doubles: [1, -2, 0.5], type: .bf16(3)),
    "double": NDArray(doubles: [1.25], type: .f64(1, 1)),
    "wide": NDArray([1, -2] as [Int64], shape: [2]),
    "int": NDArray([7, -8, 9] as [Int32], shape: [3]),
    "byte": NDArray([0, 127, 255] as [UInt8], shape: [3]),
    "flag": NDArray([true, false], shape: [2]),
    "scalar": NDArray(3.5),
    "empty": NDArray(zeros: .f32(0, 4)),
    "näme \"quoted\"": NDArray([1] as [UInt8], shape: [1]),
  ]

  @Test(arguments: ["padded.safetensors", "reference.safetensors"])
  func theReferencesFilesAreRead(name: String) throws {
    let file = try SafetensorsFile(fixture(name))
    #expect(file.metadata == ["format": "pt"])
    #expect(try file.arrays() == Self.arrays)
    #expect(file.entry("blocks.0.weight")?.shape == [2, 3])
    #expect(file.entry("blocks.0.weight")?.dtype == .f32)
    #expect(file.entry("nothing") == nil)
  }

  @Test func whatIsWrittenHasTheReferencesBytes() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.safetensors"
      try SafetensorsFile.write(Self.arrays, metadata: ["format": "pt"], to: path)
      #expect(try contents(path) == (try contents(fixture("padded.safetensors"))))
      try SafetensorsFile.write(NamedArrays(), to: path)
      #expect(try contents(path) == (try contents(fixture("none.safetensors"))))
      #expect(try SafetensorsFile(path).arrays().isEmpty)
      #expect(try names(in: folder) == ["a.safetensors"])
    }
  }

  @Test func dataBeginAtAMultipleOf64() throws {
    try withTemporaryFolder { folder in
      for length in 0..<70 {
        let path = "\(folder)/\(length)"
        let name = "t" + String(repeating: "x", count: length)
        try SafetensorsFile.write([name: NDArray(2)], to: path)
        let file = try SafetensorsFile(path)
        #expect(file.entries[0].bytes.lowerBound % 64 == 0)
        #expect(try file.array(name).scalar == 2)
      }
    }
  }

  @Test func metadataIsKept() throws {
    try withTemporaryFolder { folder in
      let metadata = ["step": "12", "a \"b\"\n": "\u{1}é\\", "": ""]
      try SafetensorsFile.write(["x": NDArray(1)], metadata: metadata, to: "\(folder)/x")
      #expect(try SafetensorsFile("\(folder)/x").metadata == metadata)
    }
  }

  @Test func namesAreToldApartByTheirBytes() throws {
    let one = "\u{e9}", two = "e\u{301}"
    #expect(one == two)
    var arrays = NamedArrays()
    arrays[one] = NDArray(1)
    arrays[two] = NDArray(2)
    try withTemporaryFolder { folder in
      let pairs = [(key: one, value: "a"), (key: two, value: "b")]
      try SafetensorsFile.write(arrays, metadata: pairs, to: "\(folder)/x")
      let file = try SafetensorsFile("\(folder)/x")
      #expect(try file.array(one).scalar == 1)
      #expect(try file.array(two).scalar == 2)
      #expect(try file.arrays() == arrays)
      // Sorted by bytes, so the decomposed one is first.
      #expect(file.metadataPairs.map(\.value) == ["b", "a"])
      try SafetensorsFile.write(
        try file.arrays(), metadata: file.metadataPairs, to: "\(folder)/y")
      #expect(try contents("\(folder)/x") == contents("\(folder)/y"))
      let twice = error {
        try SafetensorsFile.write(Array(arrays) + Array(arrays), to: "\(folder)/z")
      }
      #expect(twice?.kind == .invalidArgument)
    }
  }

  @Test func aTypeThatArraysDoNotHaveHindersOnlyItself() throws {
    let file = try SafetensorsFile(fixture("foreign.safetensors"))
    #expect(try file.array("b").scalar == 2.5)
    #expect(file.entry("a")?.dtypeName == "I8")
    let failure = error { _ = try file.array("a") }
    #expect(failure?.kind == .unsupported)
    #expect(failure?.what == "tensor 'a' has element type I8")
  }

  @Test func aMissingTensorIsNamedWithThoseThereAre() throws {
    let file = try SafetensorsFile(fixture("foreign.safetensors"))
    let failure = error { _ = try file.array("c") }
    #expect(failure?.kind == .missing)
    #expect(failure?.what.contains("'c'") == true)
    #expect(failure?.expected == "one of b, a")
  }

  @Test func theReservedNameCannotBeWritten() throws {
    try withTemporaryFolder { folder in
      let failure = error {
        try SafetensorsFile.write(["__metadata__": NDArray(1)], to: "\(folder)/x")
      }
      #expect(failure?.kind == .invalidArgument)
      let left = try names(in: folder)
      #expect(left.isEmpty)
    }
  }

  /// A file of a header as given and zeros.
  static func file(_ header: String, data: Int = 4) -> [UInt8] {
    littleEndian(UInt64(header.utf8.count)) + Array(header.utf8)
      + [UInt8](repeating: 0, count: data)
  }

  static func parse(_ bytes: [UInt8]) throws {
    try withTemporaryFolder { folder in
      try AtomicFile.write(to: "\(folder)/x") { try $0.write(bytes) }
      _ = try SafetensorsFile("\(folder)/x").arrays()
    }
  }

  @Test func whatTheReferenceToleratesIsTolerated() throws {
    // White space at the end, and data that are not aligned.
    try Self.parse(Self.file(#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   "#))
    try Self.parse(Self.file(#"{"a":{"shape":[1],"data_offsets":[0,4],"dtype":"F32"}} "#))
    let packed = Self.file(#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#, data: 1)
    #expect(error { try Self.parse(packed) }?.kind == .unsupported)
  }

  @Test(arguments: [
    ("", 4, "ends within its header"),
    ("[]", 0, "not a JSON object"),
    (" {}", 0, "not a JSON object"),
    ("{}", 4, "bytes follow"),
    (#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}"#, 4, "JSON"),
    (#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}x"#, 4, "JSON"),
    (#"{"a":{"dtype":"F32","shape":[]}}"#, 4, "malformed"),
    (#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1}}"#, 4, "malformed"),
    (#"{"a":{"dtype":"F31","shape":[],"data_offsets":[0,4]}}"#, 4, "element type"),
    (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "absurd shape"),
    (#"{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#, 4, "absurd shape"),
    (
      #"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, 4, "absurd"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}"#, 4, "4 bytes"
    ),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "4 bytes"),
    (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "malformed offsets"),
    (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#, 4, "malformed offsets"),
    (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "leaves a hole"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4, "ends within tensor 'a'"),
    (
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775803,9223372036854775807]}}"#,
      4, "beyond"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"#
        + #""b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4, "overlaps"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"#
        + #""a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "stands twice"
    ),
    (#"{"__metadata__":{"a":1}}"#, 0, "not a string"),
    (#"{"__metadata__":[]}"#, 0, "not an object"),
    (#"{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}"#, 1, "1 bytes"),
  ])
  func aHeaderThatLiesIsRefused(header: String, data: Int, what: String) throws {
    var bytes = Self.file(header, data: data)
    if header.isEmpty { bytes[0] = 5 }
    let failure = error { try Self.parse(bytes) }
    #expect(failure?.kind == .invalidFile)
    #expect(failure?.what.contains(what) == true, "\(failure?.what ?? "")")
    #expect(failure?.location?.contains(", byte ") == true)
  }

  @Test func damageIsNamedWithItsOffset() throws {
    let path = "x"
    func layout(_ bytes: [UInt8]) throws -> Layout {
      try Layout(path: path, byteCount: bytes.count) { Array(bytes[$0]) }
    }
    #expect(error { _ = try layout([1, 2, 3]) }?.location == "x, byte 3")
    let huge = littleEndian(UInt64.max) + [0, 0]
    #expect(error { _ = try layout(huge) }?.what.contains("header would have") == true)
    let broken = Self.file(#"{"a":{"dtype" "F32"}}"#)
    #expect(error { _ = try layout(broken) }?.location == "x, byte 22")
    var bool = try contents(fixture("padded.safetensors"))
    bool[bool.count - 1] = 2
    let entry = try #require(try SafetensorsFile(fixture("padded.safetensors")).entry("flag"))
    bool[entry.bytes.lowerBound] = 7
    let failure = error { try Self.parse(bool) }
    #expect(failure?.what == "a bool of tensor 'flag' is 7")
    #expect(failure?.location?.hasSuffix("byte \(entry.bytes.lowerBound)") == true)
  }

  @Test func aTruncatedFileIsRefusedWhereverItEnds() throws {
    let whole = try contents(fixture("padded.safetensors"))
    for count in 0..<whole.count {
      let part = Array(whole[..<count])
      let failure = error {
        _ = try Layout(path: "x", byteCount: part.count) { Array(part[$0]) }
      }
      #expect(failure?.kind == .invalidFile)
    }
  }

  @Test func mutatedFilesAreReadOrRefused() throws {
    let files = try ["padded", "reference", "foreign"].map {
      try contents(fixture("\($0).safetensors"))
    }
    let refused = fuzz(files, rounds: 6000, seed: 2) { bytes in
      _ = try Layout(path: "x", byteCount: bytes.count) { Array(bytes[$0]) }
    }
    #expect(refused > 3000)
  }
}
