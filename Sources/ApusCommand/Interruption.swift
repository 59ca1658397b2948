// Ctrl-C, a request to end, or a terminal that is gone during training: finish the step, save, leave.

import Foundation
import Synchronization

/// The user's wish to stop, after which what could be saved has been.
struct Interrupted: Error, CustomStringConvertible {
  /// SIGINT, SIGTERM or SIGHUP.
  var signal: Int32
  var description: String

  /// What shells expect of a process that a signal ended.
  var exitCode: Int32 { 128 + signal }
}

/// The signal that came, or 0.
private let received = Atomic<Int32>(0)

/// Signals as a wish that training asks for between steps.
enum Interruption {
  static func listen() {
    // A parent may block signals, and its children inherit that.
    var ours = sigset_t()
    sigemptyset(&ours)
    for number in [SIGINT, SIGTERM, SIGHUP] {
      // A run under nohup is one that wants to outlive its terminal.
      var action = sigaction()
      if number == SIGHUP, sigaction(number, nil, &action) == 0,
        action.__sigaction_handler.sa_handler.map({ unsafeBitCast($0, to: Int.self) }) == 1
      {
        continue
      }
      sigaddset(&ours, number)
      // All that a handler may do: set a flag, or leave at once the second time, when the first did
      // not help.
      Foundation.signal(number) { number in
        if received.exchange(number, ordering: .relaxed) != 0 { _exit(128 + number) }
      }
    }
    pthread_sigmask(SIG_UNBLOCK, &ours, nil)
  }

  /// The signal that has come, if any.
  static var signal: Int32? {
    let number = received.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }
}
