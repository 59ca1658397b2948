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

  /// The seconds that a side may take for an answer: a compiler of PyTorch's on a busy machine takes minutes,
  /// one that has lost a thread would be waited for without end.
  static let patience = 900.0

  private let process = Process()
  private let input = Pipe(), output = Pipe()
  private var buffer = Data()
  private let patience: Double
  private var isGivenUp = false

  /// Starts the process and waits until it is warm.
  ///
  /// - `patience`: the seconds that it may take for an answer.
  /// - Throws: `unsupported` where it cannot be started, ends instead or does not answer, `missing` where it lacks
  ///   what it needs.
  init(
    _ name: String, _ command: [String], environment: [String: String] = [:],
    patience: Double = PeerProcess.patience
  ) throws {
    self.name = name
    self.patience = patience
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
      let line = try nextLine(to: "its start")
      if line["first_step"] != nil {
        firstStepSeconds = (ContinuousClock.now - start) / .seconds(1)
      }
      for (key, value) in line.members ?? [] { facts[key] = value }
    }
  }

  deinit {
    try? input.fileHandleForWriting.close()
    if isGivenUp { kill(process.processIdentifier, SIGKILL) }
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
    return try nextLine(to: "'\(command)'")
  }

  private func nextLine(to command: String) throws -> JSON {
    let deadline = ContinuousClock.now + .seconds(patience)
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
      try waitForOutput(until: deadline, to: command)
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

  /// - Throws: `unsupported` where nothing is written until then; the process is not waited for any more.
  private func waitForOutput(until deadline: ContinuousClock.Instant, to command: String) throws {
    var descriptor = pollfd(
      fd: output.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0)
    repeat {
      let left = max(0, (deadline - ContinuousClock.now) / .seconds(1))
      // Interrupted by a signal, it is asked again.
      if poll(&descriptor, 1, Int32(min(left * 1000, 1e6).rounded(.up))) > 0 { return }
    } while ContinuousClock.now < deadline
    isGivenUp = true
    throw ApusError(
      .unsupported, "\(name) has not answered to \(command) for \(decimals(patience, 0)) s",
      expected: "an answer; a smaller --batch or --shape takes less time")
  }
}
