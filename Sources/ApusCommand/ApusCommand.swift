// The command line's root: the list of commands, and how errors leave the process.

import Apus
import ArgumentParser
import Foundation

@main
struct ApusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apus", abstract: "Train neural networks on Linux CPUs.",
    discussion: """
      Exit codes: 0 for success, 64 for an option or argument that makes no sense, 130 after Ctrl-C (143 \
      after SIGTERM, 129 after a hang-up), 1 for everything else. Messages go to standard error; standard \
      output carries results alone. Messages that cannot be written are left out; results that cannot be \
      written are an error, after all files have been written.
      """,
    version: apusVersion,
    subcommands: [
      TrainCommand.self, EvaluateCommand.self, PredictCommand.self, ExportCommand.self,
      ExplainCommand.self, CompareCommand.self, TokenizeCommand.self, EmbedCommand.self,
      GenerateCommand.self,
      DumpCommand.self, BenchCommand.self, InfoCommand.self,
    ])

  /// Usage errors end with 64 and the usage on standard error; everything else that goes wrong ends with
  /// 1 and one message there.
  static func main() {
    Surroundings.prepare()
    do {
      let arguments = TrainCommand.completed(Array(CommandLine.arguments.dropFirst()))
      var command = try parseAsRoot(arguments)
      try command.run()
      ProcessLaunch.end()
    } catch let error as ApusError {
      leave("\(error)", 1)
    } catch let stop as Interrupted {
      leave(stop.description, stop.exitCode)
    } catch let gone as Output.ReaderIsGone {
      ProcessLaunch.abort(gone.description, 1)
      Foundation.exit(1)
    } catch {
      guard exitCode(for: error) == .success else {
        ProcessLaunch.abort(fullMessage(for: error), exitCode(for: error).rawValue)
        exit(withError: error)
      }
      // Help and version are results, too.
      do { try Output.line(fullMessage(for: error)) } catch { leave("\(error)", 1) }
      Foundation.exit(0)
    }
  }

  /// Ends the process with a message.
  static func leave(_ text: String, _ code: Int32) -> Never {
    ProcessLaunch.abort("apus: \(text)", code)
    StandardError.write("apus: \(text)\n")
    Foundation.exit(code)
  }
}
