// The file of `apus train --gradient-norms`.

import Apus
import ApusBenchmarks

/// What was measured of gradients so far, and the picture or the numbers of it.
final class GradientFile {
  static let endings = [".svg", ".json"]

  private let path: String
  private let title: String
  private var history: [(step: Int, report: GradientReport)] = []

  /// - Throws: `io` where the file cannot be written: before hours of training, not after.
  init(_ path: String, title: String) throws {
    self.path = path
    self.title = title
    try AtomicFile.checkWritable(path)
  }

  func add(_ step: Int, _ report: GradientReport) { history.append((step, report)) }

  /// - Throws: `io` where the file cannot be written.
  func write() throws {
    let plot = GradientPlot(title: title, history)
    try AtomicFile.write(path.hasSuffix(".json") ? plot.json.text + "\n" : plot.svg, to: path)
  }
}
