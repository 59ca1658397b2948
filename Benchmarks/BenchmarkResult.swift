// What a benchmark found: for the table, as JSON lines, as points of the roofline.

import Apus

/// The roof over a case: the speed that the machine's peaks allow it.
///
/// Williams, Waterman and Patterson 2009, "Roofline: An Insightful Visual Performance Model for
/// Multicore Architectures".
package struct Roof: Sendable, Hashable {
  /// `FMA`, `bf16`, or the level of memory, such as `L2`.
  package var name: String
  /// The operations per nanosecond that it allows.
  package var gigaflops: Double

  /// The lower of two: what the processor computes at that precision, and what the level of memory that
  /// holds all the bytes copies, times the operations per byte. `reads`: next to nothing is written, so
  /// that where reading alone is slower than copying it is the limit.
  init(
    _ peaks: MachinePeaks, precision: Precision, flops: Double, bytes: Double, reads: Bool = false
  ) {
    let computing = peaks.computing(precision)
    let copying = peaks.copying(bytes: bytes)
    var speed = copying.gigabytesPerSecond
    if reads, let reading = copying.readGigabytesPerSecond { speed = min(speed, reading) }
    let limit = flops / bytes * speed
    self =
      limit < computing.gigaflops ? Roof(name: copying.level, gigaflops: limit) : computing
  }

  init(name: String, gigaflops: Double) {
    self.name = name
    self.gigaflops = gigaflops
  }
}

extension MachinePeaks {
  /// The peak of arithmetic that products of that precision are measured by.
  package func computing(_ precision: Precision) -> Roof {
    if precision.usesBF16, let bf16Gigaflops {
      return Roof(name: "bf16", gigaflops: bf16Gigaflops)
    }
    return Roof(name: "FMA", gigaflops: gigaflops)
  }

  /// Copying in the smallest level that holds `bytes` in all.
  func copying(bytes: Double) -> Copy {
    copies.first { Double($0.bytes * 2 * threads) >= bytes } ?? copies[copies.count - 1]
  }
}

extension Precision {
  /// Whether products are of bf16 operands.
  var usesBF16: Bool { self == .mixed }
}

/// A point of the roofline.
package struct RooflinePoint: Sendable, Hashable {
  package var label: String
  /// Points of one group have one colour.
  package var group: String
  /// Operations a byte.
  package var intensity: Double
  package var gigaflops: Double
  /// What the machine allows it.
  package var roof: Roof

  var fraction: Double { gigaflops / roof.gigaflops }
}

/// What one run of benchmarks found.
package struct BenchmarkOutcome: Sendable {
  package var peaks: MachinePeaks
  /// The lines of `--json`: the machine's, ours and the peers'.
  package var lines: [JSON]
  /// Ours.
  package var points: [RooflinePoint]
  package var precision: Precision
  /// `torch` and `2.9.0`.
  package var peerVersions: [(name: String, version: String)] = []
}

/// One case's figures.
struct BenchmarkResult {
  let test: BenchmarkCase
  let kernel: String
  let timing: Timing
  let peers: [(name: String, timing: Timing)]
  let roof: Roof
  let options: BenchmarkOptions

  private func gigaflops(_ timing: Timing) -> Double { test.flops / timing.median / 1e9 }

  private func gigabytes(_ timing: Timing) -> Double { test.bytes / timing.median / 1e9 }

  var point: RooflinePoint {
    RooflinePoint(
      label: test.label ?? test.name,
      group: test.bench == "gemm" ? "gemm" : String(test.name.prefix { $0 != " " }),
      intensity: test.intensity, gigaflops: gigaflops(timing), roof: roof)
  }

  private func speed(_ timing: Timing) -> [(String, JSON)] {
    [
      ("threads", .integer(options.threads)), ("ms", .number(rounded(timing.median * 1e3))),
      ("gflops", .number(rounded(gigaflops(timing)))),
      ("gbps", .number(rounded(gigabytes(timing)))),
      ("peak_fraction", .number(rounded(gigaflops(timing) / roof.gigaflops))),
    ]
  }

  /// Ours, then one line for each peer.
  var lines: [JSON] {
    let head: [(String, JSON)] = [
      ("bench", .string(test.bench)), ("case", .string(test.name)),
      ("precision", .string(options.precision.rawValue)),
    ]
    let tail = [("peak", JSON.string(roof.name))] + test.settings
    let ours =
      head + [("isa", .string(options.isa.name)), ("kernel", .string(kernel))] + speed(timing)
      + timing.spread + tail
    return [.object(ours)]
      + peers.map { peer in
        let ratio = ("ratio", JSON.number(rounded(peer.timing.median / timing.median)))
        return .object(
          head + [("peer", .string(peer.name))] + speed(peer.timing) + [ratio]
            + peer.timing.spread + tail)
      }
  }

  static func table(for cases: [BenchmarkCase], peers: [String], colour: Bool) -> Table {
    let widest = cases.map { ($0.label ?? $0.name).count }.max() ?? 0
    return Table(
      [
        ("case", widest), ("ms", 7), ("GFLOPS", 7), ("GB/s", 6), ("% of peak", 5), ("peak", 6),
      ] + peers.map { ($0, 5) }, colour: colour)
  }

  var cells: [Cell] {
    let fraction = gigaflops(timing) / roof.gigaflops
    return [
      Cell(test.label ?? test.name), Cell(significant(timing.median * 1e3)),
      Cell(decimals(gigaflops(timing), 1)), Cell(decimals(gigabytes(timing), 1)),
      Cell(percent(fraction), CellColour(fraction: fraction)), Cell(roof.name, .faint),
    ]
      + peers.map { peer in
        let ratio = peer.timing.median / timing.median
        return Cell("\(significant(ratio))x", CellColour(ratio: ratio))
      }
  }
}

extension Timing {
  /// The members of a JSON line that `--compare` needs.
  var spread: [(String, JSON)] {
    [
      ("p25_ms", .number(rounded(lowerQuartile * 1e3))),
      ("p75_ms", .number(rounded(upperQuartile * 1e3))), ("runs", .integer(repetitions)),
    ]
  }
}
