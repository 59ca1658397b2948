// Time series of unequal lengths, read from `.ts` files and padded.

import ApusGraph
import Foundation
import Testing

@testable import ApusData

@Suite struct LabeledSeriesTests {
  private let text = """
    # speakers
    @problemName Two
    @timeStamps false
    @univariate false
    @dimensions 2
    @equalLength false
    @classLabel true ann bob
    @data
    1.5,2,-2.5e0:0,0,1:bob
    7:8:ann

    """

  private func parse(_ text: String) throws -> LabeledSeries {
    try LabeledSeries(parsing: Array(text.utf8), path: "two.ts")
  }

  @Test func seriesAreRead_withTheirLengthsAndClasses() throws {
    for text in [text, text.replacing("\n", with: "\r\n"), String(text.dropLast())] {
      let series = try parse(text)
      #expect(series.channels == 2 && series.count == 2 && series.longest == 3)
      #expect(series.classNames == ["ann", "bob"] && series.labels == [1, 0])
      #expect(series.series[0].type == .f32(3, 2) && series.series[1].type == .f32(1, 2))
      #expect(series.series[0].floats == [1.5, 0, 2, 0, -2.5, 1])
      #expect(series.series[1].floats == [7, 8])
      #expect(series.steps.floats == [1.5, 0, 2, 0, -2.5, 1, 7, 8])
    }
  }

  @Test func shortSeries_haveZerosBehindThem() throws {
    let series = try parse(text)
    let batch = try #require(
      try series.padded(to: 4).batched(2, shuffle: nil).makeIterator(epoch: 0).next())
    #expect(batch.series!.type == .f32(2, 4, 2))
    #expect(try batch.series![1].floats == [7, 8, 0, 0, 0, 0, 0, 0])
    #expect(batch.lengths!.integers == [3, 1] && batch.labels!.integers == [1, 0])
    let failure = error { _ = try series.padded(to: 2) }
    #expect(failure?.kind == .invalidArgument && failure?.what.contains("series 0") == true)
    let doubled = try series.map {
      try NDArray(checking: $0.floats.map { 2 * $0 }, shape: $0.shape)
    }
    #expect(doubled.series[1].floats == [14, 16] && doubled.labels == series.labels)
  }

  @Test func aFileOfNoSeries_isRead() throws {
    let series = try parse("@dimensions 3\n@classLabel true a\n@data\n")
    #expect(series.count == 0 && series.longest == 0 && series.steps.shape == [0, 3])
    #expect(try series.padded(to: 5).count == 0)
  }

  @Test(arguments: [
    ("1,2:3,4:ann", "1,2:3,4,5:ann", "line 10", "channel 1 has 3 steps"),
    ("", "1,2:ann", "line 10", "has 1 channels"),
    ("", "1:2:carl", "line 10", "'carl' is unknown"),
    ("", "1:two:ann", "line 10", "step 0 of channel 1 is 'two'"),
    ("", "1,?:2,3:ann", "line 10", "step 1 of channel 0 is '?'"),
    ("", "1,:2,3:ann", "line 10", "is ''"),
    ("", "nan:2:ann", "line 10", "is 'nan'"),
    ("", "1e99:2:ann", "line 10", "is '1e99'"),
    ("@dimensions 2", "@dimensions none", "line 5", "the dimensions are"),
    ("@classLabel true ann bob", "@classLabel true ann ann", "line 7", "the classes are"),
    ("@classLabel true ann bob", "@classLabel false", "line 7", "the classes are"),
    ("@classLabel true ann bob", "@other", "line 8", "no classes"),
    ("@data", "# none", "line 9", "before '@data'"),
    ("@timeStamps false", "@timeStamps true", "line 3", "time stamps"),
    ("@timeStamps false", "@missing true", "line 3", "missing values"),
    ("@timeStamps false", "@targetLabel true", "line 3", "targets are numbers"),
  ])
  func damage_isToldWithItsLine(old: String, new: String, place: String, words: String) {
    let text =
      text.contains(old) && !old.isEmpty
      ? text.replacing(old, with: new) : text.replacing("7:8:ann", with: new)
    let failure = error { _ = try parse(text) }
    #expect(failure?.location == "two.ts, \(place)")
    #expect(failure?.what.contains(words) == true, "\(failure?.what ?? "")")
    #expect(failure?.kind == .invalidFile || failure?.kind == .unsupported)
  }

  @Test func aFileWithoutData_andOneThatIsNotThere_areErrors() {
    #expect(error { _ = try parse("@dimensions 2\n") }?.kind == .invalidFile)
    #expect(error { _ = try parse("") }?.kind == .invalidFile)
    #expect(error { _ = try LabeledSeries(contentsOf: "/nowhere.ts") }?.kind == .io)
  }

  @Test func damagedFiles_areReadOrRefused() throws {
    let refused = fuzz([Array(text.utf8)], rounds: 2000, seed: 4) { bytes in
      _ = try LabeledSeries(parsing: bytes).padded(to: 64)
    }
    #expect(refused > 500)
  }

  @Test func partsThatDoNotFit_areRefused() {
    let one = NDArray(zeros: .f32(3, 2))
    func kind(_ series: [NDArray], _ labels: [Int], _ channels: Int = 2) -> ApusError.Kind? {
      error {
        _ = try LabeledSeries(
          series: series, labels: labels, channels: channels, classNames: ["a", "b"])
      }?.kind
    }
    #expect(kind([one], [0], 0) == .invalidArgument)
    #expect(kind([one], []) == .shapeMismatch)
    #expect(kind([one], [0], 3) == .shapeMismatch)
    #expect(kind([NDArray(zeros: .i32(3, 2))], [0]) == .shapeMismatch)
    #expect(kind([one], [2]) == .outOfRange)
  }
}
