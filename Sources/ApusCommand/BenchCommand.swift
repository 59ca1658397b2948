// `apus bench`: measurements, each a subcommand; the measuring itself is in Benchmarks/.

import Apus
import ApusBenchmarks
import ArgumentParser

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure kernels and training steps.",
    discussion: """
      Times are medians of many repetitions after warming up. With --peers PyTorch and JAX run the same, \
      in turns with ours, in the Python that APUS_PEERS_PYTHON names.
      """,
    subcommands: [
      BenchGEMMCommand.self, BenchElementwiseCommand.self, BenchTrainCommand.self,
    ])
}

/// What all benchmarks take.
struct BenchOptions: ParsableArguments {
  @OptionGroup var execution: ExecutionOptions

  @Option(help: "About how long each side of each case is timed.")
  var seconds = 2.0

  @Flag(help: "Run the same in PyTorch and JAX, in turns with ours.")
  var peers = false

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  func validate() throws {
    guard seconds > 0, seconds.isFinite else {
      throw ValidationError("--seconds is \(seconds): a finite number above 0 is expected.")
    }
  }

  /// - Throws: `invalidArgument` for an environment variable that makes no sense.
  func settings() throws -> BenchmarkOptions {
    BenchmarkOptions(
      threads: try execution.threadCount.count, isa: try execution.level.isa,
      precision: execution.compileOptions.precision, seconds: seconds, json: json, peers: peers,
      print: { line in
        // The benchmarks do not throw for output; a reader that is gone ends the process.
        do { try Output.line(line) } catch { ApusCommand.exit(withError: ExitCode.failure) }
      })
  }
}

extension GEMMTranspose: ExpressibleByArgument {}

struct BenchGEMMCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gemm", abstract: "Measure matrix products.")

  @Option(
    name: .customLong("shape"), help: "MxNxK, repeatable. Default: the training workloads' shapes.",
    transform: shape)
  var shapes: [GEMMShape] = []

  @Flag(help: "Pack the second operand beforehand, as weights are once a step.")
  var packed = false

  @Option(help: "Which operand lies transposed in memory: nn, nt or tn.")
  var transpose = GEMMTranspose.nn

  @OptionGroup var options: BenchOptions

  func run() throws {
    try benchmarkGEMM(
      shapes: shapes.isEmpty ? GEMMShape.usual : shapes, transpose: transpose, packed: packed,
      options: try options.settings())
  }

  @Sendable private static func shape(_ text: String) throws -> GEMMShape {
    do { return try GEMMShape(text) } catch {
      throw ValidationError("'\(text)' is not a shape: MxNxK is expected, as in 2048x1536x384.")
    }
  }
}

struct BenchElementwiseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eltwise", abstract: "Measure elementwise chains and row reductions.")

  @Argument(help: "The cases. Default: all.", transform: named)
  var cases: [ElementwiseCase] = []

  @Option(name: .customLong("elements"), help: "Elements of a tensor, repeatable.")
  var sizes: [Int] = []

  @OptionGroup var options: BenchOptions

  func validate() throws {
    if let size = sizes.first(where: { $0 < 1 || $0 > 1 << 30 }) {
      throw ValidationError("--elements is \(size): 1 to \(1 << 30) is expected.")
    }
  }

  func run() throws {
    let settings = try options.settings()
    let cases = self.cases.isEmpty ? ElementwiseCase.all : self.cases
    if sizes.isEmpty {
      try benchmarkElementwise(cases, options: settings)
    } else {
      try benchmarkElementwise(cases, elements: sizes, options: settings)
    }
  }

  @Sendable private static func named(_ name: String) throws -> ElementwiseCase {
    do { return try ElementwiseCase.named(name) } catch let error as ApusError {
      throw ValidationError("\(error.what); \(error.expected ?? "") are there.")
    }
  }
}
