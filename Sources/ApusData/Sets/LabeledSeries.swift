// Time series with a class each, and the `.ts` files that they come in.
//
//     # comments
//     @dimensions 2
//     @classLabel true a b
//     @data
//     1.5,2,2.5:0,0,1:a
//
// Channels stand one after the other with ':' between them, the class at the end; series may differ in length. The
// format is that of the UEA archive and of aeon (https://www.aeon-toolkit.org/en/stable/api_reference/file_specifications/ts.html).

import ApusGraph

/// Time series of some channels with a class each; series may differ in length.
///
///     let train = try LabeledSeries(contentsOf: "JapaneseVowels_TRAIN.ts")
///     let (_, scale) = try train.steps.standardized()
///     let batches = try train.map { try scale.apply(to: $0) }.padded(to: 29).batched(30)
public struct LabeledSeries: Sendable, Hashable {
  public let channels: Int
  /// f32[length, channels] each.
  public let series: [NDArray]
  /// Places in ``classNames``.
  public let labels: [Int]
  public let classNames: [String]

  /// - Throws: `invalidArgument` without channels, `shapeMismatch` for a series that is not [length, channels] or another
  ///   number of labels, `outOfRange` naming a label that is no class.
  public init(
    series: [NDArray], labels: [Int], channels: Int, classNames: [String]
  ) throws {
    guard channels >= 1 else {
      throw ApusError(
        .invalidArgument, "series of \(channels) channels", expected: "at least one channel")
    }
    guard series.count == labels.count else {
      throw ApusError(
        .shapeMismatch, "\(series.count) series with \(labels.count) labels",
        expected: "one label for each series")
    }
    for (place, one) in series.enumerated()
    where one.shape.rank != 2 || one.shape[1] != channels || !one.dtype.isFloat {
      throw ApusError(
        .shapeMismatch, "series \(place) is \(one.type)",
        expected: "floats of shape [length, \(channels)]")
    }
    if let place = labels.firstIndex(where: { !classNames.indices.contains($0) }) {
      throw ApusError(
        .outOfRange, "the label \(labels[place]) of series \(place) is not a class",
        expected: "labels in 0..<\(classNames.count)")
    }
    self.channels = channels
    self.series = series.map { $0.cast(to: .f32) }
    self.labels = labels
    self.classNames = classNames
  }

  /// Reads a `.ts` file of classified series, plain or compressed with gzip.
  ///
  /// - `limit`: the most bytes that the text may have; nil stands for a fifth of the free memory.
  /// - Throws: `io` where the file cannot be read; `invalidFile` with its line where it does not follow the format:
  ///   another number of channels, channels of unequal lengths, a field that is no number, an unknown class;
  ///   `unsupported` for time stamps, missing values and targets that are numbers.
  public init(contentsOf path: String, limit: Int? = nil) throws {
    try self.init(.file(try OpenFile(path, expected: "a .ts file")), limit)
  }

  /// Reads the bytes of a `.ts` file; `path` names them in errors.
  ///
  /// - Throws: as ``init(contentsOf:limit:)``.
  public init(parsing bytes: [UInt8], path: String = "<bytes>", limit: Int? = nil) throws {
    try self.init(.memory(bytes, path: path), limit)
  }

  private init(_ source: ByteSource, _ limit: Int?) throws {
    let text = try Gzip.contents(source, limit: MemoryLimit(limit ?? MemoryLimit.available / 5))
    self = try text.withUnsafeBufferPointer { bytes in
      var parser = SeriesParser(path: source.path)
      var start = 0
      while start < bytes.count {
        let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
        try parser.read(UnsafeBufferPointer(rebasing: bytes[start..<end]))
        start = end + 1
      }
      return try parser.finish()
    }
  }

  public var count: Int { series.count }

  /// Steps of the longest series; 0 where there is none.
  public var longest: Int { series.map { $0.shape[0] }.max() ?? 0 }

  /// All steps of all series, one after the other: f32[steps, channels].
  public var steps: NDArray {
    let count = series.reduce(0) { $0 + $1.shape[0] }
    return NDArray(.f32(count, channels)) { target in
      var place = target.baseAddress
      for one in series {
        one.withUnsafeBytes { bytes in
          guard let from = bytes.baseAddress else { return }
          place?.copyMemory(from: from, byteCount: bytes.count)
          place? += bytes.count
        }
      }
    }
  }

  /// The same classes of series that are made of these.
  ///
  /// - Throws: what `transform` throws, and `shapeMismatch` where it gives another number of channels.
  public func map(_ transform: (NDArray) throws -> NDArray) throws -> LabeledSeries {
    try LabeledSeries(
      series: series.map(transform), labels: labels, channels: channels, classNames: classNames)
  }

  /// The series with zeros behind them, all of one length: a data set with `series` f32[length, channels], `lengths`
  /// i32[] and `labels` i32[].
  ///
  /// - Throws: `invalidArgument` naming a series that is longer.
  public func padded(to length: Int) throws -> ArrayDataset {
    if let place = series.firstIndex(where: { $0.shape[0] > length }) {
      throw ApusError(
        .invalidArgument, "series \(place) has \(series[place].shape[0]) steps",
        expected: "at most \(length), or padding to \(longest)")
    }
    var all = try NDArray(checking: .f32(count, length, channels))
    all.withUnsafeMutableBytes { target in
      for (place, one) in series.enumerated() {
        one.withUnsafeBytes { bytes in
          UnsafeMutableRawBufferPointer(rebasing: target[(place * length * channels * 4)...])
            .copyMemory(from: bytes)
        }
      }
    }
    return try ArrayDataset([
      "series": all,
      "lengths": NDArray(checking: series.map { Int32($0.shape[0]) }, shape: [count]),
      "labels": NDArray(checking: labels.map { Int32($0) }, shape: [count]),
    ])
  }
}

/// Reads the lines of a `.ts` file.
private struct SeriesParser {
  let path: String
  private var line = 0
  private var isData = false
  private var channels: Int?
  private var classNames: [String]?
  private var series: [NDArray] = []
  private var labels: [Int] = []

  init(path: String) { self.path = path }

  private func fail(
    _ what: String, _ expected: String, _ kind: ApusError.Kind = .invalidFile
  ) -> ApusError {
    ApusError(kind, what, at: "\(path), line \(line)", expected: expected)
  }

  mutating func read(_ bytes: UnsafeBufferPointer<UInt8>) throws {
    line += 1
    let text = Self.trimmed(bytes[...])
    guard let first = text.first, first != UInt8(ascii: "#") else { return }
    if isData {
      try readSeries(text)
    } else if first == UInt8(ascii: "@") {
      try readHeader(String(decoding: text, as: UTF8.self))
    } else {
      throw fail("a series stands before '@data'", "'@' and a word, or '#' and a comment")
    }
  }

  private mutating func readHeader(_ text: String) throws {
    let words = text.split(whereSeparator: \.isWhitespace).map(String.init)
    let isTrue = words.count > 1 && words[1].lowercased() == "true"
    switch words[0].lowercased() {
    case "@data":
      guard classNames != nil else {
        throw fail("the header has no classes", "'@classLabel true' and the names of the classes")
      }
      isData = true
    case "@timestamps" where isTrue:
      throw fail("the series have time stamps", "'@timeStamps false'", .unsupported)
    case "@missing" where isTrue:
      throw fail("the series have missing values", "'@missing false'", .unsupported)
    case "@targetlabel" where isTrue:
      throw fail("the targets are numbers", "'@classLabel true' and names", .unsupported)
    case "@univariate" where isTrue: channels = 1
    case "@dimensions", "@dimension":
      guard words.count == 2, let count = Int(words[1]), (1...1 << 20).contains(count) else {
        throw fail(
          "the dimensions are '\(text.prefix(60))'", "'@dimensions' and a number of 1 or more")
      }
      channels = count
    case "@classlabel":
      guard isTrue, words.count > 2, Set(words.dropFirst(2)).count == words.count - 2 else {
        throw fail(
          "the classes are '\(text.prefix(60))'", "'@classLabel true' and names, each once")
      }
      classNames = Array(words.dropFirst(2))
    default: break
    }
  }

  private mutating func readSeries(_ text: Slice<UnsafeBufferPointer<UInt8>>) throws {
    let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    let count = channels ?? parts.count - 1
    channels = count
    guard count >= 1, parts.count == count + 1 else {
      throw fail(
        "the line has \(parts.count - 1) channels", "\(max(count, 1)) and the class, ':' between")
    }
    let name = String(decoding: Self.trimmed(parts[count]), as: UTF8.self)
    guard let label = classNames?.firstIndex(of: name) else {
      throw fail(
        "the class '\(name.prefix(40))' is unknown",
        "one of \(classNames?.joined(separator: ", ") ?? "")")
    }
    let values = try parts.dropLast().enumerated().map { try numbers($1, channel: $0) }
    guard let channel = values.firstIndex(where: { $0.count != values[0].count }) else {
      let length = values[0].count
      labels.append(label)
      series.append(
        try NDArray(
          checking: (0..<length).flatMap { step in values.map { $0[step] } },
          shape: [length, count]))
      return
    }
    throw fail(
      "channel \(channel) has \(values[channel].count) steps",
      "\(values[0].count), as channel 0 has")
  }

  private func numbers(
    _ text: Slice<UnsafeBufferPointer<UInt8>>, channel: Int
  ) throws -> [Float] {
    let fields = text.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
    return try fields.enumerated().map { step, field in
      let bytes = UnsafeBufferPointer(rebasing: Self.trimmed(field))
      guard let number = DecimalNumber(bytes), let value = try? number.float(bytes),
        value.isFinite
      else {
        throw fail(
          "step \(step) of channel \(channel) is '\(String(decoding: bytes.prefix(40), as: UTF8.self))'",
          "a finite number")
      }
      return value
    }
  }

  func finish() throws -> LabeledSeries {
    guard isData, let classNames else {
      throw ApusError(
        .invalidFile, "the file has no '@data'", at: path, expected: "a .ts file of series")
    }
    return try LabeledSeries(
      series: series, labels: labels, channels: channels ?? 1, classNames: classNames)
  }

  private static func trimmed(
    _ text: Slice<UnsafeBufferPointer<UInt8>>
  ) -> Slice<UnsafeBufferPointer<UInt8>> {
    var text = text
    while let last = text.last, last <= 0x20 { text = text.dropLast() }
    while let first = text.first, first <= 0x20 { text = text.dropFirst() }
    return text
  }
}
