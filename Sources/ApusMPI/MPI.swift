// Training by several processes that `mpirun` has started.

import ApusGraph
import ApusRuntime

/// Runs a program in the processes that `mpirun` has started.
///
///     try withMPI { processes in
///       let trainer = try Trainer(
///         Classifier(), optimizer: Adam(), compile: CompileOptions(processes: processes)
///       ) { model, batch in crossEntropy(model(batch.images), batch.labels) }
///       try trainer.fit(data.train.batched(64), epochs: 5)
///       try trainer.save("fashion.safetensors")
///     }
///
/// An error that `body` throws is written to standard error, with the process's number, and ends all processes with
/// exit code 1: the others wait for this one. A process that was not started by `mpirun` is a group of one. See
/// Docs/DataParallel.md.
///
/// - `body`: what all processes do, the same calls in the same order.
/// - Throws: `invalidArgument` for a second call in one process; `unsupported` where MPI does not serve several
///   threads in turns, or the package is used without its trait `MPI`.
public func withMPI<R>(_ body: (_ processes: ProcessGroup) throws -> R) throws -> R {
  #if MPI
    let session = try MPISession()
    let result: R
    do {
      result = try body(session.processes)
    } catch {
      session.abort("\(error)")
    }
    session.end()
    return result
  #else
    throw ApusError(
      .unsupported, "this program was built without MPI", expected: "the package's trait MPI")
  #endif
}
