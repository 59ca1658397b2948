// `apus bench`: measurements, each a subcommand; the measuring itself is in Benchmarks/.

import Apus
import ApusBenchmarks
import ArgumentParser

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure kernels and training steps.",
    discussion: """
      Times are medians of many repetitions after warming up; the machine's peaks, which fractions refer \
      to, are measured in the same run. With --peers PyTorch and JAX run the same, in turns with ours, in \
      the Python that APUS_PEERS_PYTHON names. Docs/Benchmarks.md says what the columns mean.
      """,
    subcommands: [
      BenchGEMMCommand.self, BenchConvolutionCommand.self, BenchAttentionCommand.self,
      BenchRecurrentCommand.self,
      BenchMemoryCommand<ElementwiseBench>.self,
      BenchMemoryCommand<ReduceBench>.self, BenchMemoryCommand<NormBench>.self,
      BenchMemoryCommand<SoftmaxBench>.self, BenchMemoryCommand<PoolBench>.self,
      BenchMemoryCommand<OptimizerBench>.self,
      BenchTrainCommand.self, BenchInputCommand.self, BenchTokenizerCommand.self,
      BenchGenerateCommand.self, BenchEmbedCommand.self, BenchProcessesCommand.self,
      BenchCompareCommand.self, BenchReportCommand.self,
    ])
}

/// What all measurements take.
struct MeasuringOptions: ParsableArguments {
  @OptionGroup var execution: ExecutionOptions

  @Option(help: "About how long each side of each case is timed.")
  var seconds = 1.0

  @Flag(help: "Run the same in PyTorch and JAX, in turns with ours.")
  var peers = false

  @Option(
    name: .customLong("peer"),
    help: "One of them alone, repeatable: torch, torch-nhwc, torch-compile or jax.")
  var peer: [Peer] = []

  /// The peers that run.
  var chosenPeers: [Peer] { peers ? Peer.allCases : Peer.allCases.filter(peer.contains) }

  func validate() throws {
    guard seconds > 0, seconds <= 86400 else {
      throw ValidationError(
        "--seconds is \(seconds): a number above 0 and at most 86400 is expected.")
    }
  }

  /// - Throws: `invalidArgument` for an environment variable that makes no sense.
  func settings(json: Bool) throws -> BenchmarkOptions {
    try execution.warnOfManyThreads()
    return BenchmarkOptions(
      threads: try execution.threadCount.count, isa: try execution.level.isa,
      precision: execution.compileOptions.precision, seconds: seconds, json: json,
      colour: Output.hasColour, peers: chosenPeers,
      print: { line in
        // The benchmarks do not throw for output: what cannot be written ends the process.
        do { try Output.line(line) } catch {
          guard error is Output.ReaderIsGone else { ApusCommand.leave("\(error)", 1) }
          ApusCommand.exit(withError: ExitCode.failure)
        }
      })
  }
}

/// What the benchmarks of one family take.
struct BenchOptions: ParsableArguments {
  @OptionGroup var measuring: MeasuringOptions

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  @Option(
    help: ArgumentHelp(
      "Tell what got slower or faster since the run that wrote these JSON lines; ends with 1 where "
        + "something got slower.", valueName: "file"),
    transform: results)
  var compare: BenchmarkFile?

  @Option(help: ArgumentHelp("Draw the roofline to this SVG file.", valueName: "file"))
  var roofline: String?

  /// Measures, then draws and compares as asked.
  ///
  /// - Throws: what measuring throws; `io` where the picture cannot be written, before measuring.
  func measure(
    _ title: String, _ body: (BenchmarkOptions) throws -> BenchmarkOutcome
  ) throws {
    let settings = try measuring.settings(json: json)
    if let roofline { try AtomicFile.checkWritable(roofline) }
    let outcome = try body(settings)
    if let roofline {
      try AtomicFile.write(Roofline(outcome, title: title).svg, to: roofline)
    }
    guard let compare else { return }
    let now = try BenchmarkFile(name: "this run", lines: outcome.lines)
    try BenchmarkComparison(old: compare, new: now).tell(json: json)
  }

  @Sendable static func results(_ path: String) throws -> BenchmarkFile {
    do { return try BenchmarkFile(path: path) } catch let error as ApusError {
      throw ValidationError("\(error)")
    }
  }
}

extension BenchmarkComparison {
  /// Prints it; ends with 1 where something got slower.
  func tell(json: Bool) throws {
    if json {
      for line in lines { try Output.line(line) }
    } else {
      for line in text(colour: Output.hasColour) { try Output.line(line) }
    }
    if hasSlower { throw ExitCode.failure }
  }
}

extension Peer: ExpressibleByArgument {}
extension GEMMTranspose: ExpressibleByArgument {}
extension GEMMSet: ExpressibleByArgument {}

struct BenchGEMMCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gemm", abstract: "Measure matrix products.")

  @Option(
    name: .customLong("shape"),
    help: "MxNxK, or BxMxNxK for a batch; repeatable. Default: the training workloads' shapes.",
    transform: shape)
  var shapes: [GEMMShape] = []

  @Option(
    help: "A list of shapes: usual (the default) or odd (small, tall, wide, thin, batches, …).")
  var set: GEMMSet?

  @Flag(
    help: "Pack the second operand beforehand, as weights are once a step; the raw kernel does it.")
  var packed = false

  @Flag(help: "Call the raw kernel, without a compiled graph around it.")
  var kernel = false

  @Option(
    help: """
      Which operand lies transposed in memory, first and second: nn, nt, tn or tt. Default: nn, and \
      as the list says.
      """)
  var transpose: GEMMTranspose?

  @OptionGroup var options: BenchOptions

  func run() throws {
    let set = set ?? (shapes.isEmpty ? .usual : nil)
    let cases = ((set?.products ?? []) + shapes.map { ($0, .nn) }).map {
      BenchmarkCase.gemm(
        $0.shape, transpose: transpose ?? $0.transpose, packed: packed, raw: kernel,
        precision: options.measuring.execution.compileOptions.precision)
    }
    let title =
      "Matrix products\(packed ? ", B packed beforehand" : "")"
      + (kernel || packed ? ", the raw kernel" : "")
    try options.measure(title) { try runBenchmarks(cases, title: title, options: $0) }
  }

  @Sendable private static func shape(_ text: String) throws -> GEMMShape {
    do { return try GEMMShape(text) } catch {
      throw ValidationError("'\(text)' is not a shape: \(GEMMShape.expectation) is expected.")
    }
  }
}

/// A family of memory-bound operations as a type, for its command.
protocol MemoryBench: Sendable {
  static var family: MemoryFamily { get }
  static var abstract: String { get }
}

enum ElementwiseBench: MemoryBench {
  static let family = MemoryFamily.eltwise
  static let abstract = "Measure elementwise chains."
}

enum ReduceBench: MemoryBench {
  static let family = MemoryFamily.reduce
  static let abstract = "Measure sums and maxima over rows, columns and all."
}

enum NormBench: MemoryBench {
  static let family = MemoryFamily.norm
  static let abstract = "Measure normalisation of rows and its gradient."
}

enum SoftmaxBench: MemoryBench {
  static let family = MemoryFamily.softmax
  static let abstract = "Measure softmax, cross-entropy and their gradients."
}

enum PoolBench: MemoryBench {
  static let family = MemoryFamily.pool
  static let abstract = "Measure pooling of images and its gradients."
}

enum OptimizerBench: MemoryBench {
  static let family = MemoryFamily.optimizer
  static let abstract = "Measure the optimisers' updates of one parameter."
}

struct BenchMemoryCommand<Bench: MemoryBench>: ParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: Bench.family.rawValue, abstract: Bench.abstract,
      discussion:
        "Operations: \(Bench.family.operations.map(\.name).joined(separator: ", ")).")
  }

  @Argument(help: "The operations. Default: all.", transform: named)
  var operations: [MemoryOperation] = []

  @Option(
    name: .customLong("shape"),
    help:
      "Elements or ROWSxCOLUMNS, of images NxHxWxC; repeatable. Default: one for each level of the caches, and beyond.",
    transform: shape)
  var shapes: [Shape] = []

  @OptionGroup var options: BenchOptions

  func run() throws {
    let family = Bench.family
    let operations = self.operations.isEmpty ? family.operations : self.operations
    let shapes = self.shapes.isEmpty ? family.usualShapes : self.shapes
    let cases = try operations.flatMap { operation in
      try shapes.map { try BenchmarkCase.memory(operation, $0) }
    }
    try options.measure(family.title) {
      try runBenchmarks(cases, title: family.title, options: $0)
    }
  }

  @Sendable private static func named(_ name: String) throws -> MemoryOperation {
    do { return try Bench.family.operation(name) } catch let error as ApusError {
      throw ValidationError("\(error.what); \(error.expected ?? "") are there.")
    }
  }

  @Sendable private static func shape(_ text: String) throws -> Shape {
    do { return try Bench.family.shape(text) } catch let error as ApusError {
      throw ValidationError("\(error.what): \(error.expected ?? "") is expected.")
    }
  }
}
