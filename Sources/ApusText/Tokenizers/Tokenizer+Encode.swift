// Texts to tokens.

import ApusGraph

extension Tokenizer {
  /// A text as tokens.
  ///
  /// - `pair`: a second text, for models that see two.
  /// - `addSpecialTokens`: whether the post-processor's are put around it.
  /// - Throws: `missing` where the model has no token for what it does not know; `invalidArgument` where truncation
  ///   does not fit the texts; `resource` for a text of more than 2^30 bytes, and a pattern that goes on for ever.
  public func encode(
    _ text: String, pair: String? = nil, addSpecialTokens: Bool = true
  ) throws -> Encoding {
    try encode(Array(text.utf8), pair: pair.map { Array($0.utf8) }, addSpecialTokens)
  }

  /// Texts as tokens, each as ``encode(_:pair:addSpecialTokens:)`` gives it, and padded to one length where the padding
  /// goes by the longest.
  ///
  /// - `threads`: how many work on it; by default one for each processor. The result is the same for any number.
  /// - Throws: as ``encode(_:pair:addSpecialTokens:)``, for the first text that fails; `invalidArgument` for fewer than
  ///   one thread; `resource` where the system gives none.
  public func encodeBatch(
    _ texts: [String], addSpecialTokens: Bool = true, threads: Int? = nil
  ) throws -> [Encoding] {
    var encodings = try inParallel(texts, threads) { text, workspace in
      try self.encode(Array(text.utf8), pair: nil, addSpecialTokens, &workspace)
    }
    padding?.apply(to: &encodings)
    return encodings
  }

  /// Pairs of texts as tokens: see ``encodeBatch(_:addSpecialTokens:threads:)-([String],_,_)``.
  ///
  /// - Throws: likewise.
  public func encodeBatch(
    _ pairs: [(String, String)], addSpecialTokens: Bool = true, threads: Int? = nil
  ) throws -> [Encoding] {
    var encodings = try inParallel(pairs.map { TextPair(first: $0.0, second: $0.1) }, threads) {
      pair, workspace in
      try self.encode(
        Array(pair.first.utf8), pair: Array(pair.second.utf8), addSpecialTokens, &workspace)
    }
    padding?.apply(to: &encodings)
    return encodings
  }

  private struct TextPair: Sendable {
    let first, second: String
  }

  /// The ids of a text and nothing else, which takes about half the time. TokenTruncation and padding count.
  ///
  /// - Throws: as ``encode(_:pair:addSpecialTokens:)``.
  public func ids(of text: String, addSpecialTokens: Bool = true) throws -> [Int] {
    try core.workspaces.withWorkspace {
      try ids(of: Array(text.utf8), addSpecialTokens, &$0)
    }
  }

  /// The ids of texts: see ``ids(of:addSpecialTokens:)-(String,_)``.
  ///
  /// - `threads`: as of ``encodeBatch(_:addSpecialTokens:threads:)-([String],_,_)``.
  /// - Throws: likewise.
  public func ids(
    of texts: [String], addSpecialTokens: Bool = true, threads: Int? = nil
  ) throws -> [[Int]] {
    if case .longest? = padding?.length {
      return try encodeBatch(texts, addSpecialTokens: addSpecialTokens, threads: threads).map(\.ids)
    }
    return try inParallel(texts, threads) { text, workspace in
      try self.ids(of: Array(text.utf8), addSpecialTokens, &workspace)
    }
  }

  // MARK: Parts

  /// - `text`: valid UTF-8.
  package func encode(
    _ text: [UInt8], pair: [UInt8]?, _ addSpecialTokens: Bool
  ) throws -> Encoding {
    var encodings = [
      try core.workspaces.withWorkspace { try encode(text, pair: pair, addSpecialTokens, &$0) }
    ]
    padding?.apply(to: &encodings)
    return encodings[0]
  }

  private func encode(
    _ text: [UInt8], pair: [UInt8]?, _ addSpecialTokens: Bool, _ workspace: inout TokenizerWorkspace
  ) throws -> Encoding {
    var encodings = [try core.encoding(of: text, typeID: 0, &workspace)]
    if let pair { encodings.append(try core.encoding(of: pair, typeID: 1, &workspace)) }
    if let truncation {
      let added =
        addSpecialTokens ? core.postProcessor?.addedCount(isPair: pair != nil) ?? 0 : 0
      // A length that the special tokens alone exceed does not cut: so does the original.
      if truncation.maximumLength >= added {
        try truncation.apply(to: &encodings, limit: truncation.maximumLength - added)
      }
    }
    for index in encodings.indices {
      encodings[index].setSequence(index)
      encodings[index].setTypeID(index)
      for part in encodings[index].overflowing.indices {
        encodings[index].overflowing[part].setSequence(index)
      }
    }
    if let postProcessor = core.postProcessor {
      encodings = try postProcessor.apply(
        to: encodings, addingSpecials: addSpecialTokens, core)
    }
    guard var result = encodings.first else { return Encoding(names: core) }
    for other in encodings.dropFirst() {
      // Each part of one text is put together with each of the other.
      let parts = (result.overflowing.count + 1) * (other.overflowing.count + 1)
      guard parts <= Self.mostParts else {
        throw ApusError(
          .resource, "truncation makes \(parts) pairs of parts of two texts", at: "truncation",
          expected: "at most \(Self.mostParts): shorter texts, or a greater length")
      }
      result.append(other)
    }
    return result
  }

  /// The most parts of truncated texts.
  private static var mostParts: Int { 1 << 16 }

  /// - `text`: valid UTF-8.
  package func ids(of text: [UInt8], _ addSpecialTokens: Bool) throws -> [Int] {
    try core.workspaces.withWorkspace { try ids(of: text, addSpecialTokens, &$0) }
  }

  private func ids(
    of text: [UInt8], _ addSpecialTokens: Bool, _ workspace: inout TokenizerWorkspace
  ) throws -> [Int] {
    // Lengths are the affair of encodings.
    let around = addSpecialTokens ? idsAround : IDsAround()
    guard truncation == nil, padding == nil, let around else {
      var encodings = [try encode(text, pair: nil, addSpecialTokens, &workspace)]
      padding?.apply(to: &encodings)
      return encodings[0].ids
    }
    var ids = around.before
    ids.reserveCapacity(text.count / 4)
    try core.appendIDs(of: text, to: &ids, &workspace)
    return ids + around.after
  }

  /// The special tokens before and behind one text; nil where the text does not stand between them once.
  private var idsAround: IDsAround? {
    core.postProcessor.map { $0.idsAround } ?? IDsAround()
  }

  /// Does something with each element, on several threads.
  private func inParallel<Element: Sendable, Result: Sendable>(
    _ elements: [Element], _ threads: Int?,
    _ body: @escaping @Sendable (Element, inout TokenizerWorkspace) throws -> Result
  ) throws -> [Result] {
    let pool = core.workspaces
    return try parallelMap(elements.count, threads: threads) { range in
      try pool.withWorkspace { workspace in
        try range.map { try body(elements[$0], &workspace) }
      }
    }
  }
}
