// A side in another process: a peer of Benchmarks/peers, or our own step in a fresh process.
//
// It writes JSON lines: {"first_step":true,...} when its first step is done, {"ready":true,...} when
// it is warm, then an answer {"seconds":...} to each "run N" that it is sent. End of input ends it.

import Apus
import Foundation

final class PeerProcess: Side {
  let name: String
  /// From the start of the process to its first step done.
  private(set) var firstStepSeconds = Double.nan
  /// The lines up to "ready", merged.
  private(set) var facts: [String: JSON] = [:]
  /// The last answer.
  private(set) var answer: JSON?

  private let process = Process()
  private let input = Pipe(), output = Pipe()
  private var buffer = Data()

  /// Starts the process and waits until it is warm.
  ///
  /// - Throws: `unsupported` where it cannot be started or ends instead.
  init(_ name: String, _ command: [String], environment: [String: String] = [:]) throws {
    self.name = name
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = command
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = input
    process.standardOutput = output
    let start = ContinuousClock.now
    try process.run()
    while facts["ready"] == nil {
      let line = try nextLine()
      if line["first_step"] != nil {
        firstStepSeconds = (ContinuousClock.now - start) / .seconds(1)
      }
      for (key, value) in line.members ?? [] { facts[key] = value }
    }
  }

  deinit {
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
  }

  func run(_ count: Int) throws -> Double {
    input.fileHandleForWriting.write(Data("run \(count)\n".utf8))
    let line = try nextLine()
    answer = line
    guard let seconds = line["seconds"]?.double else {
      throw ApusError(.unsupported, "\(name) answered \(line.text)", expected: "seconds")
    }
    return seconds
  }

  private func nextLine() throws -> JSON {
    while true {
      if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
        let line = buffer[..<end]
        buffer = Data(buffer[(end + 1)...])
        return try JSON(parsing: line)
      }
      let bytes = output.fileHandleForReading.availableData
      guard !bytes.isEmpty else {
        process.waitUntilExit()
        throw ApusError(
          .unsupported, "\(name) ended with code \(process.terminationStatus)",
          expected: "APUS_PEERS_PYTHON to name a Python that has PyTorch and JAX")
      }
      buffer.append(bytes)
    }
  }
}

/// A script of Benchmarks/peers and what runs it.
func peerCommand(_ script: String, _ arguments: [String]) -> [String] {
  let python = ProcessInfo.processInfo.environment["APUS_PEERS_PYTHON"] ?? "python3"
  let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "peers")
  return [python, folder.appending(path: script).path] + arguments
}
