// Learning merges from texts: Sennrich, Haddow and Birch 2016, in the order of Hugging Face's `tokenizers`.
//
// The pair that stands most often in the words becomes a token, again and again. Of pairs that are as frequent the one
// with the lower ids goes first. Counts are brought up to date where a merge has changed a word, and a heap keeps the
// pairs by the counts that they had when they came; one whose count has changed since goes back with the right one.

import ApusGraph

/// Learns the vocabulary of a byte-level tokenizer from texts.
///
///     let trainer = BPETrainer(vocabularySize: 8000, specialTokens: ["<|endoftext|>"])
///     let tokenizer = try trainer.train(texts)
///     try tokenizer.save(to: "tokenizer.json")
///
/// The tokenizer cuts by GPT-2's pattern, spells bytes, and knows every text: the alphabet is all bytes. Vocabulary and
/// merges are those that the Python package learns from the same texts.
public struct BPETrainer: Sendable {
  /// The most tokens: special ones, the alphabet and merges together.
  public var vocabularySize: Int
  /// Pairs that stand less often are not merged.
  public var minimumFrequency: Int
  /// Tokens that come first, in their order.
  public var specialTokens: [String]
  /// Whether all 256 bytes are in the vocabulary, or those alone that the texts have.
  public var includesAllBytes: Bool
  /// The most parts of a token in characters of the alphabet; nil for any.
  public var maximumTokenLength: Int?
  /// Whether a space is put before texts that begin with none.
  public var addsPrefixSpace: Bool

  public init(
    vocabularySize: Int = 30000, minimumFrequency: Int = 0, specialTokens: [String] = [],
    includesAllBytes: Bool = true, maximumTokenLength: Int? = nil, addsPrefixSpace: Bool = false
  ) {
    self.vocabularySize = vocabularySize
    self.minimumFrequency = minimumFrequency
    self.specialTokens = specialTokens
    self.includesAllBytes = includesAllBytes
    self.maximumTokenLength = maximumTokenLength
    self.addsPrefixSpace = addsPrefixSpace
  }

  /// Learns from texts.
  ///
  /// - Throws: `invalidArgument` for numbers below 0.
  public func train(_ texts: some Sequence<String>) throws -> Tokenizer {
    for (name, number) in [
      ("vocabularySize", vocabularySize), ("minimumFrequency", minimumFrequency),
      ("maximumTokenLength", maximumTokenLength ?? 0),
    ] where !(0...Int(Int32.max)).contains(number) {
      throw ApusError(
        .invalidArgument, "\(name) is \(number)", expected: "0 to \(Int32.max)")
    }
    let preTokenizer = PreTokenizer.byteLevel(
      addsPrefixSpace: addsPrefixSpace, trimsOffsets: true, usesRegex: true)
    var words = WordCounts()
    for text in texts {
      var split = SplitText(TextBuffer(Array(text.utf8)), pieces: [])
      split.pieces = split.text.bytes.isEmpty ? [] : [Piece(0, split.text.bytes.count)]
      try preTokenizer.apply(to: &split)
      split.text.bytes.withUnsafeBufferPointer { bytes in
        for piece in split.pieces { words.add(bytes, piece.start..<piece.end) }
      }
    }
    let learnt = learn(words)
    var vocabulary = Vocabulary(reserving: learnt.tokens.count)
    for (id, token) in learnt.tokens.enumerated() {
      try vocabulary.add(token, id: id, at: "token \(id)")
    }
    var merges = MergeTable(reserving: learnt.merges.count)
    for (rank, merge) in learnt.merges.enumerated() {
      merges.insert(merge.left, merge.right, rank: rank, id: merge.id)
    }
    let model = BytePairEncoding(vocabulary, merges, BytePairEncoding.Options())
    var added = AddedVocabulary()
    _ = try added.add(specialTokens.map { AddedToken($0, isSpecial: true) }, model, nil)
    return Tokenizer(
      try TokenizerCore(
        normalizer: nil, preTokenizer: preTokenizer, model: model,
        postProcessor: .byteLevel(
          trimsOffsets: true, addsPrefixSpace: addsPrefixSpace, usesRegex: true),
        decoder: .byteLevel(addsPrefixSpace: true, trimsOffsets: true, usesRegex: true),
        added: added))
  }

  private struct Learnt {
    var tokens: [[UInt8]] = []
    var merges: [(left: Int32, right: Int32, id: Int32)] = []
  }

  private func learn(_ words: WordCounts) -> Learnt {
    var table = ByteStringTable(reserving: vocabularySize < 1 << 20 ? vocabularySize : 0)
    for token in specialTokens { _ = table.insert(Array(token.utf8)) }
    // The alphabet in the order of its scalars.
    let used = words.bytes
    let alphabet = (0..<256).filter { includesAllBytes || used[$0] }
      .sorted { ByteAlphabet.scalars[$0] < ByteAlphabet.scalars[$1] }
    var ids = [Int32](repeating: -1, count: 256)
    for byte in alphabet {
      ids[byte] = Int32(table.insert(ByteAlphabet.spelled([UInt8(byte)])).index)
    }
    var merger = PairMerger(words, ids, mostLength: maximumTokenLength ?? .max)
    var merges: [(left: Int32, right: Int32, id: Int32)] = []
    while table.count < vocabularySize, let top = merger.next() {
      guard top.count >= 1, top.count >= minimumFrequency else { break }
      let left = top.pair.left, right = top.pair.right
      let id = Int32(table.insert(Array(table[Int(left)]) + Array(table[Int(right)])).index)
      merges.append((left, right, id))
      merger.merge(top, into: id)
    }
    return Learnt(tokens: (0..<table.count).map { Array(table[$0]) }, merges: merges)
  }
}

/// Words and how often they stand in the texts.
struct WordCounts {
  private(set) var words = ByteStringTable()
  private(set) var counts: [Int] = []

  mutating func add(_ bytes: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) {
    if let index = words.index(of: bytes.baseAddress! + range.lowerBound, range.count) {
      counts[index] += 1
    } else {
      _ = words.insert(Array(bytes[range]))
      counts.append(1)
    }
  }

  /// Which bytes there are.
  var bytes: [Bool] {
    var used = [Bool](repeating: false, count: 256)
    for byte in words.blob { used[Int(byte)] = true }
    return used
  }
}

/// Pairs of tokens in words, by how often they stand there.
struct PairMerger {
  struct Pair: Hashable {
    var left, right: Int32
  }

  /// A pair, its count when it came, and the words in which it came up.
  struct Candidate {
    var pair: Pair
    var count: Int
    var words: [Int32]

    /// The more frequent first, of equal ones the lower ids.
    func goesBefore(_ other: Candidate) -> Bool {
      if count != other.count { return count > other.count }
      return (pair.left, pair.right) < (other.pair.left, other.pair.right)
    }
  }

  private var symbols: [[Symbol]]
  private let counts: [Int]
  private var pairs: [Pair: Int] = [:]
  private var heap: [Candidate] = []
  private let mostLength: Int

  private struct Symbol {
    var id: Int32
    /// Characters of the alphabet.
    var length: Int32
  }

  init(_ words: WordCounts, _ ids: [Int32], mostLength: Int) {
    self.mostLength = mostLength
    counts = words.counts
    symbols = (0..<words.words.count).map { index in
      words.words[index].map { Symbol(id: ids[Int($0)], length: 1) }
    }
    var places: [Pair: [Int32]] = [:]
    for (word, symbols) in symbols.enumerated() {
      for (left, right) in zip(symbols, symbols.dropFirst()) {
        let pair = Pair(left: left.id, right: right.id)
        pairs[pair, default: 0] += counts[word]
        if places[pair]?.last != Int32(word) { places[pair, default: []].append(Int32(word)) }
      }
    }
    push(places)
  }

  private mutating func push(_ places: [Pair: [Int32]]) {
    for (pair, words) in places {
      let count = pairs[pair] ?? 0
      if count > 0 { push(Candidate(pair: pair, count: count, words: words)) }
    }
  }

  /// The pair to merge next; nil where there is none.
  mutating func next() -> Candidate? {
    while var top = pop() {
      let count = pairs[top.pair] ?? 0
      if top.count == count { return top }
      top.count = count
      push(top)
    }
    return nil
  }

  /// Makes one token of a pair, in the words in which it came up.
  mutating func merge(_ top: Candidate, into id: Int32) {
    var places: [Pair: [Int32]] = [:]
    for word in top.words {
      let count = counts[Int(word)]
      func change(_ left: Int32, _ right: Int32, _ sign: Int) {
        let pair = Pair(left: left, right: right)
        pairs[pair, default: 0] += sign * count
        if sign > 0, places[pair]?.last != word { places[pair, default: []].append(word) }
      }
      var list = symbols[Int(word)]
      symbols[Int(word)] = []
      Self.replace(&list, top.pair, id, mostLength, change)
      symbols[Int(word)] = list
    }
    push(places)
  }

  /// Replaces a pair in a word, from left to right, and tells which pairs came and went.
  private static func replace(
    _ list: inout [Symbol], _ pair: Pair, _ id: Int32, _ mostLength: Int,
    _ change: (Int32, Int32, Int) -> Void
  ) {
    var place = 0
    while place + 1 < list.count {
      defer { place += 1 }
      guard list[place].id == pair.left, list[place + 1].id == pair.right else { continue }
      let new = Symbol(id: id, length: list[place].length + list[place + 1].length)
      if place > 0 {
        let before = list[place - 1]
        change(before.id, pair.left, -1)
        if Int(before.length + new.length) < mostLength { change(before.id, id, 1) }
      }
      list[place] = new
      list.remove(at: place + 1)
      if place + 1 < list.count {
        let after = list[place + 1]
        change(pair.right, after.id, -1)
        if Int(after.length + new.length) < mostLength { change(id, after.id, 1) }
      }
    }
  }

  // MARK: Heap

  private mutating func push(_ candidate: Candidate) {
    heap.append(candidate)
    var place = heap.count - 1
    while place > 0 {
      let parent = (place - 1) / 2
      guard heap[place].goesBefore(heap[parent]) else { break }
      heap.swapAt(place, parent)
      place = parent
    }
  }

  private mutating func pop() -> Candidate? {
    guard let last = heap.popLast() else { return nil }
    guard let top = heap.first else { return last }
    heap[0] = last
    var place = 0
    while true {
      var best = place
      for child in [2 * place + 1, 2 * place + 2]
      where child < heap.count && heap[child].goesBefore(heap[best]) { best = child }
      guard best != place else { return top }
      heap.swapAt(place, best)
      place = best
    }
  }
}
