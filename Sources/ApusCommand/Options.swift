// Options that several commands share.

import Apus
import ArgumentParser
import Foundation

/// Which kernels run, and on how many threads.
struct ExecutionOptions: ParsableArguments {
  @Option(
    help: "Threads, 1 to 1024. Default: APUS_THREADS, OMP_NUM_THREADS, or what the machine grants.")
  var threads: Int?

  @Option(help: "Kernel level: ref, avx2, avx512 or what `apus info` lists. Default: the best.")
  var isa: String?

  @Option(
    help: """
      Arithmetic of matrix products: highest (as f32), high (errors near 2^-16 where that is faster) \
      or mixed (operands rounded to bf16 where that is faster). Default: highest, or what a \
      configuration says.
      """)
  var precision: String?

  func validate() throws {
    if let threads, !(1...Environment.mostThreads).contains(threads) {
      throw ValidationError(
        "--threads is \(threads): a number from 1 to \(Environment.mostThreads) is expected.")
    }
    if let isa, !Environment.availableISAs.contains(where: { $0.name == isa }) {
      let names = Environment.availableISAs.map(\.name).joined(separator: ", ")
      throw ValidationError("--isa is '\(isa)': this machine has \(names).")
    }
    if let precision, Precision(rawValue: precision) == nil {
      let names = Precision.allCases.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("--precision is '\(precision)': one of \(names) is expected.")
    }
  }

  /// The size of the team and where it comes from.
  ///
  /// - Throws: `invalidArgument` for an environment variable that is no number of threads.
  var threadCount: ThreadCount {
    get throws {
      try threads.map { ThreadCount($0, source: "--threads") } ?? ThreadCount.standard()
    }
  }

  /// Says once where there are more threads than processors: they wait for each other at every barrier.
  ///
  /// - Throws: as ``threadCount``.
  func warnOfManyThreads() throws {
    let (threads, budget) = (try threadCount, ProcessorBudget.current)
    guard threads.count > budget.processors else { return }
    StandardError.warn(
      "\(threads.count) threads (\(threads.source)) on \(budget.processors) processors "
        + "(\(budget.source)): fewer are faster, and give the same bits")
  }

  /// The level of the kernels and where it comes from.
  ///
  /// - Throws: `invalidArgument` or `unsupported` for an APUS_ISA that this machine does not have.
  var level: (isa: ISA, source: String) {
    get throws {
      if let level = compileOptions.isa { return (level, "--isa") }
      let isSet = !(ProcessInfo.processInfo.environment["APUS_ISA"] ?? "").isEmpty
      return (try Environment.current.isa(), isSet ? "APUS_ISA" : "the processor")
    }
  }

  var compileOptions: CompileOptions {
    var options = CompileOptions()
    options.threads = threads
    // `validate` has refused all other names.
    options.precision = precision.flatMap { Precision(rawValue: $0) } ?? .highest
    options.isa = isa.flatMap { name in Environment.availableISAs.first { $0.name == name } }
    return options
  }
}
