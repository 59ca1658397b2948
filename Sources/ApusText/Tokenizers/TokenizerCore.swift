// The parts of a tokenizer at work: from bytes to tokens.

import ApusGraph
import Synchronization

/// Memory that encoding uses again and again; of one thread at a time.
struct TokenizerWorkspace {
  var cache = WordCache()
  var scratch = ModelScratch()
  var tokens: [ModelToken] = []
  var spelling: [UInt8] = []
}

/// Workspaces that nobody uses at the moment. Their caches are right for one model.
final class WorkspacePool: Sendable {
  private let free = Mutex<[TokenizerWorkspace]>([])

  /// - Throws: what the body throws.
  func withWorkspace<T>(_ body: (inout TokenizerWorkspace) throws -> T) rethrows -> T {
    var workspace = free.withLock { $0.popLast() } ?? TokenizerWorkspace()
    defer { free.withLock { $0.append(workspace) } }
    return try body(&workspace)
  }
}

/// The unchanging parts of a tokenizer.
final class TokenizerCore: TokenNames {
  let normalizer: Normalizer?
  let preTokenizer: PreTokenizer?
  let model: any TokenModel
  let postProcessor: PostProcessor?
  let decoder: Decoder?
  let added: AddedVocabulary
  let workspaces: WorkspacePool
  /// Whether words that begin with U+2581 do not touch each other's tokens, so that a piece may be cut before them.
  private let isCutAtMarks: Bool
  /// The texts of added tokens by their ids, as decoding gives them.
  private let addedNames: [Int: String]

  /// Longer texts are refused: places are kept in 32 bits.
  static let mostBytes = 1 << 30

  /// - Throws: `resource` where a pattern of the normaliser is given up.
  init(
    normalizer: Normalizer?, preTokenizer: PreTokenizer?, model: any TokenModel,
    postProcessor: PostProcessor?, decoder: Decoder?, added: AddedVocabulary,
    workspaces: WorkspacePool = WorkspacePool()
  ) throws {
    self.normalizer = normalizer
    self.preTokenizer = preTokenizer
    self.model = model
    self.postProcessor = postProcessor
    self.decoder = decoder
    self.added = added
    self.workspaces = workspaces
    isCutAtMarks = model.isCutAtMarks
    addedNames = try added.tokens.mapValues { token in
      guard token.isNormalized, let normalizer else { return token.content }
      var text = TextBuffer(Array(token.content.utf8))
      try normalizer.apply(to: &text)
      return String(decoding: text.bytes, as: UTF8.self)
    }
  }

  /// The same with other tokens around texts.
  func with(_ postProcessor: PostProcessor) throws -> TokenizerCore {
    try TokenizerCore(
      normalizer: normalizer, preTokenizer: preTokenizer, model: model,
      postProcessor: postProcessor, decoder: decoder, added: added, workspaces: workspaces)
  }

  /// The same with other added tokens.
  func with(_ added: AddedVocabulary) throws -> TokenizerCore {
    try TokenizerCore(
      normalizer: normalizer, preTokenizer: preTokenizer, model: model,
      postProcessor: postProcessor, decoder: decoder, added: added, workspaces: workspaces)
  }

  func name(_ id: Int) -> String? { addedNames[id] ?? model.vocabulary.token(of: id) }

  func mayHaveSpaces(_ id: Int) -> Bool {
    guard addedNames[id] == nil, let token = model.vocabulary.bytes(of: id),
      let first = token.first, let last = token.last
    else { return true }
    // Bytes with which U+0085, U+00A0, U+0120, U+1680, U+2000 and on, and U+3000 begin.
    let isOther = first > 0x20 && ![0xc2, 0xc4, 0xe1, 0xe2, 0xe3].contains(first)
    return !isOther || last <= 0x20 || last >= 0x80
  }

  /// The text cut into pieces.
  ///
  /// - Throws: `resource` for a text that is too long, or a pattern that is given up.
  func split(_ text: [UInt8]) throws -> SplitText {
    guard text.count <= Self.mostBytes else {
      throw ApusError(
        .resource, "the text has \(text.count) bytes", expected: "at most \(Self.mostBytes)")
    }
    var split = try added.extract(text, normalizer)
    try preTokenizer?.apply(to: &split)
    guard split.text.bytes.count <= 4 * Self.mostBytes - 1 else {
      throw ApusError(
        .resource, "the normalised text has \(split.text.bytes.count) bytes",
        expected: "fewer than \(4 * Self.mostBytes)")
    }
    return split
  }

  /// Calls for each token of a piece; places are those of the text.
  @inline(__always)
  func forEachToken(
    _ bytes: UnsafeBufferPointer<UInt8>, _ piece: Piece, isSpelled: Bool,
    _ workspace: inout TokenizerWorkspace, _ body: (Int32, Int, Int) throws -> Void
  ) throws {
    guard isCutAtMarks else {
      return try forEachToken(
        bytes, piece.start, piece.end, isSpelled: isSpelled, &workspace, body)
    }
    var start = piece.start
    while start < piece.end {
      let end = Self.markAhead(bytes, start, piece.end)
      try forEachToken(bytes, start, end, isSpelled: isSpelled, &workspace, body)
      start = end
    }
  }

  /// The first U+2581 behind another character; else the end.
  @inline(__always)
  private static func markAhead(
    _ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int
  ) -> Int {
    func isMark(_ place: Int) -> Bool {
      bytes[place] == 0xe2 && bytes[place + 1] == 0x96 && bytes[place + 2] == 0x81
    }
    var place = start
    while place + 2 < end, isMark(place) { place += 3 }
    while place + 2 < end {
      if isMark(place), place > start { return place }
      place += 1
    }
    return end
  }

  @inline(__always)
  private func forEachToken(
    _ bytes: UnsafeBufferPointer<UInt8>, _ first: Int, _ end: Int, isSpelled: Bool,
    _ workspace: inout TokenizerWorkspace, _ body: (Int32, Int, Int) throws -> Void
  ) throws {
    let start = bytes.baseAddress! + first, length = end - first
    if length <= WordCache.mostBytes {
      let hash = byteHash(start, length)
      if let range = workspace.cache.find(start, length, hash) {
        for index in range {
          let token = workspace.cache.tokens[index]
          try body(token.id, first + Int(token.start), first + Int(token.end))
        }
        return
      }
      try tokenize(start, length, isSpelled, &workspace)
      workspace.cache.insert(start, length, hash, workspace.tokens[...])
    } else {
      try tokenize(start, length, isSpelled, &workspace)
    }
    for token in workspace.tokens {
      try body(token.id, first + Int(token.start), first + Int(token.end))
    }
  }

  /// Leaves the tokens of a piece in the workspace.
  private func tokenize(
    _ start: UnsafePointer<UInt8>, _ length: Int, _ isSpelled: Bool,
    _ workspace: inout TokenizerWorkspace
  ) throws {
    workspace.tokens.removeAll(keepingCapacity: true)
    guard isSpelled else {
      return try model.tokenize(
        UnsafeBufferPointer(start: start, count: length), into: &workspace.tokens,
        &workspace.scratch)
    }
    workspace.spelling.removeAll(keepingCapacity: true)
    for place in 0..<length {
      workspace.spelling.append(scalar: ByteAlphabet.scalars[Int(start[place])])
    }
    try workspace.spelling.withUnsafeBufferPointer { spelling in
      try model.tokenize(spelling, into: &workspace.tokens, &workspace.scratch)
      // Back to bytes: each character of the spelling is one.
      var place = 0, byte = 0
      func bytes(before end: Int) -> Int {
        while place < min(end, spelling.count) {
          place += scalarLength(spelling[place])
          byte += 1
        }
        return byte
      }
      for index in workspace.tokens.indices {
        let token = workspace.tokens[index]
        if Int(token.start) < place { (place, byte) = (0, 0) }
        workspace.tokens[index].start = UInt32(bytes(before: Int(token.start)))
        workspace.tokens[index].end = UInt32(bytes(before: Int(token.end)))
      }
    }
  }

  /// The ids of a text, without special tokens.
  func appendIDs(
    of text: [UInt8], to ids: inout [Int], _ workspace: inout TokenizerWorkspace
  ) throws {
    let split = try split(text)
    try split.text.bytes.withUnsafeBufferPointer { bytes in
      for piece in split.pieces {
        if piece.token >= 0 {
          ids.append(piece.token)
        } else {
          try forEachToken(bytes, piece, isSpelled: split.isSpelled, &workspace) { id, _, _ in
            ids.append(Int(id))
          }
        }
      }
    }
  }

  /// A text's encoding, without special tokens.
  func encoding(
    of text: [UInt8], typeID: Int, _ workspace: inout TokenizerWorkspace
  ) throws -> Encoding {
    let split = try split(text)
    var encoding = Encoding(names: self)
    let scalars = ScalarPlaces(text)
    let surfaceID = model.surfaceID
    let buffer = split.text
    var ids: [Int] = [], offsets: [Range<Int>] = [], words: [Int?] = []
    let guess = max(split.pieces.count + split.pieces.count / 4, text.count / 8)
    ids.reserveCapacity(guess)
    offsets.reserveCapacity(guess)
    words.reserveCapacity(guess)
    /// Tokens whose text is not that of their id.
    var surfaces: [(index: Int, text: [UInt8])] = []
    try buffer.bytes.withUnsafeBufferPointer { bytes in
      for (word, piece) in split.pieces.enumerated() {
        if piece.token >= 0 {
          surfaces.append((ids.count, Array(bytes[piece.start..<piece.end])))
          ids.append(piece.token)
          offsets.append(scalars.range(buffer.source(of: piece.start..<piece.end)))
          words.append(word)
          continue
        }
        try forEachToken(bytes, piece, isSpelled: split.isSpelled, &workspace) {
          id, start, end in
          // A model that leaves characters out counts too short.
          let range = min(start, piece.end)..<min(end, piece.end)
          if id == surfaceID {
            let surface = bytes[range]
            surfaces.append(
              (ids.count, split.isSpelled ? ByteAlphabet.spelled(surface) : Array(surface)))
          }
          ids.append(Int(id))
          offsets.append(scalars.range(buffer.source(of: range)))
          words.append(word)
        }
      }
    }
    encoding.ids = ids
    encoding.offsets = offsets
    encoding.wordIDs = words
    for surface in surfaces {
      encoding.note(String(decoding: surface.text, as: UTF8.self), at: surface.index)
    }
    encoding.complete(typeID: typeID)
    return encoding
  }
}

/// Which scalar of a text each of its bytes is of.
struct ScalarPlaces {
  /// Empty for ASCII, where each byte is a scalar.
  private var places: [UInt32] = []

  init(_ text: [UInt8]) {
    guard !text.isASCII else { return }
    places = [UInt32](unsafeUninitializedCapacity: text.count) { places, count in
      var scalar: UInt32 = 0
      for place in text.indices {
        if place > 0, text[place] & 0xc0 != 0x80 { scalar += 1 }
        places[place] = scalar
      }
      count = text.count
    }
  }

  /// The scalars of a range of bytes.
  @inline(__always) func range(_ bytes: Range<Int>) -> Range<Int> {
    guard !places.isEmpty, !bytes.isEmpty, bytes.upperBound <= places.count else { return bytes }
    return Int(places[bytes.lowerBound])..<Int(places[bytes.upperBound - 1]) + 1
  }
}
