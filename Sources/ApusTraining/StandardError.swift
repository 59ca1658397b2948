// Writing to standard error, which may be gone.

import Foundation

/// Standard error as a place for what is good to know and no reason to end.
enum StandardError {
  /// Writes text.
  ///
  /// - Returns: false where it could not be written: the disk is full, or nobody reads any more.
  @discardableResult
  static func write(_ text: String) -> Bool {
    (try? FileHandle.standardError.write(contentsOf: Data(text.utf8))) != nil
  }
}
