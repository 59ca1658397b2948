// What texts are searched for: a text, a regular expression, or one of those expressions that are known.

import ApusGraph
import CText

/// A part of a text, which a pattern matched or did not.
struct PatternMatch: Hashable, Sendable {
  var range: Range<Int>
  var isMatch: Bool
}

/// What a text is searched for.
enum Pattern: Sendable {
  case literal([UInt8])
  case regex(Regex)
  /// An expression that is done by hand.
  case known(KnownPattern, source: String)

  /// A regular expression, by hand where it is known.
  ///
  /// - Throws: `invalidFile` for one that does not compile.
  static func expression(_ source: String, at place: String) throws -> Pattern {
    if let known = KnownPattern(expression: source) { return .known(known, source: source) }
    return .regex(try Regex(source, at: place))
  }

  /// The parts of a text in order, matched and not; together they are the text.
  ///
  /// - Throws: `resource` where a search is given up.
  func matches(in text: [UInt8]) throws -> [PatternMatch] {
    try text.withUnsafeBufferPointer { try matches(in: $0, 0..<$0.count) }
  }

  /// The parts of a range of a text, which is searched as if it were all.
  func matches(
    in text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>
  ) throws -> [PatternMatch] {
    guard !range.isEmpty, let start = text.baseAddress else { return [] }
    var result: [PatternMatch] = []
    var last = range.lowerBound
    func found(_ match: Range<Int>) {
      if last != match.lowerBound {
        result.append(PatternMatch(range: last..<match.lowerBound, isMatch: false))
      }
      result.append(PatternMatch(range: match, isMatch: true))
      last = match.upperBound
    }
    switch self {
    case .literal(let literal):
      guard let first = literal.first else { break }
      var place = range.lowerBound
      while place + literal.count <= range.upperBound {
        if text[place] == first,
          literal.withUnsafeBufferPointer({ literal in
            (1..<max(literal.count, 1)).allSatisfy { text[place + $0] == literal[$0] }
          })
        {
          found(place..<place + literal.count)
          place += literal.count
        } else {
          place += 1
        }
      }
    case .regex(let regex): try regex.search(text, range, found)
    case .known(let known, _):
      var place = range.lowerBound
      while place < range.upperBound {
        let end = known.end(start, from: place, to: range.upperBound)
        found(place..<end)
        place = end
      }
    }
    if last != range.upperBound {
      result.append(PatternMatch(range: last..<range.upperBound, isMatch: false))
    }
    return result
  }

  /// As `tokenizer.json` has it.
  var json: JSON {
    switch self {
    case .literal(let bytes): .object([("String", .string(String(decoding: bytes, as: UTF8.self)))])
    case .regex(let regex): .object([("Regex", .string(regex.source))])
    case .known(_, let source): .object([("Regex", .string(source))])
    }
  }
}

/// A compiled regular expression: Oniguruma's syntax.
final class Regex: @unchecked Sendable {
  let source: String
  private let compiled: OpaquePointer
  /// Longer ones are refused.
  private static let mostBytes = 1 << 16

  /// - Throws: `invalidFile` for one that does not compile.
  init(_ source: String, at place: String) throws {
    self.source = source
    let bytes = Array(source.utf8)
    guard bytes.count <= Self.mostBytes else {
      throw ApusError(
        .invalidFile, "the pattern has \(bytes.count) bytes", at: place,
        expected: "at most \(Self.mostBytes)")
    }
    var message = [CChar](repeating: 0, count: Int(text_regex_message_length))
    guard let compiled = text_regex_make(bytes, bytes.count, &message) else {
      let reason = message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
      throw ApusError(
        .invalidFile,
        "the pattern '\(source)' does not compile: \(String(decoding: reason, as: UTF8.self))",
        at: place, expected: "a regular expression of Oniguruma's")
    }
    self.compiled = compiled
  }

  deinit { text_regex_free(compiled) }

  /// Tells all matches in a range of a text, from left to right and without overlaps.
  ///
  /// - Throws: `resource` where the search is given up.
  func search(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ found: (Range<Int>) -> Void
  ) throws {
    guard let base = text.baseAddress, let search = text_regex_search_make() else {
      throw ApusError(.resource, "no memory to search a text", expected: "memory")
    }
    defer { text_regex_search_free(search) }
    let start = base + range.lowerBound
    var from = 0
    var last = -1
    while from <= range.count {
      var first = 0, end = 0
      switch text_regex_find(compiled, search, start, range.count, from, &first, &end) {
      case 1: break
      case 0: return
      default:
        throw ApusError(
          .resource, "the search for '\(source)' was given up after many retries",
          expected: "a pattern that does not go back and forth over a text")
      }
      // An empty match right behind another is none, and the search goes on a scalar further.
      if first != end || first != last {
        found(range.lowerBound + first..<range.lowerBound + end)
        last = end
      }
      from = first == end ? (end < range.count ? end + scalarLength(start[end]) : end + 1) : end
    }
  }
}
