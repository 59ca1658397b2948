// The command line's root: the list of commands, and how errors leave the process.

import Apus
import ArgumentParser
import Foundation

@main
struct ApusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apus", abstract: "Train neural networks on Linux CPUs.",
    subcommands: [TrainCommand.self])

  /// Usage errors end with 64 and the usage on standard error; everything else that goes wrong ends with
  /// 1 and one message there. Standard output carries results alone.
  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as ApusError {
      FileHandle.standardError.write(Data("apus: \(error)\n".utf8))
      Foundation.exit(1)
    } catch let stop as Interrupted {
      FileHandle.standardError.write(Data("\napus: \(stop)\n".utf8))
      Foundation.exit(130)
    } catch {
      exit(withError: error)
    }
  }
}

/// The user's wish to stop, after which what could be saved has been.
struct Interrupted: Error, CustomStringConvertible {
  var description: String
}
