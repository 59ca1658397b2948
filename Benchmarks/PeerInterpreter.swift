// The Python that runs Benchmarks/peers.

import Apus
import Foundation

/// The sides that `--peers` adds: PyTorch as it is, with images whose channels lie last, compiled, and JAX.
package enum Peer: String, Sendable, CaseIterable {
  case torch
  case torchChannelsLast = "torch-nhwc"
  case torchCompile = "torch-compile"
  case jax

  /// Whether the peer differs from the others there.
  ///
  /// - `images`: whether what is run has images, `[n, h, w, channels]`.
  func isOfUse(images: Bool) -> Bool { images || self != .torchChannelsLast }
}

/// A Python interpreter and the scripts that it runs.
struct PeerInterpreter {
  let python: String
  private let scripts: URL

  static let expectation = "APUS_PEERS_PYTHON to name a Python that has PyTorch and JAX"

  /// The interpreter that `APUS_PEERS_PYTHON` names, else `python3` in `PATH`.
  ///
  /// - Throws: `missing` where there is no such program, or the scripts are gone.
  static func current(
    _ environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> PeerInterpreter {
    let named = environment["APUS_PEERS_PYTHON"].flatMap { $0.isEmpty ? nil : $0 }
    let python = named ?? "python3"
    let folders = (environment["PATH"] ?? "").split(separator: ":").map(String.init)
    let places = python.contains("/") ? [python] : folders.map { "\($0)/\(python)" }
    guard places.contains(where: FileManager.default.isExecutableFile) else {
      throw ApusError(
        .missing, "there is no Python interpreter '\(python)' for the peers",
        at: named == nil ? "PATH" : "the environment: APUS_PEERS_PYTHON", expected: expectation)
    }
    let scripts = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "peers")
    guard FileManager.default.fileExists(atPath: scripts.path) else {
      throw ApusError(
        .missing, "the peers' scripts are not there", at: scripts.path,
        expected: "the sources that this program was built from")
    }
    return PeerInterpreter(python: python, scripts: scripts)
  }

  /// The command that runs a script of Benchmarks/peers.
  func command(_ script: String, _ arguments: [String]) -> [String] {
    [python, scripts.appending(path: script).path] + arguments
  }
}

extension PeerProcess {
  /// A peer that runs the cases of Benchmarks/peers/kernels.py, one after the other.
  ///
  /// - Throws: `missing` where the interpreter lacks the framework.
  convenience init(
    kernelsOf peer: Peer, _ interpreter: PeerInterpreter, _ options: BenchmarkOptions
  ) throws {
    try self.init(
      peer.rawValue,
      interpreter.command(
        "kernels.py",
        [
          "--peer", peer.rawValue, "--threads", "\(options.threads)", "--precision",
          options.precision.rawValue,
        ]))
  }
}
