// The parts of a tokenizer at work: from bytes to tokens.

import ApusGraph
import Synchronization

/// Memory that encoding uses again and again; of one thread at a time.
final class TokenizerWorkspace {
  let cache = WordCache()
  var scratch = ModelScratch()
  var tokens: [ModelToken] = []
  var spelling: [UInt8] = []
}

/// Workspaces that nobody uses at the moment. Their caches are right for one model.
final class WorkspacePool: Sendable {
  private struct Free: @unchecked Sendable {
    var workspaces: [TokenizerWorkspace] = []
  }

  private let free = Mutex(Free())

  /// - Throws: what the body throws.
  func withWorkspace<T>(_ body: (TokenizerWorkspace) throws -> T) rethrows -> T {
    let workspace = free.withLock { $0.workspaces.popLast() } ?? TokenizerWorkspace()
    defer {
      nonisolated(unsafe) let returned = workspace
      free.withLock { $0.workspaces.append(returned) }
    }
    return try body(workspace)
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
    addedNames = try added.tokens.mapValues { token in
      guard token.isNormalized, let normalizer else { return token.content }
      var text = TextBuffer(Array(token.content.utf8))
      try normalizer.apply(to: &text)
      return String(decoding: text.bytes, as: UTF8.self)
    }
  }

  /// The same with other added tokens.
  func with(_ added: AddedVocabulary) throws -> TokenizerCore {
    try TokenizerCore(
      normalizer: normalizer, preTokenizer: preTokenizer, model: model,
      postProcessor: postProcessor, decoder: decoder, added: added, workspaces: workspaces)
  }

  func name(_ id: Int) -> String? { addedNames[id] ?? model.vocabulary.token(of: id) }

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

  /// Calls for each token of a piece; places are those of the piece.
  @inline(__always)
  func forEachToken(
    _ bytes: UnsafeBufferPointer<UInt8>, _ piece: Piece, isSpelled: Bool,
    _ workspace: TokenizerWorkspace, _ body: (ModelToken) throws -> Void
  ) throws {
    let start = bytes.baseAddress! + piece.start, length = piece.end - piece.start
    guard length <= WordCache.mostBytes else {
      try tokenize(start, length, isSpelled, workspace)
      for token in workspace.tokens { try body(token) }
      return
    }
    let hash = byteHash(start, length)
    if let range = workspace.cache.find(start, length, hash) {
      for index in range { try body(workspace.cache.tokens[index]) }
      return
    }
    try tokenize(start, length, isSpelled, workspace)
    workspace.cache.insert(start, length, hash, workspace.tokens[...])
    for token in workspace.tokens { try body(token) }
  }

  /// Leaves the tokens of a piece in the workspace.
  private func tokenize(
    _ start: UnsafePointer<UInt8>, _ length: Int, _ isSpelled: Bool,
    _ workspace: TokenizerWorkspace
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
    of text: [UInt8], to ids: inout [Int], _ workspace: TokenizerWorkspace
  ) throws {
    let split = try split(text)
    try split.text.bytes.withUnsafeBufferPointer { bytes in
      for piece in split.pieces {
        if piece.token >= 0 {
          ids.append(piece.token)
        } else {
          try forEachToken(bytes, piece, isSpelled: split.isSpelled, workspace) {
            ids.append(Int($0.id))
          }
        }
      }
    }
  }

  /// A text's encoding, without special tokens.
  func encoding(
    of text: [UInt8], typeID: Int, _ workspace: TokenizerWorkspace
  ) throws -> Encoding {
    let split = try split(text)
    var encoding = Encoding(names: self, reserving: text.count / 4)
    let scalars = ScalarPlaces(text)
    let surfaceID = model.surfaceID
    let buffer = split.text
    try buffer.bytes.withUnsafeBufferPointer { bytes in
      for (word, piece) in split.pieces.enumerated() {
        if piece.token >= 0 {
          encoding.ids.append(piece.token)
          encoding.offsets.append(scalars.range(buffer.source(of: piece.start..<piece.end)))
          encoding.wordIDs.append(word)
          encoding.note(
            String(decoding: bytes[piece.start..<piece.end], as: UTF8.self),
            at: encoding.ids.count - 1)
          continue
        }
        try forEachToken(bytes, piece, isSpelled: split.isSpelled, workspace) { token in
          let start = piece.start + Int(token.start)
          let end = min(piece.start + Int(token.end), piece.end)
          encoding.ids.append(Int(token.id))
          encoding.offsets.append(scalars.range(buffer.source(of: min(start, end)..<end)))
          encoding.wordIDs.append(word)
          if token.id == surfaceID {
            let surface = bytes[min(start, end)..<end]
            encoding.note(
              String(
                decoding: split.isSpelled ? ByteAlphabet.spelled(surface) : Array(surface),
                as: UTF8.self), at: encoding.ids.count - 1)
          }
        }
      }
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
