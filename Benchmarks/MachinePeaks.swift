// What this machine can do at most, measured: the yardstick of all other figures.

import Apus
import CKernels
import Foundation

/// The machine's peaks for one number of threads and one instruction-set level.
package struct MachinePeaks: Sendable {
  /// Copying within one level of the memory hierarchy.
  package struct Copy: Sendable {
    /// `L1`, `L2`, `L3` or `memory`.
    package var level: String
    /// What one thread copies from, as large as what it copies to.
    package var bytes: Int
    /// Bytes read and written.
    package var gigabytesPerSecond: Double
    /// Bytes where they are read only, one copy's source after the other; nil where that was not measured.
    package var readGigabytesPerSecond: Double?
  }

  package var processor: String
  package var threads: Int
  package var isa: ISA
  /// Fused multiply-adds on float32, counted as two operations. (At `ref` products and sums.)
  package var gigaflops: Double
  /// Products of pairs of bf16 added to float32, four operations a lane; nil where the level has no such
  /// instruction.
  package var bf16Gigaflops: Double?
  package var copies: [Copy]

  /// Measures in about a second.
  ///
  /// - Throws: `resource` where the system gives no such team.
  package static func measured(threads: Int, isa: ISA) throws -> MachinePeaks {
    let team = try BenchmarkTeam(threads: threads)
    try team.takePlaces()
    defer { team.leavePlaces() }
    let sizes = MachineFacts.current.caches
    let last = sizes.last?.bytes ?? 1 << 20
    // A source and a target of a third of a cache each; caches after the first two are shared.
    var levels = sizes.enumerated().map { index, cache in
      (cache.name, cache.bytes / 3 / (index < 2 ? 1 : threads))
    }
    levels.append(("memory", max(4 * last / threads, 32 << 20)))
    return MachinePeaks(
      processor: MachineFacts.current.processor, threads: threads, isa: isa,
      gigaflops: team.multiplyAddGigaflops(isa), bf16Gigaflops: team.dotGigaflops(isa),
      copies: levels.map { level, bytes in
        let bytes = bytes / 4096 * 4096
        let last = level == "memory"
        return Copy(
          level: level, bytes: bytes,
          gigabytesPerSecond: team.copyGigabytes(isa, bytes: bytes, nontemporal: last),
          // As many bytes as a copy touches.
          readGigabytesPerSecond: team.readGigabytes(isa, bytes: last ? bytes : 2 * bytes))
      })
  }

  /// The copying speed of the smallest level that holds `bytes` in all.
  func copySpeed(forBytes bytes: Int) -> Double {
    let copy = copies.first { $0.bytes * 2 * threads >= bytes } ?? copies.last
    return copy?.gigabytesPerSecond ?? .nan
  }

  /// A line of `--json`.
  package var json: JSON {
    var line: [(String, JSON)] = [
      ("bench", "machine"), ("processor", .string(processor)), ("threads", .integer(threads)),
      ("isa", .string(isa.name)), ("gflops", .number(rounded(gigaflops))),
    ]
    if let bf16Gigaflops { line.append(("bf16_gflops", .number(rounded(bf16Gigaflops)))) }
    let speeds = copies.map { ($0.level, JSON.number(rounded($0.gigabytesPerSecond))) }
    let reading = copies.compactMap { copy in
      copy.readGigabytesPerSecond.map { (copy.level, JSON.number(rounded($0))) }
    }
    return .object(line + [("copy_gbps", .object(speeds)), ("reads", .object(reading))])
  }

  /// One line for people.
  package var summary: String {
    let copying = copies.map { "\($0.level) \(decimals($0.gigabytesPerSecond, 0))" }
    let reading = copies.compactMap { copy in
      copy.readGigabytesPerSecond.map { "\(copy.level) \(decimals($0, 0))" }
    }
    return "\(processor), \(threads) thread\(threads == 1 ? "" : "s"), \(isa.name): "
      + "\(decimals(gigaflops, 0)) GFLOPS"
      + (bf16Gigaflops.map { " (bf16 \(decimals($0, 0)))" } ?? "")
      + "; copies \(copying.joined(separator: ", ")) GB/s"
      + (reading.isEmpty ? "" : "; reads \(reading.joined(separator: ", ")) GB/s")
  }
}

extension BenchmarkTeam {
  fileprivate func multiplyAddGigaflops(_ isa: ISA) -> Double {
    let level = ck_isa(rawValue: UInt32(isa.rawValue))
    return gigaflops(ck_bench_fma(level)!, operations: 2 * ck_bench_fma_lanes(level))
  }

  fileprivate func dotGigaflops(_ isa: ISA) -> Double? {
    let level = ck_isa(rawValue: UInt32(isa.rawValue))
    return ck_bench_dot(level).map { gigaflops($0, operations: 4 * ck_bench_fma_lanes(level)) }
  }

  /// `operations`: those of a round of one thread.
  private func gigaflops(_ kernel: ck_kernel, operations: Int64) -> Double {
    let sink = AlignedMemory(byteCount: threads * 64)
    var arguments = ck_bench_fma_args(sink: sink.floats, rounds: 60_000, a: 0.5, b: 1)
    let best = fastest(of: 30) { run(kernel, &arguments) }
    return Double(operations) * Double(arguments.rounds) * Double(threads) / best / 1e9
  }

  fileprivate func readGigabytes(_ isa: ISA, bytes: Int) -> Double {
    let source = AlignedMemory(byteCount: bytes * threads)
    // Its first lines take the sums.
    let target = AlignedMemory(byteCount: bytes * threads)
    let kernel = ck_bench_read(ck_isa(rawValue: UInt32(isa.rawValue)))!
    var arguments = ck_bench_copy_args(
      target: target.address, source: source.address, bytes: Int64(bytes), stride: Int64(bytes),
      rounds: Int64(max(1, (8 << 20) / bytes)), nontemporal: 0)
    let time = fastest(of: bytes > 8 << 20 ? 4 : 12) { run(kernel, &arguments) }
    return Double(bytes * threads) * Double(arguments.rounds) / time / 1e9
  }

  /// The better of plain and, where asked for, non-temporal writes.
  fileprivate func copyGigabytes(_ isa: ISA, bytes: Int, nontemporal: Bool) -> Double {
    let source = AlignedMemory(byteCount: bytes * threads)
    let target = AlignedMemory(byteCount: bytes * threads)
    let kernel = ck_bench_copy(ck_isa(rawValue: UInt32(isa.rawValue)))!
    var best = Double.infinity
    for direct in nontemporal ? [0, 1] : [0] {
      var arguments = ck_bench_copy_args(
        target: target.address, source: source.address, bytes: Int64(bytes),
        stride: Int64(bytes), rounds: Int64(max(1, (8 << 20) / bytes)), nontemporal: Int32(direct))
      let time = fastest(of: nontemporal ? 4 : 12) { run(kernel, &arguments) }
      best = min(best, time / Double(arguments.rounds))
    }
    return 2 * Double(bytes * threads) / best / 1e9
  }
}
