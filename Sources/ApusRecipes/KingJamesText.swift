// The King James Bible as characters, for the recipes that learn it.

import Apus
import Foundation

/// A recipe that learns the text in windows of so many characters, and the character behind each.
protocol KingJamesRecipes: SupervisedRecipe {
  static var length: RecipeOption<Int> { get }
}

extension KingJamesRecipes {
  func fields(_ options: RecipeOptions) -> [RandomField] {
    ["tokens", "next"].map {
      RandomField(
        $0, [options.batch, options[Self.length]], .integers(below: CharacterText.count))
    }
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let length = options[Self.length]
    let (training, test) = try KingJamesText.read(options, length: length)
    func windows(_ tokens: [UInt8]) -> TokenWindows<UInt8> {
      TokenWindows(tokens: tokens, length: length)
    }
    return RecipeData(
      training: try windows(training).batched(options.batch),
      validation: try windows(test).batched(options.batch))
  }
}

/// The text, and what counting its letters tells.
enum KingJamesText {
  private static let place = "/usr/share/sword/modules/texts/ztext/engKJV2006eb"

  /// The first nineteen twentieths, and the last.
  ///
  /// - `length`: characters that are read at once.
  /// - Throws: `io` where the text is not there, `invalidFile` where it is too short.
  static func read(
    _ options: RecipeOptions, length: Int
  ) throws -> (training: [UInt8], test: [UInt8]) {
    let folder = folder(options.data)
    let tokens = CharacterText.tokens(try verses(in: folder).joined(separator: "\n") + "\n")
    guard tokens.count > 40 * length else {
      throw ApusError(
        .invalidFile, "the text has \(tokens.count) characters", at: folder,
        expected: "more than \(40 * length), to learn from and to be judged by")
    }
    let end = tokens.count / 20 * 19
    return (Array(tokens[..<end]), Array(tokens[end...]))
  }

  /// Where the text is looked for.
  ///
  /// - `chosen`: the user's own folder.
  static func folder(_ chosen: String? = nil) -> String {
    let variable = ProcessInfo.processInfo.environment["APUS_KING_JAMES"] ?? ""
    return chosen ?? (variable.isEmpty ? place : variable)
  }

  /// - Throws: `io` where the text is not there, `invalidFile` where it is damaged.
  static func verses(in folder: String) throws -> [String] {
    guard FileManager.default.fileExists(atPath: folder + "/ot.bzz") else {
      throw ApusError(
        .io, "the King James Bible is not there: no file ot.bzz", at: folder,
        expected: "the Debian package sword-text-kjv ('apt install sword-text-kjv'), or --data, "
          + "or APUS_KING_JAMES")
    }
    return try SwordText(contentsOf: folder).verses
  }

  /// What counting letters would take.
  static func counted(_ training: [UInt8], _ test: [UInt8]) -> [RecipeOutcome.Figure] {
    (0...1).map { order in
      RecipeOutcome.Figure(
        order == 0 ? "bits by single letters" : "bits by pairs of letters",
        CharacterText.bits(of: test, after: training, order: order))
    } + [CharacterText.smoothed(test, after: training)]
  }
}
