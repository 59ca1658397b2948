// Standard output, which carries results alone: text for people, or one JSON object a line.

import Apus
import Foundation

/// The version that `apus --version` and `apus info` tell.
let apusVersion = "0.1.0"

/// Writes to standard output at once, so that a reader can follow.
enum Output {
  /// Standard output has been closed: there is nobody to tell.
  struct ReaderIsGone: Error, CustomStringConvertible {
    var description: String { "cannot write the results: nobody reads standard output any more" }
  }

  static func write(_ text: String) throws {
    let code = StandardStream.write(text, to: STDOUT_FILENO)
    guard code != 0 else { return }
    if code == EPIPE { throw ReaderIsGone() }
    throw ApusError(.io, "cannot write the results: \(reason(code))", at: "standard output")
  }

  private static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }

  /// Whether a reader sees colours: a terminal that takes them and a user who wants them.
  static var hasColour: Bool {
    let environment = ProcessInfo.processInfo.environment
    return isatty(STDOUT_FILENO) == 1 && (environment["NO_COLOR"] ?? "").isEmpty
      && environment["TERM"] != "dumb"
  }

  static func line(_ text: String) throws { try write(text + "\n") }

  static func line(_ value: JSON) throws { try line(value.text) }
}

/// The lines of a run that goes on where they cannot be written.
final class RunOutput {
  private var failure: (any Error)?

  /// Writes a line, unless one before could not be written.
  func line(_ text: String) {
    guard failure == nil else { return }
    do { try Output.line(text) } catch { failure = error }
  }

  func line(_ value: JSON) { line(value.text) }

  /// - `rest`: what the user has all the same.
  /// - Throws: `io` where a line could not be written.
  func requireWritten(_ rest: String) throws {
    guard let failure else { return }
    let what = (failure as? ApusError)?.what ?? "\(failure)"
    throw ApusError(.io, "\(what); \(rest)", at: "standard output")
  }
}
