// Runs the built `apus` as a process, as users do.

import Apus
import Foundation
import Testing

/// What a run of `apus` left.
struct CommandRun {
  var status: Int32
  var output: String
  var errors: String

  var lines: [String] { output.split(separator: "\n").map(String.init) }
}

/// The executable, which is built beside the tests.
private let executable: URL = {
  let tests = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
  return tests.deletingLastPathComponent().appendingPathComponent("apus")
}()

/// An `apus` that is running.
final class CommandProcess {
  private let process = Process()
  private let output = Pipe()
  private let errors: URL

  /// Variables of ours that the tests were started with are not passed on.
  ///
  /// - `shell`: what a shell does first: `ulimit -f 100;`.
  /// - `streams`: how it redirects the command's streams: `2>&-`.
  /// - `launcher`: a program and its arguments, which starts the command.
  init(
    _ arguments: [String], environment: [String: String] = [:], shell: String = "",
    streams: String = "", launcher: [String] = []
  ) throws {
    errors = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try Data().write(to: errors)
    if let program = launcher.first {
      process.executableURL = URL(fileURLWithPath: program)
      // Where several are started, each is `apus`.
      process.arguments =
        launcher.dropFirst() + [executable.path]
        + arguments.flatMap { $0 == Self.another ? [":", "-np", "1", executable.path] : [$0] }
    } else if shell.isEmpty && streams.isEmpty {
      process.executableURL = executable
      process.arguments = arguments
    } else {
      process.executableURL = URL(fileURLWithPath: "/bin/sh")
      process.arguments =
        ["-c", "\(shell) exec \"$0\" \"$@\" \(streams)", executable.path] + arguments
    }
    let inherited = ProcessInfo.processInfo.environment.filter {
      !$0.key.hasPrefix("APUS_") && $0.key != "OMP_NUM_THREADS"
    }
    process.environment = inherited.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    // A file cannot fill up while the other stream is read.
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
  }

  /// The next line of standard output; nil at its end.
  func nextLine() -> String? {
    var line = Data()
    while true {
      let byte = output.fileHandleForReading.readData(ofLength: 1)
      if byte.isEmpty { return line.isEmpty ? nil : String(decoding: line, as: UTF8.self) }
      if byte[0] == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
      line += byte
    }
  }

  /// Stands between the arguments of two processes that a launcher starts, one of each.
  static let another = "\0another"

  /// The processes that it has started itself, by a variable in their environments.
  func children(_ variable: String) throws -> [String: pid_t] {
    var children: [String: pid_t] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
      guard let id = pid_t(name),
        let status = try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8),
        status.contains("\nPPid:\t\(process.processIdentifier)\n"),
        let text = try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(id)/environ"))
      else { continue }
      for entry in String(decoding: text, as: UTF8.self).split(separator: "\0")
      where entry.hasPrefix("\(variable)=") {
        children[String(entry.dropFirst(variable.count + 1))] = id
      }
    }
    return children
  }

  func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

  /// Stops listening to standard output.
  func hangUp() { try? output.fileHandleForReading.close() }

  func finish() throws -> CommandRun {
    let text = (try? output.fileHandleForReading.readToEnd()) ?? Data()
    process.waitUntilExit()
    defer { try? FileManager.default.removeItem(at: errors) }
    return CommandRun(
      status: process.terminationReason == .exit ? process.terminationStatus : -1,
      output: String(decoding: text, as: UTF8.self),
      errors: String(decoding: try Data(contentsOf: errors), as: UTF8.self))
  }
}

func apus(_ arguments: String..., environment: [String: String] = [:]) throws -> CommandRun {
  try CommandProcess(arguments, environment: environment).finish()
}

/// A folder that is gone after the test.
func withFolder<R>(_ body: (URL) throws -> R) throws -> R {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
    "apus-command-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}

func names(in folder: URL) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
}

/// A folder with Fashion-MNIST in which some files are replaced.
func withData<R>(
  replacing files: [String: Data?], _ body: (_ data: URL, _ output: URL) throws -> R
) throws -> R {
  try withFolder { folder in
    let data = folder.appendingPathComponent("data")
    let output = folder.appendingPathComponent("output")
    for each in [data, output] {
      try FileManager.default.createDirectory(at: each, withIntermediateDirectories: true)
    }
    for name in try FileManager.default.contentsOfDirectory(atPath: FashionMNIST.packageFolder)
    where files[name] == nil {
      try FileManager.default.createSymbolicLink(
        atPath: data.appendingPathComponent(name).path,
        withDestinationPath: "\(FashionMNIST.packageFolder)/\(name)")
    }
    for (name, content) in files {
      try content?.write(to: data.appendingPathComponent(name))
    }
    return try body(data, output)
  }
}

/// A file of the data set.
func original(_ name: String) throws -> Data {
  try Data(contentsOf: URL(fileURLWithPath: "\(FashionMNIST.packageFolder)/\(name)"))
}
