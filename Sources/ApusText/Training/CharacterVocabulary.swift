// Characters as tokens: small vocabularies that need no merges.

import ApusGraph

/// A token for each Unicode scalar of some texts, for models that read letter by letter.
///
///     let vocabulary = CharacterVocabulary(texts: ["hello"])
///     vocabulary.count                    // 5: unknown, e, h, l, o
///     vocabulary.encode("hole")           // [2, 4, 3, 1]
///     try vocabulary.decode([2, 4, 3, 1]) // "hole"
///
/// Id 0 stands for scalars that the vocabulary lacks; the others have ids from 1 on in the order of their numbers.
public struct CharacterVocabulary: Sendable, Hashable {
  /// The characters by their ids, from 1 on.
  public let characters: [Unicode.Scalar]
  private let ids: [Unicode.Scalar: Int]

  /// The scalars of texts.
  ///
  /// - `minimumFrequency`: scalars that stand less often in all texts are left out.
  public init(texts: some Sequence<String>, minimumFrequency: Int = 1) {
    var counts: [Unicode.Scalar: Int] = [:]
    for text in texts { for scalar in text.unicodeScalars { counts[scalar, default: 0] += 1 } }
    self.init(counts.filter { $0.value >= minimumFrequency }.keys)
  }

  /// These scalars; repeated ones count once.
  public init(_ characters: some Sequence<Unicode.Scalar>) {
    self.characters = Set(characters).sorted()
    ids = Dictionary(uniqueKeysWithValues: self.characters.enumerated().map { ($1, $0 + 1) })
  }

  /// The number of ids, that of unknown scalars included.
  public var count: Int { characters.count + 1 }

  /// The id of each scalar of a text.
  public func encode(_ text: String) -> [Int] { text.unicodeScalars.map { ids[$0] ?? 0 } }

  /// The text of ids; U+FFFD for 0.
  ///
  /// - Throws: `outOfRange` for an id beyond the vocabulary.
  public func decode(_ ids: [Int]) throws -> String {
    var text = String.UnicodeScalarView()
    for (index, id) in ids.enumerated() {
      guard (0..<count).contains(id) else {
        throw ApusError(
          .outOfRange, "the id \(id) is no character's", at: "ids[\(index)]",
          expected: "0 to \(count - 1)")
      }
      text.append(id == 0 ? "\u{fffd}" : characters[id - 1])
    }
    return String(text)
  }
}
