// Peers: what is said where they are not there or fail. Made of small scripts, not of PyTorch.

import Apus
import Foundation
import Testing

@testable import ApusBenchmarks

@Suite struct PeerTests {
  private func expectError(
    _ kind: ApusError.Kind, _ words: String..., body: () throws -> Void,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    do {
      try body()
      Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    } catch let error as ApusError {
      #expect(error.kind == kind, sourceLocation: sourceLocation)
      for word in words {
        #expect("\(error)".contains(word), "\(error)", sourceLocation: sourceLocation)
      }
    } catch {
      Issue.record(error, sourceLocation: sourceLocation)
    }
  }

  @Test func missingInterpreter_namesTheVariable() throws {
    expectError(.missing, "/nowhere/python", "APUS_PEERS_PYTHON") {
      _ = try PeerInterpreter.current(["APUS_PEERS_PYTHON": "/nowhere/python", "PATH": "/bin"])
    }
    expectError(.missing, "python3", "PATH", "APUS_PEERS_PYTHON") {
      _ = try PeerInterpreter.current(["PATH": "/nowhere"])
    }
    #expect(
      try PeerInterpreter.current(["APUS_PEERS_PYTHON": "sh", "PATH": "/bin"]).python == "sh")
    #expect(try PeerInterpreter.current(["APUS_PEERS_PYTHON": "/bin/sh"]).python == "/bin/sh")
  }

  @Test func missingModule_namesTheVariable() throws {
    expectError(.missing, "jax: No module named 'jax' in /usr/bin/python3", "APUS_PEERS_PYTHON") {
      _ = try PeerProcess(
        "jax",
        [
          "sh", "-c",
          #"echo '{"error":"No module named '"'jax'"' in /usr/bin/python3","missing":true}'"#,
        ])
    }
  }

  @Test func peerThatFailsOnACase_isToldWithItsWords() throws {
    let peer = try PeerProcess(
      "torch",
      ["sh", "-c", #"echo '{"ready":true}'; read line; echo '{"error":"no such case"}'"#])
    expectError(.unsupported, "torch: no such case") { try peer.take(["family", "x"]) }
    expectError(.unsupported, "torch") { _ = try peer.run(1) }
  }

  @Test func peerThatEnds_isToldWithItsCode() throws {
    expectError(.unsupported, "torch ended with code 7") {
      _ = try PeerProcess("torch", ["sh", "-c", "exit 7"])
    }
  }

  @Test func peerThatDoesNotAnswer_isGivenUpAndEnded() throws {
    let start = ContinuousClock.now
    expectError(.unsupported, "torch has not answered to its start for 1 s", "--batch") {
      _ = try PeerProcess("torch", ["sh", "-c", "exec sleep 100"], patience: 0.5)
    }
    expectError(.unsupported, "torch has not answered to 'run 3'") {
      let peer = try PeerProcess(
        "torch", ["sh", "-c", #"echo '{"ready":true}'; exec sleep 100"#], patience: 0.5)
      _ = try peer.run(3)
    }
    #expect(ContinuousClock.now - start < .seconds(60))
  }

  @Test func caseAndRuns_areAskedFor() throws {
    let script = #"""
      echo '{"ready":true,"versions":{"python":"3.11","torch":"2.9"}}'
      while read word rest; do
        case "$word" in
          case) echo '{"ready":true}' ;;
          run) echo "{\"seconds\":$rest}" ;;
        esac
      done
      """#
    let peer = try PeerProcess("torch", ["sh", "-c", script])
    #expect(peer.versions.map(\.name) == ["python", "torch"])
    try peer.take(BenchmarkCase.gemm(try GEMMShape("1x2x3")).peerCase)
    #expect(try peer.run(3) == 3)
  }

  /// The scripts list every operation that is measured.
  @Test(arguments: ["torch_cases.py", "jax_cases.py"])
  func scripts_haveEveryOperation(script: String) throws {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Benchmarks/peers")
    let text = try String(contentsOf: folder.appending(path: script), encoding: .utf8)
    #expect(text.contains("\"conv\": {"))
    for pass in ConvolutionPass.allCases { #expect(text.contains("\"\(pass.rawValue)\": ")) }
    #expect(text.contains("\"attention\": {"))
    for variant in AttentionVariant.allCases {
      #expect(text.contains("\"\(variant.rawValue)\": attention"))
    }
    #expect(text.contains("\"rnn\": {"))
    for variant in RecurrentVariant.allCases {
      #expect(text.contains("\"\(variant.rawValue)\": recurrent"))
    }
    for family in MemoryFamily.allCases {
      #expect(text.contains("\"\(family.rawValue)\": {"))
      for operation in family.operations {
        #expect(text.contains("\"\(operation.name)\": "), "\(script) lacks \(operation.name)")
      }
    }
  }
}
