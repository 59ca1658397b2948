// What a training step is, that takes its steps together with other processes.

import ApusData
import ApusGraph
import ApusRuntime

/// A training step's part in a group of processes: each computes the gradients of its part of a batch, and all update
/// by the mean over the whole.
///
/// With `wᵣ` what the loss of process r is a mean over (its examples, or its labels that count), the gradient is
/// `Σ wᵣ gᵣ / Σ wᵣ`: that of the loss over all examples at once, to rounding.
final class DataParallel {
  let processes: ProcessGroup
  /// `f32[]`: the examples of the batch; 0 where they stand in for a part without any.
  let share: StateCell

  /// - Returns: nil for a process that trains alone.
  /// - Throws: `resource` where there is no memory.
  init?(_ processes: ProcessGroup?) throws {
    guard let processes, processes.size > 1 else { return nil }
    self.processes = processes
    share = try StateCell(zeros: .f32(), for: "a process's share")
  }

  /// Runs a step that all processes take.
  ///
  /// An error that not all processes meet leaves this one without partners: it is thrown again by every later step.
  func step<R>(_ body: () throws -> R) throws -> R {
    if let failure = processes.failure { throw failure }
    do {
      return try body()
    } catch let error as JointError {
      throw error.error
    } catch {
      processes.fail(asApusError(error))
      throw error
    }
  }

  /// What a process has found where the processes have agreed that a step changes nothing.
  enum Finding {
    /// Something is wrong with its examples.
    case fault(ApusError)
    /// None of its labels counts.
    case nothingToLearn
    /// Its own numbers are as they should be; the error says what all together came to.
    case innocent(ApusError)
  }

  /// Tells all processes what each has found.
  ///
  /// - Returns: what is wrong, the same in all processes but for the process that it names: the own error, or the first
  ///   of another. Nil where no process has anything to learn from.
  /// - Throws: where the processes are not at the same step.
  func settle(_ finding: Finding) throws -> ApusError? {
    if let failure = processes.failure { throw failure }
    let text: String
    switch finding {
    case .fault(let error):
      text = ["fault", error.kind.rawValue, error.what, error.location ?? "", error.expected ?? ""]
        .joined(separator: "\0")
    case .nothingToLearn: text = "nothing"
    case .innocent: text = "innocent"
    }
    let all = processes.gather(Array(text.utf8)).map {
      String(decoding: $0, as: UTF8.self).split(separator: "\0", omittingEmptySubsequences: false)
        .map(String.init)
    }
    if all.allSatisfy({ $0 == ["nothing"] }) { return nil }
    if case .fault(let error) = finding { return error }
    if let rank = all.firstIndex(where: { $0.count == 5 }) {
      let parts = all[rank]
      return ApusError(
        ApusError.Kind(rawValue: parts[1]) ?? .nonFinite, "in process \(rank): \(parts[2])",
        at: parts[3].isEmpty ? nil : parts[3], expected: parts[4].isEmpty ? nil : parts[4])
    }
    if case .innocent(let error) = finding { return error }
    return ApusError(
      .nonFinite, "the sums of gradients over all processes are not finite",
      expected: "smaller gradients: a lower learning rate, or clipNorm")
  }
}

extension DataParallel {
  /// Tells all processes of an error that this one has met where they agreed that the step changes nothing.
  ///
  /// - Returns: what is to be thrown here.
  func told(_ error: ApusError) throws -> JointError {
    JointError(try settle(.fault(error)) ?? error)
  }
}

/// An error that all processes of a group throw for the same step: they go on together.
struct JointError: Error {
  let error: ApusError

  init(_ error: ApusError) { self.error = error }
}
