// What comes out of a tokenizer.

import ApusGraph

/// A text, or a pair of texts, as tokens.
///
///     let encoding = try tokenizer.encode("Hello, world!")
///     encoding.ids        // [101, 7592, 1010, 2088, 999, 102]
///     encoding.offsets[1] // 0..<5
///
/// All lists have one element for each token.
public struct Encoding: Sendable {
  /// The ids.
  public internal(set) var ids: [Int]
  /// Which of two texts a token is of, as the model wants it.
  public internal(set) var typeIDs: [Int]
  /// The Unicode scalars of the text that a token stands for; 0..<0 for tokens that stand for none.
  public internal(set) var offsets: [Range<Int>]
  /// The word that a token is of, counted within its text; nil for tokens of none.
  public internal(set) var wordIDs: [Int?]
  /// 1 for tokens that no text has: those that the post-processor and padding add.
  public internal(set) var specialTokensMask: [Int]
  /// 0 for padding, else 1.
  public internal(set) var attentionMask: [Int]
  /// What truncation cut off, in pieces of the same greatest length.
  public internal(set) var overflowing: [Encoding]
  /// The tokens of each text, by its number, where several were put together.
  var sequences: [(sequence: Int, range: Range<Int>)] = []
  /// The text of tokens whose text is not that of their id.
  var surfaces: [Int: String] = [:]
  let names: TokenNames

  /// The number of tokens.
  public var count: Int { ids.count }

  /// The tokens' texts, as the vocabulary spells them.
  public var tokens: [String] {
    ids.indices.map { surfaces[$0] ?? names.name(ids[$0]) ?? "" }
  }

  /// Which of the texts each token is of, 0 or 1; nil for tokens of none.
  public var sequenceIDs: [Int?] {
    guard !sequences.isEmpty else { return [Int?](repeating: 0, count: count) }
    var result = [Int?](repeating: nil, count: count)
    for (sequence, range) in sequences { for index in range { result[index] = sequence } }
    return result
  }

  init(names: TokenNames, reserving count: Int = 0) {
    self.names = names
    (ids, typeIDs, offsets, wordIDs) = ([], [], [], [])
    (specialTokensMask, attentionMask, overflowing) = ([], [], [])
    ids.reserveCapacity(count)
    offsets.reserveCapacity(count)
    wordIDs.reserveCapacity(count)
  }

  /// Special tokens alone.
  init(specials: [(id: Int, token: String)], typeID: Int, names: TokenNames) {
    self.init(names: names)
    ids = specials.map(\.id)
    typeIDs = [Int](repeating: typeID, count: ids.count)
    offsets = [Range<Int>](repeating: 0..<0, count: ids.count)
    wordIDs = [Int?](repeating: nil, count: ids.count)
    specialTokensMask = [Int](repeating: 1, count: ids.count)
    attentionMask = specialTokensMask
    for (index, special) in specials.enumerated() { note(special.token, at: index) }
  }

  /// Notes a token's text, where it is not that of its id.
  mutating func note(_ token: String, at index: Int) {
    let usual = names.name(ids[index])
    if usual.map({ ByteName($0) }) != ByteName(token) { surfaces[index] = token }
  }

  /// Gives all lists that the model does not fill their values.
  mutating func complete(typeID: Int) {
    typeIDs = [Int](repeating: typeID, count: count)
    specialTokensMask = [Int](repeating: 0, count: count)
    attentionMask = [Int](repeating: 1, count: count)
  }

  mutating func setTypeID(_ typeID: Int) { typeIDs = [Int](repeating: typeID, count: count) }

  mutating func setSequence(_ sequence: Int) {
    sequences.removeAll { $0.sequence == sequence }
    sequences.append((sequence, 0..<count))
  }

  /// A part of the tokens.
  private func part(_ range: Range<Int>) -> Encoding {
    var part = Encoding(names: names)
    part.ids = Array(ids[range])
    part.typeIDs = Array(typeIDs[range])
    part.offsets = Array(offsets[range])
    part.wordIDs = Array(wordIDs[range])
    part.specialTokensMask = Array(specialTokensMask[range])
    part.attentionMask = Array(attentionMask[range])
    for (index, surface) in surfaces where range.contains(index) {
      part.surfaces[index - range.lowerBound] = surface
    }
    return part
  }

  /// Keeps `length` tokens; the others become ``overflowing``, in parts that share `stride` tokens.
  ///
  /// - Throws: `invalidArgument` for a stride that is not below the length.
  mutating func truncate(to length: Int, stride: Int, fromLeft: Bool) throws {
    guard length < count else { return }
    guard length > 0 else {
      let whole = self
      self = Encoding(names: names)
      overflowing = [whole]
      return
    }
    guard stride < length else {
      throw ApusError(
        .invalidArgument, "parts of \(length) tokens share \(stride)", at: "truncation.stride",
        expected: "fewer than the part has")
    }
    let step = length - stride
    var ranges: [Range<Int>] = []
    if fromLeft {
      var end = count
      while end > 0 {
        ranges.append(max(0, end - length)..<end)
        if end <= length { break }
        end -= step
      }
    } else {
      var start = 0
      while start < count {
        ranges.append(start..<min(count, start + length))
        if start + length >= count { break }
        start += step
      }
    }
    var result = part(ranges[0])
    result.overflowing = ranges.dropFirst().map(part)
    self = result
  }

  /// Appends another; each overflowing part is put together with each of the other's.
  mutating func append(_ other: Encoding) {
    var parts: [Encoding] = []
    for part in overflowing {
      parts.append(part.appending(other.withoutOverflow))
      for otherPart in other.overflowing { parts.append(part.appending(otherPart)) }
    }
    for otherPart in other.overflowing { parts.append(withoutOverflow.appending(otherPart)) }
    let old = count
    for (sequence, range) in other.sequences {
      sequences.removeAll { $0.sequence == sequence }
      sequences.append((sequence, old + range.lowerBound..<old + range.upperBound))
    }
    ids += other.ids
    typeIDs += other.typeIDs
    offsets += other.offsets
    wordIDs += other.wordIDs
    specialTokensMask += other.specialTokensMask
    attentionMask += other.attentionMask
    for (index, surface) in other.surfaces { surfaces[old + index] = surface }
    overflowing = parts
  }

  private func appending(_ other: Encoding) -> Encoding {
    var result = self
    result.append(other)
    return result
  }

  private var withoutOverflow: Encoding {
    var result = self
    result.overflowing = []
    return result
  }

  /// Fills up to `length` tokens.
  mutating func pad(to length: Int, _ padding: TokenPadding) {
    for index in overflowing.indices { overflowing[index].pad(to: length, padding) }
    guard count < length else { return }
    let missing = length - count
    let pad = Encoding(
      specials: [(id: Int, token: String)](
        repeating: (padding.id, padding.token), count: missing),
      typeID: padding.typeID, names: names)
    var filling = pad
    filling.attentionMask = [Int](repeating: 0, count: missing)
    if padding.side == .right {
      let parts = overflowing
      overflowing = []
      append(filling)
      overflowing = parts
    } else {
      let parts = overflowing
      overflowing = []
      filling.append(self)
      self = filling
      overflowing = parts
    }
  }
}

/// What a token of an id is called.
protocol TokenNames: AnyObject, Sendable {
  func name(_ id: Int) -> String?
  /// False where it surely neither begins nor ends with white space or U+0120.
  func mayHaveSpaces(_ id: Int) -> Bool
}
