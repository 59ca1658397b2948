// Every environment variable that the engine reads, in one place.
//
// `Docs/Environment.md` lists them for users; HouseTests compares the two.

import ApusGraph
import CKernels
import Foundation

/// The settings that a process takes from its environment.
///
///     let environment = Environment.current
///     try environment.threads()   // from APUS_THREADS, else OMP_NUM_THREADS
///
/// A variable that is unset or empty counts as absent. A value that makes no sense is an error, never
/// ignored.
package struct Environment: Sendable {
  /// Variables by name.
  package var variables: [String: String]

  package init(_ variables: [String: String]) { self.variables = variables }

  /// The environment of this process, as it is now.
  package static var current: Environment { Environment(ProcessInfo.processInfo.environment) }

  private func value(_ name: String) -> String? {
    guard let text = variables[name]?.trimmingCharacters(in: .whitespaces), !text.isEmpty else {
      return nil
    }
    return text
  }

  private func invalid(_ name: String, expected: String) -> ApusError {
    ApusError(
      .invalidArgument, "\(name) is '\(variables[name] ?? "")'", at: "the environment",
      expected: expected)
  }

  /// The most threads a team may have.
  package static let mostThreads = 1024

  /// The wished number of threads and the variable that says it; nil where none does.
  ///
  /// `APUS_THREADS` goes before `OMP_NUM_THREADS`, of which the first number counts (the outermost
  /// level of a list such as `4,2`).
  ///
  /// - Throws: `invalidArgument` for anything but a number from 1 to ``mostThreads``.
  package func threads() throws -> (count: Int, variable: String)? {
    for name in ["APUS_THREADS", "OMP_NUM_THREADS"] {
      guard let text = value(name) else { continue }
      let first = text.split(separator: ",").first.map {
        $0.trimmingCharacters(in: .whitespaces)
      }
      let number = name == "APUS_THREADS" ? text : first ?? text
      guard let count = Int(number), (1...Self.mostThreads).contains(count) else {
        throw invalid(name, expected: "a number of threads from 1 to \(Self.mostThreads)")
      }
      return (count, name)
    }
    return nil
  }

  /// The levels that this machine offers, the plainest first.
  package static var availableISAs: [ISA] {
    let best = ISA(rawValue: Int32(bitPattern: ck_isa_best().rawValue)) ?? .ref
    return ISA.allCases.filter { $0 <= best }
  }

  /// The level of the kernels: `APUS_ISA`, else the best one that the machine offers.
  ///
  /// - Throws: `invalidArgument` for a name that is no level, `unsupported` for a level that this machine
  ///   does not have.
  package func isa() throws -> ISA {
    let available = Self.availableISAs
    guard let text = value("APUS_ISA") else { return available.last ?? .ref }
    let names = available.map(\.name).joined(separator: ", ")
    guard let isa = ISA.allCases.first(where: { $0.name == text }) else {
      throw invalid("APUS_ISA", expected: "one of \(names)")
    }
    try Self.checkAvailable(isa, place: "the environment: APUS_ISA")
    return isa
  }

  /// - Throws: `unsupported` where this machine does not have the level.
  static func checkAvailable(_ isa: ISA, place: String) throws {
    let available = Self.availableISAs
    guard available.contains(isa) else {
      throw ApusError(
        .unsupported, "this machine does not have instruction-set level '\(isa.name)'", at: place,
        expected: "one of \(available.map(\.name).joined(separator: ", "))")
    }
  }

  /// `APUS_CHECK`: `nan` or `off`, the default.
  ///
  /// - Throws: `invalidArgument` for another value.
  package func check() throws -> CompileOptions.Check {
    guard let text = value("APUS_CHECK") else { return .off }
    guard let check = CompileOptions.Check(rawValue: text) else {
      let names = CompileOptions.Check.allCases.map(\.rawValue).joined(separator: ", ")
      throw invalid("APUS_CHECK", expected: "one of \(names)")
    }
    return check
  }
}
