// Comma-separated values: quotes, headers, missing numbers, and what is refused.

import ApusGraph
import Foundation
import TestSupport
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
      "0.1", "3.4028234e38", "1e-45", "123456789012345678.0", "0.30000000000000004", "-0", "1e10",
      "7.038531e-26", "16777217.0", "0.000000000000000000001", "5e-324", "inf", "-inf",
      "0.83888378739357", "2.88676652312279", "3.42330804467201", "1.60561864078045",
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

  /// The middle between two floats, and a little more and less, in so many digits that a double takes both
  /// for the middle: what rounds twice gets half of them wrong.
  @Test func numbersBesideTheMiddleOfTwoFloatsAreRoundedOnce() throws {
    var random = SplitMix64(state: 24)
    for _ in 0..<2000 {
      let exponent = Int.random(in: -20...20, using: &random)
      let low =
        Float.random(in: 1..<2, using: &random)
        * Float(sign: .plus, exponent: exponent, significand: 1)
      let middle = (Double(low) + Double(low.nextUp)) / 2
      // Every double is a decimal fraction with an end.
      let text = String(format: "%.80f", middle)
      let even = low.bitPattern & 1 == 0 ? low : low.nextUp
      let less = text.replacing(/([1-9])(0*)$/) { "\(Int($0.1)! - 1)\($0.2)9" }
      let table = try parse("\(text)\n\(text)1\n\(less)\n-\(text)1", header: .absent)
      #expect(table.values.floats == [even, low.nextUp, low, -low.nextUp], "\(text)")
    }
  }

  @Test func numbersOfAllLengthsAreThoseOfTheSystemsConversion() throws {
    var random = SplitMix64(state: 25)
    var texts: [String] = []
    for _ in 0..<20000 {
      let digits = (0..<Int.random(in: 1...22, using: &random)).map { _ in
        "\(Int.random(in: 0...9, using: &random))"
      }
      let point = Int.random(in: 0...digits.count, using: &random)
      let text = digits[..<point].joined() + "." + digits[point...].joined()
      texts.append(text + ["", "e-5", "e3", "E+10", "e-30"].randomElement(using: &random)!)
    }
    let column = texts.joined(separator: "\n")
    let floats = try parse(column, header: .absent).values.floats
    let doubles = try CSV.parse(Array(column.utf8), header: .absent, type: .f64).values.doubles
    #expect(texts.indices.filter { floats[$0] != Float(texts[$0])! }.map { texts[$0] } == [])
    #expect(texts.indices.filter { doubles[$0] != Double(texts[$0])! }.map { texts[$0] } == [])
  }

  @Test(arguments: [
    ("1,0x10", "'0x10' is not a number"), ("1,0x1p3", "'0x1p3' is not a number"),
    ("1,nan(0x1)", "is not a number"), ("1,1e400", "larger than any number of f32"),
    ("1,-1e39", "larger than any number of f32"), ("1,1e", "is not a number"),
    ("1,++1", "is not a number"), ("1,.", "is not a number"), ("1,1_000", "is not a number"),
    ("1,16777217", "whole number that f32 does not hold exactly"),
    ("1,100000000000000000000", "whole number that f32 does not hold exactly"),
    ("1,1 2", "is not a number"), ("1,infinit", "is not a number"), ("1,-", "is not a number"),
    ("1,3.4028236e38", "larger than any number of f32"),
  ])
  func whatIsNoNumberOfTheTypeIsRefused(text: String, what: String) {
    for header in [CSV.Header.absent, .present] {
      let failure = error { _ = try parse("0,9\n\(text)\n", header: header) }
      #expect(failure?.kind == .invalidFile)
      #expect(failure?.what.contains(what) == true, "\(failure?.what ?? "")")
      #expect(failure?.location == "t.csv, line 2, column 2, byte 6")
    }
    // As a first line too, where it is no header.
    #expect(error { _ = try parse(text) }?.kind == .invalidFile)
  }

  @Test func largeWholeNumbersAreKeptExactlyWhereAsked() throws {
    let text = Array("id,n\n16777217,9223372036854775807\n-3,-9223372036854775808\n".utf8)
    let integers = try CSV.parse(text, type: .i64)
    #expect(integers.values.type == .i64(2, 2))
    #expect(integers.values.integers == [16_777_217, .max, -3, .min])
    #expect(try integers.column("id").integers == [16_777_217, -3])
    let failure = error { _ = try CSV.parse(text, type: .f64) }
    #expect(failure?.what.contains("'9223372036854775807' is a whole number that f64") == true)
    #expect(
      try CSV.parse(Array("16777217\n0.1\n".utf8), type: .f64).values.doubles == [16_777_217, 0.1])
    #expect(
      error { _ = try CSV.parse(Array("1.5".utf8), type: .i64) }?.what.contains("not a whole")
        == true)
    #expect(try parse("33554432,-16777216").values.floats == [33_554_432, -16_777_216])
    #expect(try CSV.parse(Array("1,".utf8), missing: -1, type: .i64).values.integers == [1, -1])
    for missing: Float in [.nan, 0.5] {
      let failure = error { _ = try CSV.parse(text, missing: missing, type: .i64) }
      #expect(failure?.kind == .invalidArgument)
    }
    #expect(error { _ = try CSV.parse(text, type: .u8) }?.kind == .invalidArgument)
  }

  @Test func aFirstLineOfNamesAndNumbersIsAnErrorThatSaysWhatToPass() throws {
    for text in ["1,2x\n3,4\n", "1,\n3,x\n", "x,0x10\n3,4", "x,1e400\n3,4"] {
      let failure = error { _ = try parse(text) }
      #expect(failure?.kind == .invalidFile)
    }
    let failure = error { _ = try parse("1,2x\n3,4\n") }
    #expect(failure?.location == "t.csv, line 1, column 2, byte 0")
    #expect(failure?.what == "the first line has both a number, '1', and '2x'")
    #expect(failure?.expected?.contains("'header: .present'") == true)
    #expect(try parse("1,2x\n3,4\n", header: .present).names == ["1", "2x"])
    // Empty fields are neither: a name may be missing, and a number.
    #expect(try parse(",b\n3,4\n").names == ["", "b"])
    #expect(error { _ = try parse(",b\n3,4\n").column("") }?.kind == .missing)
    #expect(try parse("1,\n3,4\n", missing: 0).values.shape == [2, 2])
    #expect(try parse(",\n3,4\n", missing: 0).values.shape == [2, 2])
    // Numbers alone are data, also where they are years.
    #expect(try parse("2019,2020\n1,2\n").values.shape == [2, 2])
    #expect(try parse("2019,2020\n1,2\n", header: .present).names == ["2019", "2020"])
  }

  @Test func quotesWithinQuotesAreDoubled() throws {
    let table = try parse("\"a \"\"b\"\"\",\"\"\"\",\"c,d\"\n1,\"2\",3\n")
    #expect(table.names == ["a \"b\"", "\"", "c,d"])
    #expect(table.values.floats == [1, 2, 3])
    #expect(error { _ = try parse("a,b\n1,\"2\"\"\"\n") }?.what.contains("is not a number") == true)
  }

  @Test func linesAreCountedWithinQuotesToo() {
    let failure = error { _ = try parse("\"a\nb\",\"c\r\nd\"\n1,2\n3,x\n") }
    #expect(failure?.location == "t.csv, line 5, column 2, byte 19")
    #expect(error { _ = try parse("a,\"b\n\n1,2") }?.location == "t.csv, line 1, column 2, byte 2")
  }

  @Test func emptyLinesOfOneColumnAreMissingNumbers() throws {
    let table = try parse("v\n1\n\n3\n", missing: -1)
    #expect(table.values == NDArray([1, -1, 3], shape: [3, 1]))
    #expect(try parse("1\n\n\n", missing: -1).values.floats == [1, -1, -1])
    #expect(try parse("\n\n1\r\n\r\n2", missing: -1).values.floats == [-1, -1, 1, -1, 2])
    #expect(try parse("\nv\n1\n").values.floats == [1])
    #expect(error { _ = try parse("v\n1\n\n3\n") }?.location == "t.csv, line 3, column 1, byte 4")
    #expect(error { _ = try parse("\n\n3\n") }?.what.contains("the line is empty") == true)
    // Where there are more columns, an empty line has no fields.
    #expect(try parse("\na,b\n\n1,2\n\n").values.floats == [1, 2])
  }

  @Test func twoColumnsOfOneNameAreAnError() throws {
    let failure = error { _ = try parse("a,b,a\n1,2,3\n") }
    #expect(failure?.what == "a second column is named 'a'")
    #expect(failure?.location == "t.csv, line 1, column 3, byte 4")
    // Other bytes are another name.
    let table = try parse("\u{e9},e\u{301},,\n1,2,3,4\n")
    #expect(try table.column("e\u{301}").floats == [2])
    #expect(try table.column("\u{e9}").floats == [1])
  }

  @Test func textThatIsNotUTF8IsRefusedByName() {
    let sixteen: [[UInt8]] = [
      [0xff, 0xfe, 0x61, 0], [0xfe, 0xff, 0, 0x61], [0x61, 0, 0x0a, 0], [0, 0x61, 0, 0x0a],
      [0xff, 0xfe, 0, 0, 0x61, 0, 0, 0],
    ]
    for bytes in sixteen {
      let failure = error { _ = try CSV.parse(bytes) }
      #expect(failure?.kind == .unsupported && failure?.what.contains("UTF-16") == true)
    }
    let latin = Array("Gr".utf8) + [0xf6, 0xdf, 0x65, 0x0a, 0x31]
    #expect(error { _ = try CSV.parse(latin) }?.what.contains("not UTF-8") == true)
  }

  @Test func aCompressedTableHasALimit() throws {
    let text = ZipBuilder.deflated(Array("a,b\n1,2\n".utf8))
    #expect(try CSV.parse(text, limit: 8).values.floats == [1, 2])
    let failure = error { _ = try CSV.parse(text, path: "t.csv.gz", limit: 7) }
    #expect(failure?.kind == .resource && failure?.location == "t.csv.gz")
  }

  @Test func mutatedFilesAreReadOrRefused() {
    let files = ["a,b,c\n1,2.5,-3e2\n4,5,6\n", "1,\"2\"\r\n3,4\r\n"].map { Array($0.utf8) }
    let refused = fuzz(files, rounds: 6000, seed: 6) { _ = try CSV.parse($0) }
    #expect(refused > 1000)
  }
}
