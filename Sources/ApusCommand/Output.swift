// Standard output, which carries results alone: text for people, or one JSON object a line.

import Apus
import Foundation

/// The version that `apus --version` and `apus info` tell.
let apusVersion = "0.1.0"

/// Writes to standard output at once, so that a reader can follow.
enum Output {
  /// Standard output has been closed: there is nobody to tell.
  struct ReaderIsGone: Error {}

  static func write(_ text: String) throws {
    do {
      try FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    } catch {
      throw errno == EPIPE
        ? ReaderIsGone()
        : ApusError(.io, "cannot write the results: \(error.localizedDescription)", at: "stdout")
    }
  }

  /// Whether a reader sees colours: a terminal that takes them and a user who wants them.
  static var hasColour: Bool {
    let environment = ProcessInfo.processInfo.environment
    return isatty(STDOUT_FILENO) == 1 && (environment["NO_COLOR"] ?? "").isEmpty
      && environment["TERM"] != "dumb"
  }

  static func line(_ text: String) throws { try write(text + "\n") }

  static func line(_ value: JSON) throws { try line(value.text) }
}
