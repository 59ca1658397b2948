// Comma-separated values: quotes, headers, missing numbers, and what is refused.

import ApusGraph
import Testing

@testable import ApusData

@Suite struct CSVTests {
  private func parse(
    _ text: String, separator: Character = ",", header: CSV.Header = .detected,
    missing: Float? = nil
  ) throws -> CSV {
    try CSV.parse(
      Array(text.utf8), path: "t.csv", separator: separator, header: header, missing: missing)
  }

  @Test func aTableWithAHeaderIsRead() throws {
    let table = try parse("a,b,c\n1,2.5,-3e2\n4,5,6\n")
    #expect(table.names == ["a", "b", "c"])
    #expect(table.values == NDArray([1, 2.5, -300, 4, 5, 6], shape: [2, 3]))
    #expect(try table.column("b") == NDArray([2.5, 5], shape: [2]))
    #expect(try table.columns(1..<3) == NDArray([2.5, -300, 5, 6], shape: [2, 2]))
    #expect(error { _ = try table.column("d") }?.expected == "one of a, b, c")
    #expect(error { _ = try table.columns(2..<4) }?.kind == .invalidArgument)
  }

  @Test(arguments: [
    "1,2\n3,4", "1,2\n3,4\n", "1,2\r\n3,4\r\n", "\u{feff}1,2\n3,4\n\n", " 1 , 2\n\"3\",\"4\" \n",
    "+1,2.0\n3.,.4e1\n",
  ])
  func layoutsThatMeanTheSameAreReadTheSame(text: String) throws {
    let table = try parse(text)
    #expect(table.names == nil)
    #expect(table.values == NDArray([1, 2, 3, 4], shape: [2, 2]))
  }

  @Test func numbersAreReadToTheNearestFloat() throws {
    let texts = [
      "0.1", "3.4028234e38", "1e-45", "123456789012345678", "0.30000000000000004", "-0", "1e10",
      "7.038531e-26", "16777217", "0.000000000000000000001", "5e-324", "inf", "-inf",
    ]
    let table = try parse(texts.joined(separator: ","), header: .absent)
    for (text, value) in zip(texts, table.values.floats) {
      #expect(value.bitPattern == Float(text)!.bitPattern, "\(text)")
    }
  }

  @Test func otherSeparatorsAndGapsAreReadWhereAsked() throws {
    #expect(try parse("1;2\n3;4", separator: ";").values.floats == [1, 2, 3, 4])
    #expect(try parse("1\t2\n3\t4", separator: "\t").values.floats == [1, 2, 3, 4])
    #expect(try parse("1,\n,4", missing: -1).values.floats == [1, -1, -1, 4])
    #expect(error { _ = try parse("1,2", separator: "é") }?.kind == .invalidArgument)
  }

  @Test(arguments: [
    ("1,2\n3,x\n", "line 2, column 2, byte 6", "'x' is not a number"),
    ("1,2\n3\n", "line 2, column 2, byte 4", "1 fields"),
    ("1,2\n3,4,5\n", "line 2, column 3, byte 4", "3 fields"),
    ("1,2\n\n3,\n", "line 3, column 2, byte 7", "empty"),
    ("1,\"2\n3,4\n", "line 1, column 2, byte 2", "not closed"),
    ("1,\"2\"3\n", "line 1, column 2, byte 5", "follows a quoted field"),
  ])
  func mistakesAreNamedWithTheirPlace(text: String, location: String, what: String) {
    let failure = error { _ = try parse(text, header: .absent) }
    #expect(failure?.kind == .invalidFile)
    #expect(failure?.location == "t.csv, \(location)")
    #expect(failure?.what.contains(what) == true)
  }

  @Test func anEmptyFileIsAnEmptyTable() throws {
    #expect(try parse("").values.type == .f32(0, 0))
    #expect(try parse("a,b\n").values.type == .f32(0, 2))
    #expect(try parse("a,b\n", header: .present).names == ["a", "b"])
  }

  @Test func mutatedFilesAreReadOrRefused() {
    let files = ["a,b,c\n1,2.5,-3e2\n4,5,6\n", "1,\"2\"\r\n3,4\r\n"].map { Array($0.utf8) }
    let refused = fuzz(files, rounds: 6000, seed: 6) { _ = try CSV.parse($0) }
    #expect(refused > 1000)
  }
}
