// Mutated files for every reader: each is read to something that can be written and read again, or is refused
// with a typed error, within the limit of memory.

import ApusData
import ApusGraph
import Foundation
import TestSupport
import Testing

@Suite struct ReaderFuzzTests {
  private static let limit = 1 << 20

  @Test func arrayFiles() throws {
    try Mutants("npy").run(
      make: { random in Files.npy(Files.array(&random), &random) },
      read: { bytes, _ in try NPY.parse(bytes) },
      again: { array, path in
        try NPY.write(array, to: path)
        return try NPY.read(path)
      })
  }

  @Test(arguments: [false, true])
  func archives(isDeflated: Bool) throws {
    try Mutants(isDeflated ? "npz-deflated" : "npz-stored").run(
      make: { random in Files.npz(isDeflated: isDeflated, &random) },
      read: { bytes, _ in
        let arrays = try NPZ.parse(bytes, limit: Self.limit)
        guard arrays.reduce(0, { $0 + $1.value.type.byteCount }) <= Self.limit else {
          throw Fuzz.Wrong("more than the limit")
        }
        // What has no name cannot be written.
        var named = arrays
        named[""] = nil
        return named
      },
      again: { arrays, path in
        try NPZ.write(arrays, to: path)
        return try NPZ.read(path)
      })
  }

  @Test func safetensors() throws {
    struct Content: Equatable {
      var arrays: NamedArrays
      var metadata: [String]
    }
    func read(_ path: String) throws -> Content {
      let file = try SafetensorsFile(path)
      var arrays = NamedArrays()
      for entry in file.entries where entry.dtype != nil {
        arrays[entry.name] = try file.array(entry.name)
      }
      return Content(arrays: arrays, metadata: file.metadataPairs.flatMap { [$0.key, $0.value] })
    }
    try Mutants("safetensors").run(
      make: { random in try Files.safetensors(&random) },
      read: { bytes, path in
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return try read(path)
      },
      again: { content, path in
        let pairs = stride(from: 0, to: content.metadata.count, by: 2).map {
          (key: content.metadata[$0], value: content.metadata[$0 + 1])
        }
        try SafetensorsFile.write(content.arrays, metadata: pairs, to: path)
        return try read(path)
      })
  }

  @Test(arguments: [false, true])
  func idxFiles(isCompressed: Bool) throws {
    try Mutants(isCompressed ? "idx-gz" : "idx").run(
      make: { random in
        let bytes = Files.idx(Files.array(&random, [.u8, .i32, .f32, .f64], minimalRank: 1))
        guard isCompressed else { return bytes }
        let parts = Int.random(in: 0...bytes.count, using: &random)
        return Bool.random(using: &random)
          ? ZipBuilder.deflated(bytes)
          : ZipBuilder.deflated(Array(bytes[..<parts]))
            + ZipBuilder.deflated(Array(bytes[parts...]))
            + [0, 0]
      },
      read: { bytes, _ in
        let array = try IDX.parse(bytes, limit: Self.limit)
        guard array.type.byteCount <= max(Self.limit, isCompressed ? 0 : bytes.count * 4) else {
          throw Fuzz.Wrong("more than the limit")
        }
        return array
      },
      again: { array, _ in try IDX.parse(Files.idx(array)) })
  }

  @Test func tables() throws {
    struct Options {
      var separator: Character, header: CSV.Header, missing: Float?, type: DType
      init(_ random: inout SplitMix) {
        separator = [",", ";", "\t", "|"].randomElement(using: &random)!
        header = [.present, .absent, .detected].randomElement(using: &random)!
        missing = [nil, -1].randomElement(using: &random)!
        type = [.f32, .f64, .i64].randomElement(using: &random)!
      }
    }
    struct Table: Equatable {
      var names: [[UInt8]]?
      var values: NDArray
      init(_ table: CSV) {
        names = table.names.map { $0.map { Array($0.utf8) } }
        values = table.values
      }
    }
    var options = Options(&Files.unseeded)
    try Mutants("csv").run(
      make: { random in
        options = Options(&random)
        let text = Files.csv(separator: options.separator, type: options.type, &random)
        return Bool.random(using: &random) ? text : ZipBuilder.deflated(text)
      },
      read: { bytes, _ in
        Table(
          try CSV.parse(
            bytes, separator: options.separator, header: options.header, missing: options.missing,
            type: options.type, limit: Self.limit))
      },
      again: { table, _ in
        let text = Files.text(of: table.values, names: table.names)
        return Table(
          try CSV.parse(
            text, header: table.names == nil ? .absent : .present, type: options.type))
      })
  }
}

/// Right files of every format.
private enum Files {
  nonisolated(unsafe) static var unseeded = SplitMix(seed: 0)

  static func array(
    _ random: inout SplitMix, _ dtypes: [DType] = [.f32, .f16, .f64, .i32, .i64, .u8, .bool],
    minimalRank: Int = 0
  ) -> NDArray {
    let rank = Int.random(in: minimalRank...3, using: &random)
    let extents = (0..<rank).map { _ in Int.random(in: 0...4, using: &random) }
    let type = TensorType(dtypes.randomElement(using: &random)!, Shape(extents))
    let isBool = type.dtype == .bool
    return NDArray(type) { bytes in
      for index in bytes.indices {
        bytes[index] = UInt8.random(in: 0...(isBool ? 1 : 255), using: &random)
      }
    }
  }

  static func name(_ random: inout SplitMix) -> String {
    let parts = ["x", "y.0", "weight", "\u{e9}", "e\u{301}", "a/b", " ", "\"", "\u{1f426}"]
    return (0...Int.random(in: 0...2, using: &random)).map { _ in
      parts.randomElement(using: &random)!
    }
    .joined()
  }

  static func named(_ random: inout SplitMix) -> NamedArrays {
    var arrays = NamedArrays()
    for _ in 0..<Int.random(in: 0...4, using: &random) { arrays[name(&random)] = array(&random) }
    return arrays
  }

  /// As NumPy writes it, or somebody else: versions, byte orders, columns first, Python 2.
  static func npy(_ array: NDArray, _ random: inout SplitMix) -> [UInt8] {
    let codes: [DType: String] = [
      .f32: "f4", .f16: "f2", .f64: "f8", .i32: "i4", .i64: "i8", .u8: "u1", .bool: "b1",
    ]
    let version = Int.random(in: 1...3, using: &random)
    let order = ["<", ">", "|", "=", ""].randomElement(using: &random)!
    let suffix = version < 3 && Bool.random(using: &random) ? "L" : ""
    let extents = array.shape.dimensions.map { "\($0)\(suffix)," }.joined(separator: " ")
    let isFortran = Bool.random(using: &random) ? "True" : "False"
    var text =
      "{'descr': '\(order)\(codes[array.dtype]!)', 'fortran_order': \(isFortran), 'shape': (\(extents)), }"
    text += String(repeating: " ", count: Int.random(in: 0...20, using: &random)) + "\n"
    let count = text.utf8.count
    let length = (0..<(version == 1 ? 2 : 4)).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }
    return [0x93] + Array("NUMPY".utf8) + [UInt8(version), 0] + length + Array(text.utf8)
      + array.withUnsafeBytes { Array($0) }
  }

  static func npz(isDeflated: Bool, _ random: inout SplitMix) -> [UInt8] {
    var members: [ZipBuilder.Member] = []
    for (name, array) in named(&random) {
      let isPacked = isDeflated && Int.random(in: 0..<4, using: &random) > 0
      members.append(ZipBuilder.Member("\(name).npy", npy(array, &random), isDeflated: isPacked))
    }
    if Bool.random(using: &random) { members.append(ZipBuilder.Member("folder/", [])) }
    if Bool.random(using: &random) {
      members.append(ZipBuilder.Member("README", Array("text".utf8)))
    }
    var builder = ZipBuilder(members)
    builder.isZIP64 = Bool.random(using: &random)
    if Bool.random(using: &random) { builder.comment = Array("comment".utf8) }
    if Bool.random(using: &random) { builder.prefix = [1, 2, 3] }
    builder.countsPrefix = Bool.random(using: &random)
    return builder.bytes
  }

  static func safetensors(_ random: inout SplitMix) throws -> [UInt8] {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent(
      "apus-fuzz-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: path) }
    var metadata: [String: String] = [:]
    for _ in 0..<Int.random(in: 0...3, using: &random) { metadata[name(&random)] = name(&random) }
    try SafetensorsFile.write(named(&random), metadata: metadata, to: path.path)
    return Array(try Data(contentsOf: path))
  }

  static func idx(_ array: NDArray) -> [UInt8] {
    let codes: [DType: UInt8] = [.u8: 8, .i32: 12, .f32: 13, .f64: 14]
    var bytes = [0, 0, codes[array.dtype] ?? 0, UInt8(array.shape.rank)]
    for extent in array.shape.dimensions {
      bytes += (0..<4).reversed().map { UInt8(truncatingIfNeeded: extent >> (8 * $0)) }
    }
    let size = array.dtype.byteCount
    return array.withUnsafeBytes { elements in
      for start in stride(from: 0, to: elements.count, by: size) {
        bytes += elements[start..<start + size].reversed()
      }
      return bytes
    }
  }

  static func csv(separator: Character, type: DType, _ random: inout SplitMix) -> [UInt8] {
    let columns = Int.random(in: 1...4, using: &random)
    let end = ["\n", "\r\n", "\r"].randomElement(using: &random)!
    let numbers = [
      "0", "-1.5", "3e-2", "16777216", "1e10", "inf", "nan", "", "\"7\"", " 8 ", "0.1",
    ]
    let whole = ["0", "-1", "9223372036854775807", "\"7\"", ""]
    var lines: [String] = []
    if Bool.random(using: &random) {
      let names = ["a", "\"b \"\"c\"\"\"", "\"d\(end)e\"", "\u{e9}"]
      lines.append(names[..<columns].joined(separator: String(separator)))
    }
    for _ in 0..<Int.random(in: 0...4, using: &random) {
      let fields = (0..<columns).map { _ in
        (type == .i64 ? whole : numbers).randomElement(using: &random)!
      }
      lines.append(fields.joined(separator: String(separator)))
    }
    return Array((lines.joined(separator: end) + end).utf8)
  }

  /// The text of a table, fields separated by commas.
  static func text(of values: NDArray, names: [[UInt8]]?) -> [UInt8] {
    var text: [UInt8] = []
    if let names {
      for (index, name) in names.enumerated() {
        text += index > 0 ? [0x2c, 0x22] : [0x22]
        for byte in name { text += byte == 0x22 ? [byte, byte] : [byte] }
        text.append(0x22)
      }
      text.append(0x0a)
    }
    let columns = values.shape[1]
    let fields: [String] =
      switch values.dtype {
      case .i64: values.integers.map { "\($0)" }
      case .f64: values.doubles.map { "\($0)" }
      default: values.floats.map { "\($0)" }
      }
    for start in stride(from: 0, to: fields.count, by: max(columns, 1)) {
      text += Array((fields[start..<start + columns].joined(separator: ",") + "\n").utf8)
    }
    return text
  }
}
