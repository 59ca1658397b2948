// `--memory-limit`: how much memory a compiled step may plan with, as the command line says it.

import Apus
import ArgumentParser

/// `150MiB`, `1.5GiB`, `200MB`, `4096`: a number of bytes.
struct ByteCount: ExpressibleByArgument {
  let bytes: Int

  private static let units = [
    "": 1.0, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 0x1p10,
    "MiB": 0x1p20, "GiB": 0x1p30, "TiB": 0x1p40,
  ]

  /// Nil for anything else, and for numbers of no use: less than a byte, or more than 2^53.
  init?(argument: String) {
    let digits = argument.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard let number = Double(digits),
      let unit = Self.units[String(argument.dropFirst(digits.count))],
      (1...0x1p53).contains(number * unit)
    else { return nil }
    bytes = Int(number * unit)
  }
}

/// The limit of memory, of commands that compile steps.
struct MemoryLimitOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Bytes for a step's intermediate values, such as 150MiB: what does not fit is computed again in backward, "
        + "to the same bits. Default: no limit.", valueName: "bytes"))
  var memoryLimit: ByteCount?
}
