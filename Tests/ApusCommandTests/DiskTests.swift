// Disks that are full. They are small file systems in memory, which takes the right to mount; without it these
// tests are skipped.

import Apus
import Foundation
import Testing

@Suite(.serialized, .enabled(if: SmallDisk.canBeMounted, "needs the right to mount a tmpfs"))
struct DiskTests {
  private func train(_ disk: URL, _ more: [String] = []) throws -> CommandRun {
    try CommandProcess(
      [
        "train", "fashion-mnist", "--batch", "1024", "--epochs", "1", "--json", "--output",
        disk.appendingPathComponent("w.safetensors").path,
      ] + more
    ).finish()
  }

  @Test func aDiskThatIsTooSmall_isAnErrorBeforeTheFirstStep() throws {
    // Room for the weights of 0.4 MB, none for a checkpoint of 1.2 MB.
    for more in [[], ["--every", "10", "--checkpoint"]] {
      try SmallDisk.with(kilobytes: 1000) { disk in
        let folder = more.isEmpty ? [] : [disk.appendingPathComponent("c").path]
        let run = try train(disk, more + folder)
        #expect(run.status == 1 && run.output.isEmpty, "\(run.errors)")
        #expect(run.errors.contains("reserve") && run.errors.contains("No space left"))
        #expect(try names(in: disk) == (more.isEmpty ? [] : ["c"]))
      }
    }
  }

  @Test func aDiskThatIsLargeEnough_isEnoughToTheEnd() throws {
    // Weights, and three checkpoints.
    try SmallDisk.with(kilobytes: 4600) { disk in
      let folder = disk.appendingPathComponent("c")
      let run = try train(disk, ["--every", "10", "--checkpoint", folder.path])
      #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
      #expect(try names(in: folder).count == 2)
    }
  }

  @Test func keptSpace_isThereWhenOthersHaveFilledTheDisk() throws {
    try SmallDisk.with(kilobytes: 1000) { disk in
      let path = disk.appendingPathComponent("x").path
      let bytes = [UInt8](repeating: 7, count: 600 << 10)
      try withExtendedLifetime(FileReservation(path, bytes: bytes.count)) {
        #expect(throws: ApusError.self) {
          try AtomicFile.write(to: disk.appendingPathComponent("other").path) {
            try $0.write(bytes)
          }
        }
        // Fills what is left.
        let rest = disk.appendingPathComponent("rest").path
        _ = FileManager.default.createFile(atPath: rest, contents: nil)
        let file = try FileHandle(forWritingTo: URL(filePath: rest))
        while (try? file.write(contentsOf: Data(count: 4096))) != nil {}
        try file.close()
        try AtomicFile.write(to: path) { try $0.write(bytes) }
      }
      #expect(try Data(contentsOf: URL(filePath: path)) == Data(bytes))
      // The next has no space of its own: it fails, and the first stays.
      #expect(throws: ApusError.self) { try AtomicFile.write(to: path) { try $0.write(bytes) } }
      #expect(try Data(contentsOf: URL(filePath: path)) == Data(bytes))
      #expect(try names(in: disk) == ["rest", "x"])
    }
  }
}

/// A small file system in memory.
enum SmallDisk {
  /// Whether this process may.
  static let canBeMounted = (try? with(kilobytes: 64) { _ in }) != nil

  private struct Refused: Error {}

  static func with(kilobytes: Int, _ body: (URL) throws -> Void) throws {
    try withFolder { folder in
      guard run("mount", "-t", "tmpfs", "-o", "size=\(kilobytes)k", "tmpfs", folder.path) else {
        throw Refused()
      }
      defer { _ = run("umount", folder.path) }
      try body(folder)
    }
  }

  private static func run(_ arguments: String...) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
}
