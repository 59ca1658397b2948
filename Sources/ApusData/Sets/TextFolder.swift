// Texts in a folder for each class, as sentiments and topics are often kept.

import ApusGraph

/// Texts with a class each, from a folder of a folder for each class.
///
///     // reviews/neg/0_2.txt, reviews/neg/…, reviews/pos/…
///     let reviews = try TextFolder("reviews")
///     print(reviews.classNames, reviews.count)                          // ["neg", "pos"] 25000
///     let data = try reviews.sequences { tokenizer.ids(of: $0) }        // tokens and labels
///     let batches = try data.truncated(to: 256).batched(32, lengths: [64, 128, 256])
///
/// Classes are the folders in the order of their bytes, and texts their files, those of folders within them too.
public struct TextFolder: Sendable {
  public let classNames: [String]
  public let texts: [String]
  /// Places in ``classNames``.
  public let labels: [Int]
  /// Where each text was read.
  public let paths: [String]

  public var count: Int { texts.count }

  /// - `suffix`: of the files that count, upper or lower case.
  /// - `limit`: the most bytes of all texts; nil stands for a fifth of the free memory. A file may have 2^26.
  /// - Throws: `io` where a folder or a file cannot be read, `missing` without folders or for a folder without texts,
  ///   `invalidFile` with the byte offset where a text is no UTF-8, `resource` where a text, or all of them, are larger
  ///   than may be.
  public init(_ root: String, suffix: String = ".txt", limit: Int? = nil) throws {
    let limit = try MemoryLimit(limit ?? MemoryLimit.available / 5)
    let folders = try ClassFolders(root, suffixes: [suffix.lowercased()])
    var texts: [String] = []
    var size = 0
    for path in folders.paths {
      let text = try TextFile.contents(path)
      size += text.utf8.count + MemoryLayout<String>.size
      try limit.check(size, for: "the texts so far", at: path)
      texts.append(text)
    }
    classNames = folders.classNames
    labels = folders.labels
    paths = folders.paths
    self.texts = texts
  }

  /// The texts as sequences of tokens: a set with `tokens` i32[length] and `labels` i32[].
  ///
  /// - `tokens`: the numbers of a text's tokens, one at least.
  /// - Throws: what `tokens` throws; `invalidArgument` naming a text without a token.
  public func sequences(_ tokens: (String) throws -> [Int]) throws -> SequenceDataset {
    try SequenceDataset(
      ["tokens": .tokens(texts.map(tokens))],
      fixed: ["labels": NDArray(checking: labels.map { Int32($0) }, shape: [count])])
  }
}
