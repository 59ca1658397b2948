// The command line's root: the list of commands, and how errors leave the process.

import Apus
import ArgumentParser
import Foundation

@main
struct ApusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apus", abstract: "Train neural networks on Linux CPUs.",
    discussion: """
      Exit codes: 0 for success, 64 for an option or argument that makes no sense, 130 after Ctrl-C, 1 \
      for everything else. Messages go to standard error; standard output carries results alone.
      """,
    version: apusVersion,
    subcommands: [
      TrainCommand.self, DumpCommand.self, BenchCommand.self, InfoCommand.self,
    ])

  /// Usage errors end with 64 and the usage on standard error; everything else that goes wrong ends with
  /// 1 and one message there.
  static func main() {
    // A reader that goes away (`apus dump … | head`) is an error of writing, not a death.
    signal(SIGPIPE, SIG_IGN)
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as ApusError {
      complain("\(error)")
      Foundation.exit(1)
    } catch let stop as Interrupted {
      complain(stop.description)
      Foundation.exit(stop.exitCode)
    } catch is Output.ReaderIsGone {
      Foundation.exit(1)
    } catch {
      exit(withError: error)
    }
  }

  private static func complain(_ text: String) {
    FileHandle.standardError.write(Data("apus: \(text)\n".utf8))
  }
}
