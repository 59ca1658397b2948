// The threads of steps, for the batches that are made between them.

import ApusData
import ApusRuntime

extension CompileOptions {
  /// The threads of steps that are compiled so; nil where it is one.
  ///
  /// - Throws: as `Team.shared(threads:)`.
  package var batchThreads: BatchThreads? {
    get throws {
      let team = try processes?.team ?? Team.shared(threads: threads)
      let count = team.threads.count
      return count > 1 ? BatchThreads(count: count) { team.forEach(count, $0) } : nil
    }
  }
}
