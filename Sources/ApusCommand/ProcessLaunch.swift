// What `apus` is to the processes that `mpirun` has started it in.

import Apus
import Foundation

#if MPI
  import ApusMPI
#endif

/// The group of processes that the command trains in, where `mpirun` has started several.
enum ProcessLaunch {
  #if MPI
    nonisolated(unsafe) private static var session: MPISession?

    /// All of them; nil for a command of its own.
    static var processes: ProcessGroup? { session?.processes }
  #else
    static var processes: ProcessGroup? { nil }
  #endif

  /// Whether this process tells the user.
  static var isFirst: Bool { processes?.isFirst ?? true }

  /// Joins the processes that `mpirun` has started.
  ///
  /// - Throws: `unsupported` where the command was built without MPI: each process would train a model of its own,
  ///   all into the same files.
  static func begin() throws {
    let size = ProcessInfo.processInfo.environment["OMPI_COMM_WORLD_SIZE"].flatMap { Int($0) } ?? 1
    guard size > 1 else { return }
    #if MPI
      session = try MPISession()
      // The first process saves when a signal comes, and ends the others.
      if !isFirst { Interruption.listen() }
    #else
      throw ApusError(
        .unsupported, "mpirun has started \(size) processes, and this apus trains in one alone",
        expected: "one that was built with libopenmpi-dev and --traits default,MPI")
    #endif
  }

  /// Says once how many processes and threads there are, and where processors lie idle.
  static func tell(_ threads: ThreadCount) {
    guard let processes, processes.size > 1, processes.isFirst else { return }
    let each = threads.count == 1 ? "1 thread" : "\(threads.count) threads"
    var text = "\(processes.size) processes of \(each) each (\(threads.source))"
    let machine = sysconf(Int32(_SC_NPROCESSORS_ONLN))
    if threads.count * processes.size < machine, threads.source.hasPrefix("processor affinity") {
      text +=
        " on a machine of \(machine) processors: mpirun binds processes to few of them; "
        + "--map-by slot:PE=n gives each n"
    }
    StandardError.write(text + "\n")
  }

  /// Leaves the group: all processes are done.
  static func end() {
    #if MPI
      session?.end()
      session = nil
    #endif
  }

  /// Ends all processes with a message of this one; returns where there are no others.
  static func abort(_ message: String, _ code: Int32) {
    #if MPI
      session?.abort(message, code)
    #endif
  }
}
