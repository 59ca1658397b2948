// Checking the header of a safetensors file. See Safetensors.swift for the format.

import ApusGraph

/// What a header says, once it is known to be true to its file.
struct Layout {
  static let metadataName = "__metadata__"
  /// The reference's limit.
  static let headerLimit = 100_000_000

  /// Element types: bits an element takes, ours of the same meaning, and the order in which the
  /// reference sorts them when it writes.
  static let dtypes: [String: (bits: Int, dtype: DType?)] = [
    "BOOL": (8, .bool), "U8": (8, .u8), "I8": (8, nil), "F8_E5M2": (8, nil), "F8_E4M3": (8, nil),
    "F8_E8M0": (8, nil), "F8_E4M3FNUZ": (8, nil), "F8_E5M2FNUZ": (8, nil), "F4": (4, nil),
    "F6_E2M3": (6, nil), "F6_E3M2": (6, nil), "I16": (16, nil), "U16": (16, nil), "F16": (16, .f16),
    "BF16": (16, .bf16), "I32": (32, .i32), "U32": (32, nil), "F32": (32, .f32), "C64": (64, nil),
    "F64": (64, .f64), "I64": (64, .i64), "U64": (64, nil),
  ]

  static var supportedNames: [String] { DType.allCases.map(name) }

  static func name(_ dtype: DType) -> String {
    switch dtype {
    case .f32: "F32"
    case .bf16: "BF16"
    case .f16: "F16"
    case .f64: "F64"
    case .i32: "I32"
    case .i64: "I64"
    case .u8: "U8"
    case .bool: "BOOL"
    }
  }

  /// The place of an element type in the reference's order; the highest is written first.
  static func order(_ dtype: DType) -> Int {
    let order: [DType] = [.bool, .u8, .f16, .bf16, .i32, .f32, .f64, .i64]
    return order.firstIndex(of: dtype)!
  }

  private(set) var metadata: [String: String] = [:]
  /// All metadata, where there are keys that `metadata` holds to be one.
  private(set) var equivalentPairs: [(key: String, value: String)] = []
  private(set) var entries: [SafetensorsFile.Entry] = []
  private let path: String
  private let dataStart: Int

  /// Reads and checks the header of a file of `byteCount` bytes.
  init(path: String, byteCount: Int, read: (Range<Int>) throws -> [UInt8]) throws {
    self.path = path
    func fail(_ what: String, at offset: Int, expected: String) -> ApusError {
      ApusError(.invalidFile, what, at: place(path, offset), expected: expected)
    }
    guard byteCount >= 8 else {
      throw fail(
        "the file ends within the header's length", at: byteCount,
        expected: "a safetensors file, which has 8 bytes at least")
    }
    let length = try read(0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(Self.headerLimit) else {
      throw fail(
        "the header would have \(length) bytes", at: 0,
        expected: "at most \(Self.headerLimit); is this a safetensors file?")
    }
    guard Int(length) <= byteCount - 8 else {
      throw fail(
        "the file ends within its header", at: byteCount, expected: "\(length) bytes of header")
    }
    dataStart = 8 + Int(length)
    let text = try read(8..<dataStart)
    guard text.first == UInt8(ascii: "{") else {
      throw fail("the header is not a JSON object", at: 8, expected: "'{'")
    }
    let header: JSON
    do {
      header = try JSON(parsing: text)
    } catch let error as ApusError {
      // The parser counts from the header's start.
      let offset = error.location?.split(separator: " ").last.flatMap { Int($0) } ?? 0
      throw fail(error.what, at: 8 + offset, expected: error.expected ?? "JSON")
    }
    for (name, value) in header.members ?? [] {
      if name == Self.metadataName {
        try readMetadata(value)
      } else {
        entries.append(try entry(name, value))
      }
    }
    try checkCover(byteCount)
  }

  private func fail(_ what: String, at offset: Int = 8, expected: String) -> ApusError {
    ApusError(.invalidFile, what, at: place(path, offset), expected: expected)
  }

  private mutating func readMetadata(_ value: JSON) throws {
    guard let members = value.members else {
      throw fail("\(Self.metadataName) is not an object", expected: "an object of strings")
    }
    metadata.reserveCapacity(members.count)
    for (key, value) in members {
      guard let text = value.string else {
        throw fail("the metadata '\(key)' is not a string", expected: "a string")
      }
      metadata[key] = text
    }
    if metadata.count < members.count {
      equivalentPairs = members.map { ($0.0, $0.1.string ?? "") }
    }
  }

  /// One tensor of the header, its range checked against its shape.
  private func entry(_ name: String, _ value: JSON) throws -> SafetensorsFile.Entry {
    guard let members = value.members, Set(members.map(\.0)) == ["dtype", "shape", "data_offsets"]
    else {
      throw fail("tensor '\(name)' is malformed", expected: "dtype, shape and data_offsets")
    }
    guard let dtypeName = value["dtype"]?.string, let (bits, _) = Self.dtypes[dtypeName] else {
      throw fail(
        "tensor '\(name)' has an unknown element type", expected: "a dtype such as F32")
    }
    let extents = value["shape"]?.elements?.map { $0.integer ?? -1 } ?? [-1]
    guard let count = checkedCount(extents) else {
      throw fail("tensor '\(name)' has an absurd shape", expected: "a list of extents, 0 or more")
    }
    let offsets = value["data_offsets"]?.elements?.map { $0.integer ?? -1 } ?? []
    guard offsets.count == 2, offsets[0] >= 0, offsets[1] >= offsets[0] else {
      throw fail("tensor '\(name)' has malformed offsets", expected: "[begin, end]")
    }
    let (bitCount, overflow) = count.multipliedReportingOverflow(by: bits)
    guard !overflow, bitCount % 8 == 0, offsets[1] - offsets[0] == bitCount / 8 else {
      throw fail(
        "tensor '\(name)' has \(offsets[1] - offsets[0]) bytes",
        at: saturatedPlace(offsets[0]),
        expected: overflow
          ? "a shape that fits in memory"
          : "\(bitCount / 8) bytes for \(dtypeName)\(Shape(extents))")
    }
    let (end, isBeyond) = offsets[1].addingReportingOverflow(dataStart)
    guard !isBeyond else {
      throw fail("tensor '\(name)' lies beyond any file", expected: "offsets within the file")
    }
    return SafetensorsFile.Entry(
      name: name, dtypeName: dtypeName, shape: Shape(extents),
      bytes: offsets[0] + dataStart..<end)
  }

  private func saturatedPlace(_ offset: Int) -> Int {
    let (sum, overflow) = offset.addingReportingOverflow(dataStart)
    return overflow ? .max : sum
  }

  /// Brings the entries into the order of their bytes and checks that these cover the data: no hole, no
  /// overlap, nothing after.
  private mutating func checkCover(_ byteCount: Int) throws {
    entries.sort {
      ($0.bytes.lowerBound, $0.bytes.upperBound) < ($1.bytes.lowerBound, $1.bytes.upperBound)
    }
    var end = dataStart
    for entry in entries {
      guard entry.bytes.lowerBound == end else {
        throw fail(
          "tensor '\(entry.name)' \(entry.bytes.lowerBound < end ? "overlaps" : "leaves a hole after") "
            + "the one before", at: entry.bytes.lowerBound, expected: "its bytes from \(end) on")
      }
      guard entry.bytes.upperBound <= byteCount else {
        throw fail(
          "the file ends within tensor '\(entry.name)'", at: byteCount,
          expected: "\(entry.bytes.upperBound - byteCount) more bytes")
      }
      end = entry.bytes.upperBound
    }
    guard end == byteCount else {
      throw fail("bytes follow the last tensor", at: end, expected: "the end of the file")
    }
  }
}
