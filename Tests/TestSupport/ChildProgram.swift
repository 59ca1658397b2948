// Programs of others that tests ask for a second opinion: Python packages, a browser.

import Foundation

/// A program that may be on this machine or not.
package enum ChildProgram {
  /// The first of some names that is in PATH.
  package static func inPath(_ names: String...) -> String? {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    for name in names {
      for folder in folders where FileManager.default.isExecutableFile(atPath: "\(folder)/\(name)")
      {
        return "\(folder)/\(name)"
      }
    }
    return nil
  }

  /// Runs it and reads its standard output; ended after so many seconds.
  ///
  /// - Returns: status and output; the status is -1 where it had to be ended.
  package static func run(
    _ program: String, _ arguments: [String], seconds: Double = 60
  ) throws -> (status: Int32, output: String, errors: String) {
    let process = Process(), folder = FileManager.default.temporaryDirectory
    let output = folder.appendingPathComponent(UUID().uuidString)
    let errors = folder.appendingPathComponent(UUID().uuidString)
    defer { for file in [output, errors] { try? FileManager.default.removeItem(at: file) } }
    for file in [output, errors] { try Data().write(to: file) }
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardInput = FileHandle.nullDevice
    // Files cannot fill up while nobody reads.
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
    let end = Date().addingTimeInterval(seconds)
    var isLate = false
    while process.isRunning {
      if Date() > end {
        isLate = true
        process.terminate()
        process.waitUntilExit()
      }
      usleep(10_000)
    }
    func text(_ file: URL) throws -> String {
      String(decoding: try Data(contentsOf: file), as: UTF8.self)
    }
    return (isLate ? -1 : process.terminationStatus, try text(output), try text(errors))
  }
}
