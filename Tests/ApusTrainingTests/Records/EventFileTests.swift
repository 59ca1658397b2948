// TensorBoard's event files: framing to the byte, and what TensorBoard's own reader finds in them.

import Apus
import Foundation
import TestSupport
import Testing

@testable import ApusTraining

/// The Python with the package `tensorboard`, which `make test` installs; nil where that could not be.
private let python = ProcessInfo.processInfo.environment["APUS_RECORDS_PYTHON"].flatMap {
  $0.isEmpty ? nil : $0
}

@Suite struct EventFileTests {
  @Test func checksumsAreThoseOfTheStandard() {
    // RFC 3720, B.4, and the usual check.
    #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xe306_9283)
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(CRC32C.checksum([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
    #expect(CRC32C.checksum(Array(UInt8(0)...31)) == 0x46dd_794e)
    #expect(CRC32C.masked(Array("123456789".utf8)) == 0xc78a_b0e5)
  }

  @Test func messagesAreInTheWireFormat() {
    var message = ProtocolBuffer()
    message.integer(1, 150)
    message.string(2, "testing")
    message.message(3) { $0.integer(1, 150) }
    message.integer(4, -1)
    message.doubles(16, [1])
    message.float(5, 1)
    // The protocol's documentation has the first three.
    #expect(
      message.bytes
        == [0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]
        + [0x1a, 0x03, 0x08, 0x96, 0x01] + [0x20] + [UInt8](repeating: 0xff, count: 9) + [0x01]
        + [0x82, 0x01, 0x08, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f] + [0x2d, 0, 0, 0x80, 0x3f])
  }

  /// The messages of a file, read by the format's rules; nothing after the first that is cut or wrong.
  private func messages(_ path: String) throws -> [[UInt8]] {
    let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
    var result: [[UInt8]] = [], place = 0
    func number(_ start: Int, _ count: Int) -> UInt64 {
      (0..<count).reduce(0) { $0 | UInt64(bytes[start + $1]) << (8 * UInt64($1)) }
    }
    while place + 12 <= bytes.count {
      let length = Int(number(place, 8))
      #expect(UInt32(number(place + 8, 4)) == CRC32C.masked(bytes[place..<place + 8]))
      guard place + 16 + length <= bytes.count else { break }
      let body = Array(bytes[place + 12..<place + 12 + length])
      #expect(UInt32(number(place + 12 + length, 4)) == CRC32C.masked(body))
      result.append(body)
      place += 16 + length
    }
    return result
  }

  private func files(_ folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).filter {
      $0.hasPrefix("events.out.tfevents.")
    }.sorted().map { "\(folder)/\($0)" }
  }

  @Test func aFileIsAChainOfRecords_andAResumedRunGetsANewOne() throws {
    let folder = try TrainerTests.folder().path
    let writer = TensorBoardWriter(folder)
    #expect(throws: ApusError.self) { try writer.write([RunRecord("x", step: 1, .scalar(1))]) }
    try writer.begin(at: 0, time: 1_764_500_000)
    try writer.write([RunRecord("x", step: 1, .scalar(1)), RunRecord("x", step: 2, .scalar(.nan))])
    let first = try #require(try files(folder).first)
    #expect(try messages(first).count == 4)
    let version = try messages(first)[0]
    #expect(version.suffix(13) == ArraySlice(Array("brain.Event:2".utf8)))
    // Another process would begin so.
    try TensorBoardWriter(folder).begin(at: 1, time: 1_764_500_009)
    #expect(try files(folder).count == 2)
    #expect(try messages(first).count == 4)
  }

  @Test func aRecordThatCannotBeWrittenLeavesNoHalf() throws {
    let path = try TrainerTests.folder().appendingPathComponent("f").path
    let file = try AppendedFile(path, isNew: true)
    try file.append(Array("whole\n".utf8))
    #expect(throws: ApusError.self) { _ = try AppendedFile(path, isNew: true) }
    #expect(file.lastByte == UInt8(ascii: "\n"))
    let full = try AppendedFile("/dev/full", isNew: false)
    let error = #expect(throws: ApusError.self) { try full.append([1]) }
    #expect(error?.kind == .io && "\(error!)".contains("No space left"))
    let more = try AppendedFile(path, isNew: false)
    try more.append(Array("more\n".utf8))
    // Two that add in turns do not write over each other.
    try file.append(Array("again\n".utf8))
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "whole\nmore\nagain\n")
  }

  @Test func histogramsCountWhatIsFinite() {
    let values: [Float] = [-1, 0, 0.5, 1, 3, .nan, .infinity]
    let histogram = RecordHistogram(NDArray(values, shape: [7]), intervals: 4)
    #expect(histogram.counts == [1, 2, 1, 1] && histogram.edges == [-1, 0, 1, 2, 3])
    #expect(histogram.count == 5 && histogram.nonFinite == 2 && histogram.sum == 3.5)
    #expect(histogram.sumOfSquares == 11.25)
    let equal = RecordHistogram(NDArray([2, 2], shape: [2]))
    #expect(equal.counts == [2] && equal.edges == [2, 2])
    let none = RecordHistogram(NDArray([Float.nan], shape: [1]))
    #expect(none.counts.isEmpty && none.edges.isEmpty && none.nonFinite == 1)
    let wide = RecordHistogram(
      NDArray([-Float.greatestFiniteMagnitude, .greatestFiniteMagnitude], shape: [2]), intervals: 2)
    #expect(wide.counts == [1, 1] && wide.edges[1] == 0)
    #expect(RecordHistogram(NDArray([1, 2], shape: [2]), intervals: .min).counts == [2])
    #expect(RecordHistogram(NDArray([1, 2], shape: [2]), intervals: .max).counts.count == 1000)
  }

  @Test(
    .enabled(
      if: python != nil,
      "skipped: APUS_RECORDS_PYTHON names no Python with tensorboard (.ci/python installs one)"))
  func tensorBoardsOwnReaderFindsAllOfIt() throws {
    let folder = try TrainerTests.folder().path
    let settings: [String: Hyperparameter] = ["rate": 0.02, "nesterov": true, "data": "rings"]
    let recorder = try RunRecorder(
      folder, every: 1, histogramsEvery: 2, hyperparameters: settings)
    let data = try RingClassifier.data(48).batched(16, shuffle: 1)
    let trainer = try Trainer(
      RingClassifier(), optimizer: Adam(learningRate: 0.02), seed: 7,
      options: StepOptions(groups: ["*.bias": SGD(learningRate: 0.5)], reportsGradientNorm: true),
      loss: RingClassifier.loss)
    let history = try trainer.fit(data, validation: data, epochs: 2, callbacks: [recorder])
    let picture = try Picture(NDArray([UInt8](0..<12), shape: [3, 4]))
    try recorder.image("samples", picture, at: 6)
    try recorder.text("note", "**bold** ünï", at: 6)
    try recorder.scalar("odd", .infinity, at: 6)
    recorder.settle()

    let (status, output, errors) = try ChildProgram.run(
      try #require(python), [Self.script("tensorboard_events.py"), folder])
    try #require(status == 0, "\(errors)")
    let read = try JSON(parsing: output)
    let scalars = try #require(read["scalars"])
    func points(_ tag: String) -> [(Int, Double)] {
      (scalars[tag]?.elements ?? []).map {
        ($0.elements![0].integer!, $0.elements![1].double ?? .nan)
      }
    }
    #expect(points("loss/step").map(\.0) == Array(1...6))
    for (point, epoch) in zip(points("loss/validation"), history) {
      #expect(point.1 == Double(Float(epoch.validation!.loss)))
    }
    #expect(points("accuracy/validation").map(\.0) == [3, 6])
    #expect(points("learning_rate").allSatisfy { $0.1 == Double(Float(0.02)) })
    #expect(points("learning_rate/*.bias").map(\.1) == [Double](repeating: 0.5, count: 6))
    #expect(points("gradient_norm").count == 6 && points("gradient_norm").allSatisfy { $0.1 > 0 })
    #expect(scalars["odd"]?.elements?.first?.elements?[1] == "inf")

    let weight = try trainer.model.hidden.weight.value()
    let histogram = try #require(
      read["histograms"]?["parameters/hidden.weight"]?.elements?.first)
    let wanted = RecordHistogram(weight)
    #expect(histogram["num"]?.double == 32 && histogram["step"]?.integer == 6)
    #expect(histogram["min"]?.double == wanted.least && histogram["max"]?.double == wanted.greatest)
    #expect(histogram["sum"]?.double == wanted.sum)
    #expect(histogram["bucket"]?.elements?.compactMap(\.double).reduce(0, +) == 32)
    #expect(histogram["bucket_limit"]?.elements?.count == 31)

    let image = try #require(read["images"]?["samples"]?.elements?.first)
    #expect(image["width"] == 4 && image["height"] == 3 && image["png"] == "89504e470d0a1a0a")
    #expect(read["texts"]?["note/text_summary"]?.elements?.first?.elements?[1] == "**bold** ünï")

    let nodes = try #require(read["graph"]?.elements)
    let names = Set(nodes.compactMap { $0["name"]?.string })
    #expect(names.count == nodes.count)
    #expect(names.contains("hidden/weight") && names.contains("inputs/points"))
    #expect(names.contains { $0.hasPrefix("hidden/") && !$0.hasSuffix("weight") })
    for node in nodes {
      for input in node["inputs"]?.elements ?? [] {
        let source = input.string!.split(separator: ":")[0]
        #expect(names.contains(String(source)), "\(node["name"]!) reads \(source)")
      }
    }
    let hidden = try #require(nodes.first { $0["name"] == "hidden/weight" })
    #expect(hidden["shapes"] == [[16, 2]] && hidden["op"] == "Variable")

    let hparams = try #require(read["hparams"])
    #expect(hparams["values"]?["rate"]?.double == 0.02)
    #expect(hparams["values"]?["nesterov"] == true && hparams["values"]?["data"] == "rings")
    #expect(hparams["metrics"] == ["loss/validation", "accuracy/validation"])
    #expect(hparams["infos"]?["rate"] == 3 && hparams["status"] == 1)
    #expect(read["files"]?.elements?.count == 1)
  }

  @Test(
    .enabled(
      if: python != nil,
      "skipped: APUS_RECORDS_PYTHON names no Python with tensorboard (.ci/python installs one)"))
  func tensorBoardReadsACutFile_andAResumedRunAsOne() throws {
    let folder = try TrainerTests.folder().path
    let writer = TensorBoardWriter(folder)
    try writer.begin(at: 0, time: 1_764_500_000)
    for step in 1...8 {
      try writer.write([
        RunRecord("x", step: step, time: 1_764_500_000 + Double(step), .scalar(Double(step)))
      ])
    }
    let first = try #require(try files(folder).first)
    // As a process that is killed may leave it.
    try Data(contentsOf: URL(filePath: first)).dropLast(7).write(to: URL(filePath: first))
    let resumed = TensorBoardWriter(folder)
    try resumed.begin(at: 5, time: 1_764_500_100)
    for step in 6...9 {
      try resumed.write([
        RunRecord("x", step: step, time: 1_764_500_100 + Double(step), .scalar(Double(10 * step)))
      ])
    }
    let (status, output, errors) = try ChildProgram.run(
      try #require(python), [Self.script("tensorboard_events.py"), folder])
    try #require(status == 0, "\(errors)")
    let read = try JSON(parsing: output)
    #expect(
      read["scalars"]?["x"]?.elements?.map { $0.elements![1].double }
        == [1, 2, 3, 4, 5, 60, 70, 80, 90])
    #expect(read["files"]?.elements?.map { $0["version"] } == ["brain.Event:2", "brain.Event:2"])
  }

  private static func script(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "reference/\(name)").path
  }
}
