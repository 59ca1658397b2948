// What the runtime takes from environment variables and from the system: threads, levels, quotas.

import ApusGraph
import Foundation
import Testing

@testable import ApusRuntime

@Suite struct EnvironmentTests {
  @Test func threadsComeFromOurVariableFirst() throws {
    let both = Environment(["APUS_THREADS": "3", "OMP_NUM_THREADS": "5"])
    #expect(try both.threads()?.count == 3)
    #expect(try both.threads()?.variable == "APUS_THREADS")
    let other = Environment(["APUS_THREADS": "", "OMP_NUM_THREADS": " 4,2 "])
    #expect(try other.threads()?.count == 4)
    #expect(try other.threads()?.variable == "OMP_NUM_THREADS")
    #expect(try Environment([:]).threads() == nil)
    #expect(try ThreadCount.standard(both).description == "3 (APUS_THREADS)")
    #expect(try ThreadCount.standard(Environment([:])).count >= 1)
  }

  @Test(arguments: ["0", "-2", "many", "1.5", "99999", "3,4"])
  func threadsThatAreNoNumberAreAnError(text: String) {
    #expect(throws: ApusError.self) { try Environment(["APUS_THREADS": text]).threads() }
  }

  @Test func levelsAreNamed() throws {
    #expect(try Environment(["APUS_ISA": "ref"]).isa() == .ref)
    #expect(try Environment([:]).isa() == Environment.availableISAs.last)
    let error = #expect(throws: ApusError.self) {
      try Environment(["APUS_ISA": "sse9"]).isa()
    }
    #expect(error?.what == "APUS_ISA is 'sse9'")
    #expect(error?.expected?.contains("ref") == true)
  }

  @Test func aLevelThatTheMachineLacksIsAnError() throws {
    let missing = ISA.allCases.filter { !Environment.availableISAs.contains($0) }
    for isa in missing {
      let error = #expect(throws: ApusError.self) {
        try Environment(["APUS_ISA": isa.name]).isa()
      }
      #expect(error?.kind == .unsupported)
    }
  }

  @Test func checksAreNamed() throws {
    #expect(try Environment(["APUS_CHECK": "nan"]).check() == .nan)
    #expect(try Environment(["APUS_CHECK": "off"]).check() == .off)
    #expect(try Environment([:]).check() == .off)
    let error = #expect(throws: ApusError.self) {
      try Environment(["APUS_CHECK": "everything"]).check()
    }
    #expect(error?.expected == "one of off, nan")
  }

  @Test func quotasBoundTheTeam() {
    typealias Budget = ProcessorBudget
    #expect(Budget.bounded(affinity: 8, quota: nil).processors == 8)
    #expect(Budget.bounded(affinity: 8, quota: 2.5).processors == 2)
    #expect(Budget.bounded(affinity: 8, quota: 2.5).source == "control group quota")
    #expect(Budget.bounded(affinity: 8, quota: 0.3).processors == 1)
    #expect(Budget.bounded(affinity: 2, quota: 64).processors == 2)
    #expect(Budget.bounded(affinity: 2, quota: 64).source == "processor affinity")
    #expect(Budget.current.processors >= 1)
  }

  @Test func theQuotaOfVersionTwoIsTheLeastUpToTheRoot() throws {
    let root = try FakeSystem([
      "proc/self/cgroup": "0::/jobs/mine\n",
      "proc/self/mountinfo":
        "22 1 0:20 / /proc rw - proc proc rw\n"
        + "30 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
      "sys/fs/cgroup/jobs/cpu.max": "150000 100000\n",
      "sys/fs/cgroup/jobs/mine/cpu.max": "max 100000\n",
    ])
    #expect(ProcessorBudget.controlGroupQuota(root: root.path) == 1.5)
  }

  @Test func theQuotaOfVersionOneIsRead() throws {
    let root = try FakeSystem([
      "proc/self/cgroup": "5:memory:/x\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n",
      "proc/self/mountinfo":
        "31 22 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n",
      "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
      "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    ])
    #expect(ProcessorBudget.controlGroupQuota(root: root.path) == 4)
  }

  @Test func noLimitIsNoQuota() throws {
    let unlimited = try FakeSystem([
      "proc/self/cgroup": "0::/\n3:cpu:/\n",
      "proc/self/mountinfo":
        "30 22 0:26 / /cg2 rw - cgroup2 cgroup2 rw\n31 22 0:27 / /cg1 rw - cgroup cgroup rw,cpu\n",
      "cg1/cpu.cfs_quota_us": "-1\n", "cg1/cpu.cfs_period_us": "100000\n",
    ])
    #expect(ProcessorBudget.controlGroupQuota(root: unlimited.path) == nil)
    let nothing = try FakeSystem([:])
    #expect(ProcessorBudget.controlGroupQuota(root: nothing.path) == nil)
    let garbage = try FakeSystem([
      "proc/self/cgroup": "::::\n0::\nx", "proc/self/mountinfo": "a b - cgroup2\n- - -\n1 2",
    ])
    #expect(ProcessorBudget.controlGroupQuota(root: garbage.path) == nil)
  }
}

/// A folder with files, removed with its scope.
private final class FakeSystem {
  let path: String

  init(_ files: [String: String]) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "apus-\(UUID().uuidString)")
    path = folder.path
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for (name, text) in files {
      let file = folder.appendingPathComponent(name)
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try text.write(to: file, atomically: false, encoding: .utf8)
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
