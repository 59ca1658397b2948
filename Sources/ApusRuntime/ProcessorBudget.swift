// How many processors this process may really use: its affinity mask, and the quotas of the control
// groups that it lives in.
//
// A container that is given two processors' time on a 64-processor host sees all 64; 64 threads there
// would be stopped for most of every period.

import ApusGraph
import CKernels
import Foundation
import Synchronization

/// The processors that a process may use, and what sets the bound.
package struct ProcessorBudget: Sendable, Hashable {
  package var processors: Int
  /// "processor affinity" or "control group quota".
  package var source: String

  /// How many processes that train together may use the processors of this one.
  private static let sharers = Mutex(1)

  /// Notes how many processes that train together, this one among them, may use the same processors.
  package static func share(with processes: Int) { sharers.withLock { $0 = max(processes, 1) } }

  /// The budget of this process, as it is now.
  package static var current: ProcessorBudget {
    bounded(affinity: Int(ck_processors()), quota: controlGroupQuota(root: "/"))
      .shared(by: sharers.withLock { $0 })
  }

  /// A process's part.
  func shared(by processes: Int) -> ProcessorBudget {
    if processes <= 1 { return self }
    return ProcessorBudget(
      processors: max(processors / processes, 1),
      source: "\(source), shared by \(processes) processes")
  }

  /// A quota is rounded down: a thread more than the quota pays for would stop the whole team at each
  /// barrier until the next period, tens of milliseconds.
  static func bounded(affinity: Int, quota: Double?) -> ProcessorBudget {
    let allowed = max(affinity, 1)
    if let quota {
      let whole = max(Int(min(quota, 1e6)), 1)
      if whole < allowed {
        return ProcessorBudget(processors: whole, source: "control group quota")
      }
    }
    return ProcessorBudget(processors: allowed, source: "processor affinity")
  }

  /// The processors' worth of time that the control groups of this process grant, the least of all
  /// groups from its own up to the root; nil where there is no limit.
  ///
  /// - `root`: the folder that stands for `/`, for tests.
  static func controlGroupQuota(root: String) -> Double? {
    guard let groups = read(root, "proc/self/cgroup"),
      let mounts = read(root, "proc/self/mountinfo")
    else { return nil }
    var quotas: [Double] = []
    for mount in mounts.split(separator: "\n").compactMap(Mount.init) {
      guard let group = mount.group(in: groups) else { continue }
      var folder = mount.folder(of: group)
      while true {
        if let quota = mount.isUnified ? unifiedQuota(root, folder) : legacyQuota(root, folder) {
          quotas.append(quota)
        }
        guard folder.count > mount.point.count, let slash = folder.lastIndex(of: "/") else { break }
        folder = String(folder[..<slash])
      }
    }
    return quotas.min()
  }

  /// `cpu.max` of version 2: "200000 100000", or "max 100000".
  private static func unifiedQuota(_ root: String, _ folder: String) -> Double? {
    let fields = read(root, folder + "/cpu.max")?.split(whereSeparator: \.isWhitespace) ?? []
    guard fields.count == 2 else { return nil }
    return ratio(Double(fields[0]), Double(fields[1]))
  }

  /// `cpu.cfs_quota_us` and `cpu.cfs_period_us` of version 1; a quota of -1 is none.
  private static func legacyQuota(_ root: String, _ folder: String) -> Double? {
    func number(_ file: String) -> Double? {
      read(root, "\(folder)/\(file)").flatMap {
        Double($0.trimmingCharacters(in: .whitespacesAndNewlines))
      }
    }
    return ratio(number("cpu.cfs_quota_us"), number("cpu.cfs_period_us"))
  }

  private static func ratio(_ quota: Double?, _ period: Double?) -> Double? {
    guard let quota, let period, quota > 0, period > 0 else { return nil }
    return quota / period
  }

  private static func read(_ root: String, _ path: String) -> String? {
    let name = root + (root.hasSuffix("/") ? "" : "/") + path.drop { $0 == "/" }
    return try? String(contentsOfFile: name, encoding: .utf8)
  }
}

/// A mounted control-group hierarchy: a line of `/proc/self/mountinfo`.
private struct Mount {
  /// The group, within its hierarchy, that is mounted (a container often sees only its own).
  let mounted: String
  /// Where.
  let point: String
  let isUnified: Bool

  /// Nil for other file systems and for hierarchies without the processor controller.
  init?(_ line: Substring) {
    // 36 35 98:0 /mounted /point options… - type source superoptions
    let fields = line.split(separator: " ")
    guard fields.count > 6, let dash = fields.firstIndex(of: "-"), dash + 3 < fields.count
    else { return nil }
    let type = fields[dash + 1]
    let options = fields[dash + 3].split(separator: ",")
    guard type == "cgroup2" || type == "cgroup" && options.contains("cpu") else { return nil }
    mounted = String(fields[3])
    point = String(fields[4])
    isUnified = type == "cgroup2"
  }

  /// This process's group in the hierarchy, from the text of `/proc/self/cgroup`.
  func group(in text: String) -> String? {
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let matches =
        isUnified ? parts[1].isEmpty : parts[1].split(separator: ",").contains("cpu")
      if matches { return String(parts[2]) }
    }
    return nil
  }

  /// The folder of `group`, or of the mounted group where it lies outside.
  func folder(of group: String) -> String {
    if mounted != "/" && !group.hasPrefix(mounted) { return point }
    let below = mounted == "/" ? group[...] : group.dropFirst(mounted.count)
    let trimmed = below.hasSuffix("/") ? below.dropLast() : below
    return point + trimmed
  }
}
