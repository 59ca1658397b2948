// The unigram model: Kudo 2018. Of all ways to write a piece in tokens, the most probable one.

import ApusGraph

/// The best way to the end of a part of a piece.
struct UnigramNode {
  var score: Double
  /// Where its last token begins; -1 for none yet.
  var start: Int32
  var isUnknown: Bool
}

/// Tokens with logarithms of probabilities.
struct Unigram: TokenModel {
  let vocabulary: Vocabulary
  /// The logarithm of the probability of each id, as the file has it.
  let fileScores: [Double]
  /// The same as the original reads it.
  private let scores: [Double]
  let unknownID: Int32?
  let fallsBackToBytes: Bool
  private let trie: ByteTrie
  private let unknownScore: Double
  private let byteTokens: [Int32?]

  init(
    _ vocabulary: Vocabulary, tokens: [[UInt8]], scores: [Double], unknownID: Int32?,
    fallsBackToBytes: Bool
  ) {
    self.vocabulary = vocabulary
    fileScores = scores
    let scores = scores.map(\.asReadByOriginal)
    self.scores = scores
    self.unknownID = unknownID
    self.fallsBackToBytes = fallsBackToBytes
    // Of tokens that stand twice, the last one counts.
    trie = ByteTrie(tokens.enumerated().map { ($1, Int32($0)) })
    unknownScore = (scores.min() ?? 0) - 10
    byteTokens = byteTokenIDs(vocabulary, fallsBackToBytes)
  }

  var surfaceID: Int32? { unknownID }

  var isCutAtMarks: Bool { false }

  func tokenize(
    _ piece: UnsafeBufferPointer<UInt8>, into tokens: inout [ModelToken],
    _ scratch: inout ModelScratch
  ) throws {
    guard let text = piece.baseAddress else { return }
    try search(text, piece.count, &scratch.path)
    // From the end back, unknown parts side by side as one.
    let first = tokens.count
    var end = piece.count
    while end > 0 {
      let node = scratch.path[end]
      var start = Int(node.start)
      if node.isUnknown {
        while start > 0, scratch.path[start].isUnknown { start = Int(scratch.path[start].start) }
      }
      try add(text, start, end, &tokens)
      end = start
    }
    tokens[first...].reverse()
  }

  /// Appends the tokens of a part, the last one first.
  private func add(
    _ text: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ tokens: inout [ModelToken]
  ) throws {
    if let id = vocabulary.id(of: text + start, end - start) {
      tokens.append(ModelToken(id: id, start: UInt32(start), end: UInt32(end)))
      return
    }
    if fallsBackToBytes, (start..<end).allSatisfy({ byteTokens[Int(text[$0])] != nil }) {
      for place in (start..<end).reversed() {
        tokens.append(
          ModelToken(
            id: byteTokens[Int(text[place])]!, start: UInt32(start), end: UInt32(end)))
      }
      return
    }
    guard let unknownID else { throw Self.noUnknown }
    tokens.append(ModelToken(id: unknownID, start: UInt32(start), end: UInt32(end)))
  }

  private static let noUnknown = ApusError(
    .missing, "a piece cannot be written in tokens, and there is none for what is not known",
    at: "model.unk_id", expected: "the id of such a token")

  /// Fills in the best way to each place: sums in double precision, the first of equal ones.
  private func search(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ path: inout [UnigramNode]
  ) throws {
    path.removeAll(keepingCapacity: true)
    path.append(
      contentsOf: repeatElement(
        UnigramNode(score: 0, start: -1, isUnknown: false), count: count + 1))
    var start = 0
    while start < count {
      let score = path[start].score
      let length = scalarLength(text[start])
      var hasSingle = false
      trie.forEachPrefix(text + start, count - start) { tokenLength, id in
        let candidate = scores[Int(id)] + score
        let end = start + tokenLength
        if path[end].start < 0 || candidate > path[end].score {
          path[end] = UnigramNode(
            score: candidate, start: Int32(start), isUnknown: id == unknownID)
        }
        if tokenLength == length { hasSingle = true }
      }
      if !hasSingle {
        guard unknownID != nil else { throw Self.noUnknown }
        let candidate = unknownScore + score
        let end = start + length
        if path[end].start < 0 || candidate > path[end].score {
          path[end] = UnigramNode(score: candidate, start: Int32(start), isUnknown: true)
        }
      }
      start += length
    }
  }

  var json: JSON {
    .object([
      ("type", "Unigram"), ("unk_id", unknownID.map { .integer(Int($0)) } ?? .null),
      (
        "vocab",
        .array(
          fileScores.indices.map { id in
            .array([.string(vocabulary.token(of: id) ?? ""), .number(fileScores[id])])
          })
      ), ("byte_fallback", .bool(fallsBackToBytes)),
    ])
  }
}

extension Double {
  /// The number that Hugging Face's library makes of this one's shortest decimal digits.
  ///
  /// Its JSON reader divides or multiplies the digits, as a whole number rounded to a double, by a power of ten, which is
  /// rounded once more. In two of ten cases that is the neighbour of the number that was written. Where two ways to
  /// write a piece are about as probable, the neighbour decides.
  var asReadByOriginal: Double {
    var digits: UInt64 = 0, exponent = 0, isBehindPoint = false
    var text = Substring("\(magnitude)")
    if let mark = text.firstIndex(of: "e") {
      exponent = Int(text[text.index(after: mark)...]) ?? 0
      text = text[..<mark]
    }
    for byte in text.utf8 {
      if byte == UInt8(ascii: ".") {
        isBehindPoint = true
      } else {
        digits = 10 * digits + UInt64(byte - 0x30)
        if isBehindPoint { exponent -= 1 }
      }
    }
    var value = Double(digits)
    while exponent < -308, value != 0 {
      value /= 1e308
      exponent += 308
    }
    let power = Double("1e\(abs(exponent))") ?? .infinity
    value = exponent < 0 ? value / power : value * power
    return self < 0 ? -value : value
  }
}

/// Strings by their first bytes, for all that a text begins with.
struct ByteTrie: Sendable {
  /// The children of a node stand side by side, in the order of their bytes.
  private var labels: [UInt8] = []
  private var firstChild: [Int32] = []
  private var childCount: [UInt16] = []
  private var ids: [Int32] = []
  /// The child of the root for each byte; -1 for none.
  private var roots = [Int32](repeating: -1, count: 256)

  /// - `strings`: with their ids; of equal ones the last counts, empty ones are left out.
  init(_ strings: [(bytes: [UInt8], id: Int32)]) {
    let sorted = strings.enumerated().filter { !$0.element.bytes.isEmpty }.sorted {
      $0.element.bytes == $1.element.bytes
        ? $0.offset < $1.offset : $0.element.bytes.lexicographicallyPrecedes($1.element.bytes)
    }.map(\.element)
    // Level by level, so that siblings lie together.
    var level: [(range: Range<Int>, node: Int)] = [(0..<sorted.count, -1)]
    var depth = 0
    while !level.isEmpty {
      var next: [(range: Range<Int>, node: Int)] = []
      for (range, node) in level {
        var place = range.lowerBound
        // Those that end here come first.
        while place < range.upperBound, sorted[place].bytes.count == depth {
          if node >= 0 { ids[node] = sorted[place].id }
          place += 1
        }
        let first = labels.count
        while place < range.upperBound {
          let byte = sorted[place].bytes[depth]
          var end = place
          while end < range.upperBound, sorted[end].bytes[depth] == byte { end += 1 }
          next.append((place..<end, labels.count))
          if node < 0 { roots[Int(byte)] = Int32(labels.count) }
          labels.append(byte)
          firstChild.append(0)
          childCount.append(0)
          ids.append(-1)
          place = end
        }
        if node >= 0 {
          firstChild[node] = Int32(first)
          childCount[node] = UInt16(labels.count - first)
        }
      }
      level = next
      depth += 1
    }
  }

  /// Calls for each string that a text begins with, the shortest first.
  @inline(__always)
  func forEachPrefix(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ found: (_ length: Int, _ id: Int32) -> Void
  ) {
    guard count > 0 else { return }
    var node = Int(roots[Int(text[0])])
    var length = 1
    while node >= 0 {
      if ids[node] >= 0 { found(length, ids[node]) }
      guard length < count else { return }
      node = child(node, text[length])
      length += 1
    }
  }

  @inline(__always) private func child(_ node: Int, _ byte: UInt8) -> Int {
    var low = Int(firstChild[node]), high = low + Int(childCount[node])
    while low < high {
      let middle = (low + high) / 2
      let label = labels[middle]
      if label == byte { return middle }
      if label < byte { low = middle + 1 } else { high = middle }
    }
    return -1
  }
}
