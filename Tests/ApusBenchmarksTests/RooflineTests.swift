// The roofline: well-formed, the same for the same results, everything in its place.

import Apus
import Foundation
import Testing

#if canImport(FoundationXML)
  import FoundationXML
#endif

@testable import ApusBenchmarks

@Suite struct RooflineTests {
  /// A made machine and made points.
  static func outcome(_ points: [RooflinePoint]) -> BenchmarkOutcome {
    let peaks = MachinePeaks(
      processor: "Some <processor> & \"more\"", threads: 2, isa: .avx2, gigaflops: 236,
      bf16Gigaflops: 470,
      copies: [
        .init(level: "L1", bytes: 10_000, gigabytesPerSecond: 469),
        .init(level: "L2", bytes: 300_000, gigabytesPerSecond: 216),
        .init(level: "L3", bytes: 5_000_000, gigabytesPerSecond: 105),
        .init(level: "memory", bytes: 64_000_000, gigabytesPerSecond: 100),
      ])
    return BenchmarkOutcome(peaks: peaks, lines: [], points: points, precision: .highest)
  }

  static func point(_ label: String, _ intensity: Double, _ gigaflops: Double) -> RooflinePoint {
    RooflinePoint(
      label: label, group: String(label.prefix { $0 != " " }), intensity: intensity,
      gigaflops: gigaflops, roof: Roof(name: "FMA", gigaflops: 236))
  }

  /// What an XML parser sees.
  private final class Reader: NSObject, XMLParserDelegate {
    var texts: [String] = []
    var circles: [(x: Double, y: Double)] = []
    var elements = 0
    private var text = ""

    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
      qualifiedName: String?, attributes: [String: String]
    ) {
      elements += 1
      text = ""
      if name == "circle", let x = attributes["cx"].flatMap(Double.init),
        let y = attributes["cy"].flatMap(Double.init)
      {
        circles.append((x, y))
      }
    }

    func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }

    func parser(
      _ parser: XMLParser, didEndElement name: String, namespaceURI: String?,
      qualifiedName: String?
    ) {
      if name == "text" || name == "title" { texts.append(text) }
    }
  }

  private func read(_ svg: String) throws -> Reader {
    let reader = Reader()
    let parser = XMLParser(data: Data(svg.utf8))
    parser.delegate = reader
    try #require(parser.parse(), "\(String(describing: parser.parserError))")
    return reader
  }

  private let many = (0..<40).map { index in
    RooflineTests.point(
      "case<\(index)> \(1 << index % 7)", 0.125 * Double(1 << index % 3), 3 + Double(index))
  }

  @Test func everyCaseAndRoof_isInThePicture() throws {
    let picture = try read(Roofline(Self.outcome(many), title: "a & b").svg)
    #expect(picture.circles.count == many.count)
    for point in many {
      #expect(picture.texts.contains(point.label))
      #expect(picture.texts.contains { $0.hasPrefix("\(point.label): ") })
    }
    for label in ["FMA 236 GFLOPS", "L1 469 GB/s", "L2 216 GB/s", "L3 105 GB/s", "memory 100 GB/s"]
    {
      #expect(picture.texts.contains(label))
    }
    #expect(picture.texts.contains("a & b, highest"))
    #expect(picture.texts.contains { $0.hasPrefix("Some <processor> & \"more\", 2 threads, avx2") })
  }

  @Test func samePoints_giveTheSamePicture() {
    let first = Roofline(Self.outcome(many), title: "t").svg
    #expect(first == Roofline(Self.outcome(many), title: "t").svg)
    #expect(first != Roofline(Self.outcome(many.dropLast()), title: "t").svg)
  }

  @Test func points_standWhereTheirFiguresAre() throws {
    let points = [Self.point("a", 1, 64), Self.point("b", 2, 128), Self.point("c", 4, 256)]
    let circles = try read(Roofline(Self.outcome(points), title: "t").svg).circles
    // A doubling is one length, on either axis, wherever it starts.
    #expect(abs((circles[1].x - circles[0].x) - (circles[2].x - circles[1].x)) < 0.1)
    #expect(abs((circles[1].y - circles[0].y) - (circles[2].y - circles[1].y)) < 0.1)
    #expect(circles[1].x > circles[0].x && circles[1].y < circles[0].y)
  }

  @Test func numbers_doNotCoverEachOther() {
    let frame = PlotFrame(intensities: [0.1, 10], speeds: [1, 100])
    let places = (0..<30).map { _ in frame.place(1, 10) } + [frame.place(0.1, 1)]
    let labels = LabelPlacer(points: places, frame: frame).place(
      widths: [Double](repeating: 14, count: places.count))
    for (index, label) in labels.enumerated() {
      #expect(label.center.x > frame.left && label.center.x < frame.right)
      #expect(label.center.y > frame.top && label.center.y < frame.bottom)
      for other in labels[..<index] {
        #expect(
          abs(label.center.x - other.center.x) >= 14 || abs(label.center.y - other.center.y) >= 12)
      }
    }
  }

  @Test func noPoints_areAPictureOfTheMachine() throws {
    let picture = try read(Roofline(Self.outcome([]), title: "t").svg)
    #expect(picture.circles.isEmpty && picture.texts.contains("FMA 236 GFLOPS"))
  }

  @Test(arguments: [
    // Operations a byte, bytes in all, the roof's name and height.
    (100.0, 1000.0, "FMA", 236.0), (0.1, 1000, "L1", 46.9), (0.1, 1e6, "L2", 21.6),
    (0.1, 1e7, "L3", 10.5), (0.1, 1e9, "memory", 10),
  ])
  func roof_isTheLowerOne(intensity: Double, bytes: Double, name: String, gigaflops: Double) {
    let roof = Roof(
      Self.outcome([]).peaks, precision: .highest, flops: intensity * bytes, bytes: bytes)
    #expect(roof.name == name && abs(roof.gigaflops - gigaflops) < 1e-9)
  }

  @Test(arguments: [(nil, 10.0), (120, 10), (80, 8)])
  func roofOfAReduction_isReading_whereThatIsSlower(reads: Double?, gigaflops: Double) {
    var peaks = Self.outcome([]).peaks
    peaks.copies[3].readGigabytesPerSecond = reads
    let roof = Roof(peaks, precision: .highest, flops: 1e8, bytes: 1e9, reads: true)
    #expect(roof.name == "memory" && abs(roof.gigaflops - gigaflops) < 1e-9)
    let other = Roof(peaks, precision: .highest, flops: 1e8, bytes: 1e9)
    #expect(abs(other.gigaflops - 10) < 1e-9)
  }
}
