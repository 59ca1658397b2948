// MPI in a process, and the processors that the process may use.

#if MPI
  import ApusGraph
  import ApusRuntime
  import CMPI
  import Foundation
  import Synchronization

  /// MPI in this process, from its start to its end.
  package final class MPISession: Sendable {
    /// All that `mpirun` has started together.
    package let processes: ProcessGroup

    private static let hasBegun = Atomic<Bool>(false)

    /// Starts MPI, and finds out which processes share this one's processors.
    ///
    /// - Throws: as ``withMPI(_:)``.
    package init() throws {
      guard !Self.hasBegun.exchange(true, ordering: .relaxed) else {
        throw ApusError(
          .invalidArgument, "MPI is started a second time in one process",
          expected: "one call of withMPI, around the whole program")
      }
      var level: Int32 = 0
      MPI_Init_thread(nil, nil, cmpi_serialized(), &level)
      guard level >= cmpi_serialized() else {
        throw ApusError(
          .unsupported, "MPI serves one thread of a process only (level \(level))",
          expected: "MPI_THREAD_SERIALIZED, as Open MPI gives")
      }
      processes = ProcessGroup(MPITransport())
      let own = ProcessorPlace.current
      let all = processes.gather(Array(own.text.utf8)).map {
        ProcessorPlace(text: String(decoding: $0, as: UTF8.self))
      }
      ProcessorBudget.share(with: all.count { $0.overlaps(own) })
    }

    /// Ends MPI: all processes are done.
    package func end() { MPI_Finalize() }

    /// Ends all processes, with a message of this one and an exit code.
    package func abort(_ message: String, _ code: Int32 = 1) -> Never {
      let text = "process \(processes.rank) of \(processes.size): \(message)\n"
      FileHandle.standardError.write(Data(text.utf8))
      processes.transport.abort(code)
    }
  }

  /// The machine and the processors that a process may use.
  struct ProcessorPlace {
    private let host: String
    private let processors: Set<Int>

    /// As the system lists them: `Cpus_allowed_list: 0-3,8`.
    static var current: ProcessorPlace {
      let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
      let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
      let list = line?.split(separator: ":").last ?? ""
      var processors: Set<Int> = []
      for part in list.split(separator: ",") {
        let ends = part.split(separator: "-").compactMap {
          Int($0.trimmingCharacters(in: .whitespaces))
        }
        if let first = ends.first, let last = ends.last, first <= last {
          processors.formUnion(first...last)
        }
      }
      return ProcessorPlace(host: ProcessInfo.processInfo.hostName, processors: processors)
    }

    private init(host: String, processors: Set<Int>) {
      self.host = host
      self.processors = processors
    }

    var text: String { host + "\n" + processors.sorted().map(String.init).joined(separator: " ") }

    init(text: String) {
      let lines = text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
      host = String(lines.first ?? "")
      processors = Set(lines.dropFirst().first?.split(separator: " ").compactMap { Int($0) } ?? [])
    }

    /// Whether two processes may run on one processor.
    func overlaps(_ other: ProcessorPlace) -> Bool {
      host == other.host && !processors.isDisjoint(with: other.processors)
    }
  }
#endif
