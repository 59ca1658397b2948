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

  @Option(help: "Arithmetic of matrix products: highest.")
  var precision = "highest"

  func validate() throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads is \(threads): a number from 1 to 1024 is expected.")
    }
    if let isa, !Environment.availableISAs.contains(where: { $0.name == isa }) {
      let names = Environment.availableISAs.map(\.name).joined(separator: ", ")
      throw ValidationError("--isa is '\(isa)': this machine has \(names).")
    }
    guard precision == "highest" else {
      throw ValidationError("--precision is '\(precision)': this version has 'highest' only.")
    }
  }

  var compileOptions: CompileOptions {
    var options = CompileOptions()
    options.threads = threads
    options.isa = isa.flatMap { name in Environment.availableISAs.first { $0.name == name } }
    return options
  }
}

/// What the bundled models are called on the command line.
enum BundledModel: String, CaseIterable, ExpressibleByArgument {
  case fashionMNIST = "fashion-mnist"
}
