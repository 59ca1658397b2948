// What this machine can do at most, measured: the yardstick of all other figures.

import Apus
import CKernels
import Foundation

/// The machine's peaks for one number of threads and one instruction-set level.
public struct MachinePeaks: Sendable {
  /// Copying within one level of the memory hierarchy.
  public struct Copy: Sendable {
    /// `L1`, `L2`, `L3` or `memory`.
    public var level: String
    /// What one thread copies from, as large as what it copies to.
    public var bytes: Int
    /// Bytes read and written.
    public var gigabytesPerSecond: Double
  }

  public var processor: String
  public var threads: Int
  public var isa: ISA
  /// Fused multiply-adds on float32, counted as two operations. (At `ref` products and sums.)
  public var gigaflops: Double
  public var copies: [Copy]

  /// Measures in about half a second.
  ///
  /// - Throws: `resource` where the system gives no such team.
  public static func measured(threads: Int, isa: ISA) throws -> MachinePeaks {
    let team = try BenchmarkTeam(threads: threads)
    let sizes = cacheSizes()
    let last = sizes.last?.bytes ?? 1 << 20
    // A source and a target of a third of a cache each; caches after the first two are shared.
    var levels = sizes.enumerated().map { index, cache in
      (cache.name, cache.bytes / 3 / (index < 2 ? 1 : threads))
    }
    levels.append(("memory", max(4 * last / threads, 32 << 20)))
    return MachinePeaks(
      processor: processorName(), threads: threads, isa: isa,
      gigaflops: team.multiplyAddGigaflops(isa),
      copies: levels.map { level, bytes in
        let bytes = bytes / 4096 * 4096
        return Copy(
          level: level, bytes: bytes,
          gigabytesPerSecond: team.copyGigabytes(
            isa, bytes: bytes, nontemporal: level == "memory"))
      })
  }

  /// The copying speed of the smallest level that holds `bytes` in all.
  func copySpeed(forBytes bytes: Int) -> Double {
    let copy = copies.first { $0.bytes * 2 * threads >= bytes } ?? copies.last
    return copy?.gigabytesPerSecond ?? .nan
  }

  var json: JSON {
    .object([
      ("bench", "machine"), ("processor", .string(processor)), ("threads", .integer(threads)),
      ("isa", .string(isa.name)), ("gflops", .number(rounded(gigaflops))),
      (
        "copy_gbps",
        .object(copies.map { ($0.level, .number(rounded($0.gigabytesPerSecond))) })
      ),
    ])
  }

  /// One line for people.
  public var summary: String {
    let copying = copies.map { "\($0.level) \(decimals($0.gigabytesPerSecond, 0))" }
    return "\(processor), \(threads) thread\(threads == 1 ? "" : "s"), \(isa.name): "
      + "\(decimals(gigaflops, 0)) GFLOPS; copies \(copying.joined(separator: ", ")) GB/s"
  }
}

/// A team for kernels that are timed without a plan.
final class BenchmarkTeam {
  private let team: OpaquePointer
  let threads: Int

  init(threads: Int, scratchBytes: Int = 0) throws {
    guard let team = ck_team_create(Int32(threads), scratchBytes) else {
      throw ApusError(.resource, "the system gives no team of \(threads) threads")
    }
    self.team = team
    self.threads = threads
  }

  deinit { ck_team_destroy(team) }

  /// Runs one kernel on all threads.
  func run(_ kernel: ck_kernel, _ arguments: UnsafeRawPointer) {
    var step = ck_step(kernel: kernel, args: arguments, threads: 0, barrier: 1)
    ck_run(team, &step, 1)
  }

  fileprivate func multiplyAddGigaflops(_ isa: ISA) -> Double {
    let level = ck_isa(rawValue: UInt32(isa.rawValue))
    let sink = AlignedMemory(byteCount: threads * 64)
    var arguments = ck_bench_fma_args(
      sink: sink.floats, rounds: 200_000, a: 0.5, b: 1)
    let kernel = ck_bench_fma(level)!
    let best = fastest(of: 30) { run(kernel, &arguments) }
    let lanes = Double(ck_bench_fma_lanes(level))
    return 2 * lanes * Double(arguments.rounds) * Double(threads) / best / 1e9
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

/// Zeroed memory on a page boundary.
final class AlignedMemory {
  let address: UnsafeMutableRawPointer
  let byteCount: Int

  init(byteCount: Int) {
    self.byteCount = byteCount
    address = .allocate(byteCount: max(byteCount, 64), alignment: 4096)
    address.initializeMemory(as: UInt8.self, repeating: 0, count: max(byteCount, 64))
  }

  deinit { address.deallocate() }

  var floats: UnsafeMutablePointer<Float> { address.assumingMemoryBound(to: Float.self) }

  /// Fills with numbers between -1 and 1.
  func fillRandomly(seed: UInt64) {
    var state = seed &* 2 &+ 1
    for index in 0..<byteCount / 4 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      floats[index] = Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-31
    }
  }
}

/// The least seconds of several tries, after one that does not count.
func fastest(of count: Int, _ body: () -> Void) -> Double {
  body()
  return (0..<count).reduce(.infinity) { best, _ in min(best, seconds(body)) }
}

private func processorName() -> String {
  guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8) else {
    return "unknown processor"
  }
  let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
  return line.flatMap { $0.split(separator: ":").last }.map {
    $0.trimmingCharacters(in: .whitespaces)
  } ?? "unknown processor"
}

/// The data caches of processor 0, smallest first.
private func cacheSizes() -> [(name: String, bytes: Int)] {
  (0..<8).compactMap { index -> (name: String, bytes: Int)? in
    let folder = "/sys/devices/system/cpu/cpu0/cache/index\(index)/"
    func read(_ name: String) -> String? {
      (try? String(contentsOfFile: folder + name, encoding: .utf8))?
        .trimmingCharacters(in: .whitespacesAndNewlines)
    }
    guard let type = read("type"), type != "Instruction", let level = read("level"),
      let size = read("size"), let number = Int(size.prefix { $0.isNumber })
    else { return nil }
    let unit = size.hasSuffix("M") ? 1 << 20 : size.hasSuffix("K") ? 1 << 10 : 1
    return ("L\(level)", number * unit)
  }.sorted { $0.bytes < $1.bytes }
}
