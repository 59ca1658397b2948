// What the operating system tells of the machine.

import Apus
import CKernels
import Foundation

/// The processor, its caches and what runs on it.
///
///     print(MachineFacts.current.processor)   // AMD EPYC
package struct MachineFacts: Sendable {
  /// A data cache of one processor.
  package struct Cache: Sendable {
    /// `L1`, `L2`, `L3`.
    package var name: String
    package var bytes: Int
  }

  package var processor: String
  package var processorsOnline: Int
  /// Smallest first.
  package var caches: [Cache]
  /// Bytes of main memory.
  package var memory: Int
  /// The kernel's setting for transparent huge pages: `always`, `madvise`, `never` or `unknown`.
  package var hugePages: String
  /// Such as `Linux 6.1.0`, without what a distribution adds.
  package var system: String
  /// What compiled the C kernels, such as `Clang 21.0.0`.
  package var compiler: String

  /// This machine, as it is now. What the system does not tell is `unknown` or 0.
  package static var current: MachineFacts {
    let modes = firstLine("/sys/kernel/mm/transparent_hugepage/enabled") ?? ""
    let mode = modes.split(separator: " ").first { $0.hasPrefix("[") }
    return MachineFacts(
      processor: processorName, processorsOnline: sysconf(CInt(_SC_NPROCESSORS_ONLN)),
      caches: dataCaches,
      memory: sysconf(CInt(_SC_PHYS_PAGES)) * sysconf(CInt(_SC_PAGESIZE)),
      hugePages: mode.map { String($0.dropFirst().dropLast()) } ?? "unknown",
      system: "Linux \(numbered(firstLine("/proc/sys/kernel/osrelease") ?? "unknown"))",
      compiler: compilerName)
  }

  private static func firstLine(_ path: String) -> String? {
    (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n").first.map(
      String.init)
  }

  /// `6.1.0` of `6.1.0-13-amd64`.
  private static func numbered(_ release: String) -> String {
    release.prefixMatch(of: /\d+(\.\d+)*/).map { String($0.0) } ?? release
  }

  private static var compilerName: String {
    let text = String(cString: ck_bench_compiler())
    return text.firstMatch(of: /Clang \d+(\.\d+)*/).map { String($0.0) } ?? text
  }

  private static var processorName: String {
    let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
    let name = line?.split(separator: ":").last?.trimmingCharacters(in: .whitespaces)
    return name ?? "unknown processor"
  }

  /// The data caches of processor 0.
  private static var dataCaches: [Cache] {
    (0..<8).compactMap { index -> Cache? in
      let folder = "/sys/devices/system/cpu/cpu0/cache/index\(index)/"
      guard let type = firstLine(folder + "type"), type != "Instruction",
        let level = firstLine(folder + "level"), let size = firstLine(folder + "size"),
        let number = Int(size.prefix { $0.isNumber })
      else { return nil }
      let unit = size.hasSuffix("M") ? 1 << 20 : size.hasSuffix("K") ? 1 << 10 : 1
      return Cache(name: "L\(level)", bytes: number * unit)
    }.sorted { $0.bytes < $1.bytes }
  }
}
