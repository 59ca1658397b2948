// Rows as JSON objects.

import ApusGraph
import Foundation
import TestSupport
import Testing

@testable import ApusData

@Suite struct JSONLinesTests {
  private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  private static let text = """
    {"text": "a \\"b\\" \\u00e9", "label": 3, "vector": [1, 2.5, -3e2], "ids": [1, 2, 3], "ok": true}

    {"label": 4.0, "extra": {"x": [null]}, "ok": false, "ids": [], "vector": [0, 0, 1e-3], "text": ""}
    """

  private static let columns: KeyValuePairs<String, JSONLines.Column> = [
    "label": .array(.i32()), "text": .text, "vector": .array(.f32(3)), "ids": .list(.i64),
    "ok": .array(.bool()),
  ]

  @Test func columnsHaveTheirTypes() throws {
    for end in ["", "\n", "\r\n"] {
      let rows = try JSONLines.parse(Self.bytes(Self.text + end), columns: Self.columns)
      #expect(rows.count == 2 && rows.names == ["label", "text", "vector", "ids", "ok"])
      #expect(try rows.array("label") == NDArray([3, 4] as [Int32], shape: [2]))
      #expect(try rows.texts("text") == ["a \"b\" é", ""])
      #expect(try rows.array("vector") == NDArray([1, 2.5, -300, 0, 0, 1e-3], shape: [2, 3]))
      #expect(try rows.lists("ids").map(\.integers) == [[1, 2, 3], []])
      #expect(try rows.array("ok") == NDArray([true, false], shape: [2]))
    }
  }

  @Test func filesMayBeCompressed_andLongerThanABuffer() throws {
    try withTemporaryFolder { folder in
      let lines = (0..<5000).map {
        "{\"x\":\($0),\"t\":\"\(String(repeating: "y", count: $0 % 97))\"}"
      }
      let text = Self.bytes(lines.joined(separator: "\n"))
      for bytes in [text, ZipBuilder.deflated(text)] {
        let path = "\(folder)/rows.jsonl"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let rows = try JSONLines.read(path, columns: ["x": .array(.f64()), "t": .text])
        #expect(try rows.array("x").integers == Array(0..<5000))
        #expect(try rows.texts("t").map(\.count) == (0..<5000).map { $0 % 97 })
      }
    }
  }

  @Test func nestedListsHaveShapes() throws {
    let rows = try JSONLines.parse(
      Self.bytes("{\"m\":[[1,2],[3,4]]}\n{\"m\":[[5,6],[7,8]]}"), columns: ["m": .array(.u8(2, 2))])
    #expect(try rows.array("m").type == .u8(2, 2, 2) && rows.array("m").integers == Array(1...8))
  }

  @Test func mistakesNameLineAndKey() throws {
    func failure(_ text: String, _ columns: KeyValuePairs<String, JSONLines.Column>) -> ApusError? {
      error { _ = try JSONLines.parse(Self.bytes(text), columns: columns, path: "f") }
    }
    let good = "{\"x\":1}\n\n"
    let missing = failure(good + "{\"y\":1}", ["x": .array(.i32())])
    #expect(missing?.what == "the key 'x' is missing" && missing?.location == "f, line 3")
    #expect(missing?.kind == .invalidFile)
    let text = failure(good + "{\"x\":\"1\"}", ["x": .array(.i32())])
    #expect(text?.what == "the value is a string" && text?.location == "f, line 3, key 'x'")
    #expect(failure("{\"x\":null}", ["x": .array(.f32())])?.what == "the value is null")
    #expect(failure("{\"x\":1}", ["x": .text])?.expected == "a string")
    #expect(failure("{\"x\":[1,2]}", ["x": .array(.f32(3))])?.what == "the value has a list of 2")
    #expect(failure("{\"x\":true}", ["x": .array(.i32())])?.what == "the value is a bool")
    #expect(failure("{\"x\":1}", ["x": .array(.bool())])?.expected == "true or false")
    #expect(failure("{\"x\":1.5}", ["x": .array(.i32())])?.kind == .outOfRange)
    #expect(failure("{\"x\":256}", ["x": .array(.u8())])?.kind == .outOfRange)
    #expect(failure("{\"x\":1e400}", ["x": .array(.f64())])?.kind == .outOfRange)
    #expect(failure("{\"x\":1e39}", ["x": .array(.f32())])?.kind == .outOfRange)
    #expect(failure("[1]", ["x": .text])?.what == "the line is a list")
    let broken = failure(good + "{\"x\":1", ["x": .array(.i32())])
    #expect(broken?.kind == .invalidFile && broken?.location?.hasPrefix("f, line 3, byte ") == true)
    #expect(failure("", ["x": .text, "x": .text])?.kind == .invalidArgument)
    #expect(failure("", ["x": .array(.f32(-1))])?.kind == .invalidArgument)
    let rows = try JSONLines.parse(Self.bytes("{\"x\":1}"), columns: ["x": .array(.i32())])
    #expect(error { _ = try rows.texts("x") }?.kind == .missing)
    #expect(error { _ = try rows.array("y") }?.expected == "one of x")
  }

  @Test func aLimitIsKept() throws {
    let lines = Self.bytes((0..<1000).map { _ in "{\"x\":[1,2,3,4]}" }.joined(separator: "\n"))
    func read(_ column: JSONLines.Column, _ limit: Int) throws {
      _ = try JSONLines.parse(lines, columns: ["x": column], limit: limit)
    }
    try read(.array(.f32(4)), 32_000)
    #expect(error { try read(.array(.f32(4)), 31_999) }?.kind == .resource)
    #expect(error { try read(.list(.f32), 100_000) }?.kind == .resource)
    #expect(error { try read(.list(.f32), -1) }?.kind == .invalidArgument)
    let long = Self.bytes("{\"x\":\"" + String(repeating: "y", count: 1 << 24) + "\"}")
    #expect(error { _ = try JSONLines.parse(long, columns: ["x": .text]) }?.kind == .resource)
  }
}
