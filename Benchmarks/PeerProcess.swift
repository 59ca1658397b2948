// A side in another process: a peer of Benchmarks/peers, or our own step in a fresh process.
//
// It writes JSON lines: {"first_step":true,...} when its first step is done, {"ready":true,...} when
// it is warm, then an answer {"seconds":...} to each "run N" that it is sent. A peer that runs kernels
// takes a case first: "case {...}", answered by {"ready":true}. {"error":"..."} tells what went wrong.
// End of input ends it.

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
  /// - Throws: `unsupported` where it cannot be started or ends instead, `missing` where it lacks what it
  ///   needs.
  init(_ name: String, _ command: [String], environment: [String: String] = [:]) throws {
    self.name = name
    // Writing to a peer that has ended is an error to tell, not a death.
    signal(SIGPIPE, SIG_IGN)
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

  /// What the peer runs on: `python` and `torch` or `jax`, with their versions.
  var versions: [(name: String, version: String)] {
    (facts["versions"]?.members ?? []).map { ($0, $1.string ?? $1.text) }
  }

  /// Prepares another case.
  ///
  /// - Throws: `unsupported` where the peer cannot.
  func take(_ test: JSON) throws {
    let line = try ask("case \(test.text)")
    guard line["ready"] != nil else {
      throw ApusError(.unsupported, "\(name) answered \(line.text)", expected: "ready")
    }
  }

  func run(_ count: Int) throws -> Double {
    let line = try ask("run \(count)")
    answer = line
    guard let seconds = line["seconds"]?.double else {
      throw ApusError(.unsupported, "\(name) answered \(line.text)", expected: "seconds")
    }
    return seconds
  }

  private func ask(_ command: String) throws -> JSON {
    do {
      try input.fileHandleForWriting.write(contentsOf: Data("\(command)\n".utf8))
    } catch {
      throw ApusError(.unsupported, "\(name) has ended", expected: "an answer to '\(command)'")
    }
    return try nextLine()
  }

  private func nextLine() throws -> JSON {
    while true {
      if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
        let line = try JSON(parsing: buffer[..<end])
        buffer = Data(buffer[(end + 1)...])
        if let message = line["error"]?.string {
          let isMissing = line["missing"]?.bool == true
          throw ApusError(
            isMissing ? .missing : .unsupported, "\(name): \(message)",
            expected: isMissing ? PeerInterpreter.expectation : nil)
        }
        return line
      }
      let bytes = output.fileHandleForReading.availableData
      guard !bytes.isEmpty else {
        process.waitUntilExit()
        throw ApusError(
          .unsupported, "\(name) ended with code \(process.terminationStatus)",
          expected: "an answer")
      }
      buffer.append(bytes)
    }
  }
}
