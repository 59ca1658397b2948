// Writing to the standard streams, which may be gone.

import Foundation

/// Standard output and standard error as the system has them, without a buffer and without a trap.
package enum StandardStream {
  /// Writes all of a text.
  ///
  /// - `descriptor`: `STDOUT_FILENO` or `STDERR_FILENO`.
  /// - Returns: 0, or the system's error where it could not be written: the stream is closed, the disk is full,
  ///   or nobody reads any more.
  package static func write(_ text: String, to descriptor: Int32) -> Int32 {
    var text = text
    return text.withUTF8 { bytes in
      var done = 0
      while done < bytes.count {
        let count = systemWrite(descriptor, bytes.baseAddress! + done, bytes.count - done)
        if count > 0 {
          done += count
        } else if count < 0 && errno == EAGAIN {
          // Somebody else has made the stream one that does not wait.
          var place = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          _ = poll(&place, 1, -1)
        } else if count == 0 || errno != EINTR {
          return count == 0 ? EIO : errno
        }
      }
      return 0
    }
  }
}

/// The system's, whose name is also that of the functions here.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}

/// Standard error as a place for what is good to know and no reason to end.
package enum StandardError {
  /// Writes text.
  ///
  /// - Returns: false where it could not be written: the disk is full, or nobody reads any more.
  @discardableResult
  package static func write(_ text: String) -> Bool {
    StandardStream.write(text, to: STDERR_FILENO) == 0
  }

  /// The width of the terminal that it is; nil where it is none, or the terminal does not tell.
  package static var columns: Int? {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
    return Int(size.ws_col)
  }

  /// Writes a line that warns, below a bar that stands on a terminal.
  @discardableResult
  package static func warn(_ text: String) -> Bool {
    write("\(isatty(STDERR_FILENO) == 1 ? "\n" : "")warning: \(text)\n")
  }
}
