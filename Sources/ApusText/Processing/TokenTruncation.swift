// Cutting encodings that are too long, and filling up those that are too short.

import ApusGraph

/// How encodings that are too long are cut.
public struct TokenTruncation: Sendable, Hashable {
  /// Which of two texts is cut.
  public enum Strategy: String, Sendable, Hashable, CaseIterable {
    /// The longer one, until both are of a length.
    case longestFirst = "LongestFirst"
    /// The first.
    case onlyFirst = "OnlyFirst"
    /// The second.
    case onlySecond = "OnlySecond"
  }

  /// Where a text is cut.
  public enum Side: String, Sendable, Hashable, CaseIterable {
    /// At its beginning.
    case left = "Left"
    /// At its end.
    case right = "Right"
  }

  /// The most tokens, special ones included.
  public var maximumLength: Int
  public var strategy: Strategy
  /// How many tokens the parts of ``Encoding/overflowing`` share.
  public var stride: Int
  public var side: Side

  public init(
    maximumLength: Int, strategy: Strategy = .longestFirst, stride: Int = 0, side: Side = .right
  ) {
    self.maximumLength = maximumLength
    self.strategy = strategy
    self.stride = stride
    self.side = side
  }

  /// Cuts one text's encoding, or those of two.
  ///
  /// - `limit`: the most tokens that remain.
  /// - Throws: `invalidArgument` where the text that should be cut is missing or too short, or the stride is too long.
  func apply(to encodings: inout [Encoding], limit: Int) throws {
    func cut(_ index: Int, _ length: Int) throws {
      try encodings[index].truncate(to: length, stride: stride, fromLeft: side == .left)
    }
    if limit == 0 {
      for index in encodings.indices { try cut(index, 0) }
      return
    }
    let total = encodings.reduce(0) { $0 + $1.count }
    guard total > limit else { return }
    let excess = total - limit
    if strategy == .longestFirst {
      guard encodings.count == 2 else { return try cut(0, total - excess) }
      var lengths = [encodings[0].count, encodings[1].count]
      let shorter = lengths[0] <= lengths[1] ? 0 : 1
      let least = lengths[shorter]
      lengths[1 - shorter] = least > limit ? least : max(least, limit - least)
      if lengths[0] + lengths[1] > limit {
        lengths[shorter] = limit / 2
        lengths[1 - shorter] = limit / 2 + limit % 2
      }
      for index in 0..<2 { try cut(index, lengths[index]) }
      return
    }
    let index = strategy == .onlyFirst ? 0 : 1
    guard index < encodings.count else {
      throw ApusError(
        .invalidArgument, "the second text should be cut, and there is none",
        at: "truncation.strategy", expected: "a pair of texts, or another strategy")
    }
    guard encodings[index].count > excess else {
      throw ApusError(
        .invalidArgument,
        "\(excess) tokens are too many, and the text that should be cut has \(encodings[index].count)",
        at: "truncation.max_length", expected: "a longer text, or another strategy")
    }
    try cut(index, encodings[index].count - excess)
  }
}

/// How encodings that are too short are filled up.
public struct TokenPadding: Sendable, Hashable {
  /// How long encodings become.
  public enum Length: Sendable, Hashable {
    /// As the longest of a batch.
    case longest
    /// Of this length at least.
    case fixed(Int)
  }

  /// Where the filling goes.
  public typealias Side = TokenTruncation.Side

  public var length: Length
  /// The id that fills.
  public var id: Int
  /// Its token.
  public var token: String
  public var typeID: Int
  public var side: Side
  /// Lengths are multiples of this; nil for any.
  public var multiple: Int?

  public init(
    length: Length = .longest, id: Int = 0, token: String = "[PAD]", typeID: Int = 0,
    side: Side = .right, multiple: Int? = nil
  ) {
    self.length = length
    self.id = id
    self.token = token
    self.typeID = typeID
    self.side = side
    self.multiple = multiple
  }

  /// The length of all encodings of a batch.
  func length(of encodings: [Encoding]) -> Int {
    var length =
      switch self.length {
      case .longest: encodings.reduce(0) { max($0, $1.count) }
      case .fixed(let length): length
      }
    if let multiple, multiple > 0, length % multiple > 0 { length += multiple - length % multiple }
    return length
  }

  /// Fills encodings up to one length.
  func apply(to encodings: inout [Encoding]) {
    let length = length(of: encodings)
    for index in encodings.indices { encodings[index].pad(to: length, self) }
  }
}
