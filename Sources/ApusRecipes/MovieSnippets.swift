// Sentences of film reviews and what readers made of them, of the Python package vaderSentiment's source archive (Hutto &
// Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text").
//
//     number TAB mean of the ratings, -4 to 4 TAB text

import Apus
import Foundation

/// A sentence, and whether it is for or against the film.
struct MovieSnippet: Equatable {
  var text: String
  var isPositive: Bool
}

enum MovieSnippets {
  static let file = "movieReviewSnippets_GroundTruth.txt"
  private static let place = "hutto_ICWSM_2014"
  /// Means nearer to zero are no judgement.
  private static let least = 0.5

  /// Four sentences of five, and the fifth. What stands there twice counts once.
  ///
  /// - Throws: `io` naming the package where the file is not there; as ``parse(_:path:)``.
  static func read(
    _ options: RecipeOptions
  ) throws -> (training: [MovieSnippet], test: [MovieSnippet]) {
    let variable = ProcessInfo.processInfo.environment["APUS_MOVIE_SNIPPETS"] ?? ""
    let folder = options.data ?? (variable.isEmpty ? place : variable)
    let path = "\(folder)/\(file)"
    guard FileManager.default.fileExists(atPath: path) else {
      throw ApusError(
        .io, "the snippets of film reviews are not there: no file \(file)", at: folder,
        expected: "the folder \(place) of the archive of that name in the source of the Python "
          + "package vaderSentiment: 'pip download --no-deps --no-binary :all: "
          + "vaderSentiment==3.3.2' and unpack both here, or --data, or APUS_MOVIE_SNIPPETS")
    }
    let all = try parse(TextFile.contents(path, expected: "sentences with ratings"), path: path)
    let numbered = all.enumerated()
    return (
      numbered.filter { $0.offset % 5 != 4 }.map(\.element),
      numbered.filter { $0.offset % 5 == 4 }.map(\.element)
    )
  }

  /// The sentences that are for or against.
  ///
  /// - Throws: `invalidFile` with the line where it has other columns, no text, or a rating that is none; for a file with
  ///   fewer than ten sentences, or of one kind.
  static func parse(_ text: String, path: String) throws -> [MovieSnippet] {
    var snippets: [MovieSnippet] = []
    var seen: Set<String> = []
    // (A line's end of two characters is one in Swift.)
    let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
    for (place, line) in lines.enumerated() where !line.isEmpty {
      func mistake(_ what: String, _ expected: String) -> ApusError {
        ApusError(.invalidFile, what, at: "\(path), line \(place + 1)", expected: expected)
      }
      let columns = line.split(separator: "\t", omittingEmptySubsequences: false)
      guard columns.count == 3, columns[2].contains(where: { !$0.isWhitespace }) else {
        throw mistake(
          "the line has \(columns.count) columns",
          "a number, a rating and a text, with tabs between")
      }
      guard let rating = Double(columns[1]), (-4...4).contains(rating) else {
        throw mistake("the rating is '\(columns[1].prefix(20))'", "-4 to 4")
      }
      let text = String(columns[2])
      guard abs(rating) >= least, seen.insert(text).inserted else { continue }
      snippets.append(MovieSnippet(text: text, isPositive: rating > 0))
    }
    let positive = snippets.count(where: \.isPositive)
    guard snippets.count >= 10, positive > 0, positive < snippets.count else {
      throw ApusError(
        .invalidFile, "\(snippets.count) sentences, \(positive) of them for the film", at: path,
        expected: "ten at least, of both kinds")
    }
    return snippets
  }

  /// Classes as the recipes count them: 0 against, 1 for.
  static func labels(_ snippets: [MovieSnippet]) throws -> NDArray {
    try NDArray(
      checking: snippets.map { Int32($0.isPositive ? 1 : 0) }, shape: [snippets.count])
  }

  /// Batches of sequences and classes.
  ///
  /// - `most`: what stands behind so many tokens is left out.
  static func batches(
    _ tokens: [[Int]], _ snippets: [MovieSnippet], _ batch: Int, most: Int
  ) throws -> LengthBatches {
    // A text of no tokens is one unknown token.
    let rows = tokens.map { $0.isEmpty ? [0] : Array($0.prefix(most)) }
    let longest = rows.map(\.count).max() ?? 1
    let lengths = [12, 20, 28, 36, 48, 64, 96, 128].filter { $0 < min(longest, most) }
    return try SequenceDataset(
      ["tokens": .tokens(rows)], fixed: ["labels": labels(snippets)]
    ).batched(batch, lengths: lengths + [min(longest, most)])
  }

  /// Shows what a model makes of a few sentences, from all over them: the probability that each is for the film.
  ///
  /// - `probability`: of a sentence, by its place.
  static func show(
    _ snippets: [MovieSnippet], _ run: RecipeRun, _ probability: (Int) throws -> Double
  ) throws {
    var lines = ["for the film | it is | held out"]
    for place in stride(from: 0, to: snippets.count, by: max(1, (snippets.count + 7) / 8)) {
      let percent = Int((100 * (try probability(place))).rounded())
      let snippet = snippets[place]
      lines.append(
        "\(percent) % | \(snippet.isPositive ? "for" : "against") | \(snippet.text.prefix(90))")
    }
    run.tell(lines.joined(separator: "\n"))
  }
}

/// The numbers of words, from 1 in the order of texts that have them twice; 0 for all others.
struct SnippetWords {
  private let numbers: [String: Int]
  var count: Int { numbers.count + 1 }

  init(_ texts: [String]) {
    var order: [String] = []
    var found: [String: Int] = [:]
    for word in texts.flatMap(Self.words) {
      if found[word] == nil { order.append(word) }
      found[word, default: 0] += 1
    }
    var numbers: [String: Int] = [:]
    for word in order where found[word]! > 1 { numbers[word] = numbers.count + 1 }
    self.numbers = numbers
  }

  subscript(text: String) -> [Int] { Self.words(text).map { numbers[$0] ?? 0 } }

  /// Runs of letters, digits and apostrophes, in lower case.
  static func words(_ text: String) -> [String] {
    text.lowercased().split { !($0.isLetter || $0.isNumber || $0 == "'") }.map(String.init)
  }
}

/// Logistic regression on which words a text has: what a network is compared with.
struct BagOfWords: Module {
  let weights: Embedding
  let bias = Parameter([1], .zeros)

  init(words: Int) { weights = Embedding(words, 1, initializer: .zeros) }

  /// Integers `[n, t]`, the different words of each text, and `[n]`, how many they are → `[n]` logits.
  func callAsFunction(_ words: Tensor, lengths: Tensor) -> Tensor {
    let place = Tensor.arange(to: Double(words.shape[1])).expandingDims(at: 0)
    let isThere = place .< lengths.cast(to: .i32).expandingDims(at: 1)
    return `where`(isThere, weights(words)[0, axis: 2], 0).sum(axis: 1) + bias.tensor
  }

  /// The fraction of texts whose sign it tells, after it has learnt from others.
  static func accuracy(
    _ training: [MovieSnippet], _ test: [MovieSnippet], compile: CompileOptions
  ) throws -> Double {
    let numbers = SnippetWords(training.map(\.text))
    func batches(_ snippets: [MovieSnippet]) throws -> LengthBatches {
      let rows = snippets.map { Array(Set(numbers[$0.text])).sorted() }
      return try MovieSnippets.batches(rows, snippets, 64, most: 128)
    }
    // Not tuned. On such words scikit-learn's LogisticRegression, with C from 0.1 to 3, is right in 79 to 80 %.
    let trainer = try Trainer(
      BagOfWords(words: numbers.count), optimizer: AdamW(learningRate: 5e-3, weightDecay: 0.1),
      compile: compile
    ) { model, batch in
      let logits = model(batch.tokens, lengths: batch.lengths)
      let labels = batch.labels.cast(to: .f32)
      batch.report("accuracy", ((logits .> 0).cast(to: .f32) .== labels).cast(to: .f32).mean())
      return bceWithLogits(logits, labels)
    }
    try trainer.fit(try batches(training), epochs: 10, callbacks: [])
    return try trainer.evaluate(try batches(test))["accuracy"] ?? .nan
  }
}
