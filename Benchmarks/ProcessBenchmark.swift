// Training steps of several processes beside those of one, in turns, in one run.

import Apus
import ApusRecipes

/// Times steps of recipes in the first process alone, and in all processes together, each with a batch of its own.
///
/// The others wait while the first is alone. What all together do in a second, by what one does, is the gain: of medians,
/// and of the best blocks, where other programs disturb. The last columns are what the sum of all gradients takes by itself, with nothing to do meanwhile.
///
/// - `processes`: those that `mpirun` has started. All of them call this; the first prints.
/// - Throws: what compiling and running throw.
package func benchmarkProcesses(
  _ workloads: [any Recipe], batch size: Int? = nil, processes: ProcessGroup,
  options: BenchmarkOptions
) throws {
  try options.validate()
  let table = Table(
    [
      ("workload", 12), ("batch", 6), ("ms alone", 9), ("ms together", 11), ("gain", 6),
      ("at best", 7),
      ("MB summed", 9), ("ms to sum", 9),
    ], colour: options.colour)
  if processes.isFirst {
    options.tell(
      "\(processes.size) processes of \(options.threads) threads, each a batch of its own")
    options.tell(table.header)
  }
  for workload in workloads {
    let sides = try ProcessSides(workload, batch: size, processes, options)
    let timing = try sides.time(seconds: options.seconds)
    guard processes.isFirst else { continue }
    let gain = timing.gain(of: processes.size) { $0.sorted()[$0.count / 2] }
    let best = timing.gain(of: processes.size) { $0.min() ?? .nan }
    if options.json {
      options.print(
        JSON.object([
          ("bench", "processes"), ("workload", .string(workload.name)),
          ("processes", .integer(processes.size)), ("threads", .integer(options.threads)),
          ("isa", .string(options.isa.name)), ("batch", .integer(sides.batch)),
          ("ms_alone", .number(rounded(timing.median(\.alone) * 1e3))),
          ("ms", .number(rounded(timing.median(\.together) * 1e3))),
          ("gain", .number(rounded(gain))), ("best_gain", .number(rounded(best))),
          ("bytes", .integer(sides.bytes)),
          ("ms_sum", .number(rounded(timing.median(\.sum) * 1e3))),
        ]).text)
    } else {
      options.print(
        table.line([
          Cell(workload.name), Cell("\(sides.batch)"),
          Cell(significant(timing.median(\.alone) * 1e3)),
          Cell(significant(timing.median(\.together) * 1e3)), Cell("\(decimals(gain, 2))x"),
          Cell("\(decimals(best, 2))x"), Cell(decimals(Double(sides.bytes) / 1e6, 1)),
          Cell(significant(timing.median(\.sum) * 1e3)),
        ]))
    }
  }
}

/// Seconds of steps in the first process alone, of steps of all together, and of the sum of all gradients: of each block.
private struct ProcessTimes {
  var alone: [Double] = []
  var together: [Double] = []
  var sum: [Double] = []

  func median(_ times: KeyPath<ProcessTimes, [Double]>) -> Double {
    let all = self[keyPath: times].sorted()
    return all[all.count / 2]
  }

  func gain(of processes: Int, _ choose: ([Double]) -> Double) -> Double {
    Double(processes) * choose(alone) / choose(together)
  }
}

/// A recipe's step alone and together.
private struct ProcessSides {
  let batch: Int
  /// Of all gradients.
  let bytes: Int
  private let processes: ProcessGroup
  private let alone: RecipeStep
  private let together: RecipeStep
  private let examples: Batch

  init(
    _ workload: any Recipe, batch size: Int?, _ processes: ProcessGroup, _ options: BenchmarkOptions
  ) throws {
    self.processes = processes
    let settings = try workload.options(batch: size)
    batch = settings.batch
    var compile = CompileOptions(options)
    alone = try workload.steps(settings, compile: compile)[0]
    compile.processes = processes
    together = try workload.steps(settings, compile: compile)[0]
    examples = try together.randomBatch()
    let executable = try together.step.executable(for: examples)
    bytes = 4 * executable.summedElements
  }

  func time(seconds wanted: Double) throws -> ProcessTimes {
    func steps(_ side: RecipeStep, _ count: Int) throws -> Double {
      try seconds { for _ in 0..<count { try side.step.run(examples) } } / Double(count)
    }
    // The others wait in a call that all make; how many steps a block has is the first's decision.
    func told(_ number: Int) -> Int { Int(processes.transport.exchange(UInt64(number))[0]) }
    var own = 0.0
    if processes.isFirst {
      _ = try steps(alone, 3)
      own = try steps(alone, 3)
    }
    processes.barrier()
    _ = try steps(together, 3)
    let count = told(max(1, Int(min(0.1, wanted / 25) / max(own, 1e-6))))
    let rounds = told(max(fewestBlocks, Int(wanted / max(Double(count) * own, 1e-6))))
    var times = ProcessTimes()
    for _ in 0..<rounds {
      if processes.isFirst {
        _ = try steps(alone, max(1, count / 10))
        times.alone.append(try steps(alone, count))
      }
      processes.barrier()
      _ = try steps(together, max(1, count / 10))
      times.together.append(try steps(together, count))
      processes.barrier()
      times.sum.append(sum())
    }
    return times
  }

  /// Seconds of one sum of all gradients, in buckets as a step has them.
  private func sum() -> Double {
    let most = 1 << 18
    let values = UnsafeMutablePointer<Float>.allocate(capacity: max(bytes / 4, 1))
    values.initialize(repeating: 1, count: max(bytes / 4, 1))
    defer { values.deallocate() }
    processes.barrier()
    return seconds {
      var number = 0
      for start in stride(from: 0, to: bytes / 4, by: most) {
        processes.transport.post(number, values + start, min(most, bytes / 4 - start))
        number += 1
      }
      for bucket in 0..<number { processes.transport.wait(bucket) }
    }
  }
}
