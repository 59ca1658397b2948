// What preparing batches costs a training step: mlp_small on images that are bytes in memory, shuffled.

import Apus
import ApusRecipes

/// Times steps of mlp_small with batches that are ready, made between two steps by the threads of both, as a trainer
/// has them made, prepared ahead by a thread of their own, and prepared by the calling thread.
///
/// What the others take more than the first is the share of input preparation.
///
/// - `size`: examples of a batch; the recipe's own number, 64, where nil.
/// - `images`: of the set, 28 x 28 bytes each; 60,000 are more than the caches hold.
/// - Throws: what compiling and running throw.
package func benchmarkInput(
  batch size: Int? = nil, images: Int = 60000, peaks known: MachinePeaks? = nil,
  options: BenchmarkOptions
) throws -> BenchmarkOutcome {
  try options.validate()
  let peaks = try known ?? MachinePeaks.measured(threads: options.threads, isa: options.isa)
  var outcome = BenchmarkOutcome(
    peaks: peaks, lines: [peaks.json], points: [], precision: options.precision)
  options.print(options.json ? peaks.json.text : peaks.summary)
  let recipe = try recipes.named("mlp_small")
  let steps = try CompiledSteps(recipe, batch: size, options)
  let size = try recipe.options(batch: size).batch
  let data = try FlatImages(count: images)
  let augmented = try data.base.transformed([
    .randomCrop(28, 28, padding: 2), .randomHorizontalFlip(),
  ])
  func batches(_ data: any Dataset, _ prefetch: Int?) throws -> Batches {
    try data.batched(size, shuffle: 1, prefetch: prefetch)
  }
  let team = try CompileOptions(options).batchThreads
  let sides = [
    try InputSide("ready", steps, nil),
    try InputSide("ready, in turn", steps, batches(data, 0), isKept: true),
    try InputSide("as a trainer", steps, batches(data, nil), threads: team),
    try InputSide("prepared ahead", steps, batches(data, 16)),
    try InputSide("on demand", steps, batches(data, 0)),
    try InputSide("preparation alone", nil, batches(data, 0)),
    try InputSide("augmentation alone", nil, batches(augmented, 0)),
    try InputSide("augmentation, as a trainer", steps, batches(augmented, nil), threads: team),
    try InputSide("augmentation ahead", steps, batches(augmented, 16)),
  ]
  let timings = try timeInTurns(sides, seconds: options.seconds)
  options.tell("Input of \(recipe.name), batches of \(size), \(options.precision.rawValue)")
  let table = Table(
    [("batches", 26), ("ms/step", 7), ("of a step", 9)], colour: options.colour)
  options.tell(table.header)
  for (side, timing) in zip(sides, timings) {
    let ready = timings[0].median
    // Of what takes a step, that which it takes more; of what takes none, all.
    let share = (timing.median - (side.hasSteps ? ready : 0)) / ready
    let line = JSON.object(
      [
        ("bench", "input"), ("workload", .string(recipe.name)), ("batches", .string(side.name)),
        ("threads", .integer(options.threads)), ("isa", .string(options.isa.name)),
        ("batch", .integer(size)), ("ms", .number(rounded(timing.median * 1e3))),
        ("share", .number(rounded(share))),
      ] + timing.spread)
    outcome.lines.append(line)
    options.print(
      options.json
        ? line.text
        : table.line([
          Cell(side.name), Cell(significant(timing.median * 1e3)), Cell(percent(share)),
        ]))
  }
  return outcome
}

/// Steps on batches of a source, epoch after epoch; on one batch that is ready where there is no source.
private final class InputSide: Side {
  let name: String
  private let steps: CompiledSteps?
  private let source: Batches?
  private let threads: BatchThreads?
  private var iterator: (any BatchIterator)?
  private var epoch = 0
  /// Batches that were made before, of which each step takes the next one; none where they are made on the way.
  private var kept: [Batch] = []
  private var place = 0

  /// - `threads`: make batches between two steps; nil for the calling one alone.
  init(
    _ name: String, _ steps: CompiledSteps?, _ source: Batches?, isKept: Bool = false,
    threads: BatchThreads? = nil
  ) throws {
    self.name = name
    self.steps = steps
    self.source = source
    self.threads = threads
    if isKept, let source {
      let iterator = try source.makeIterator(epoch: 0)
      while kept.count < 16, let batch = try iterator.next() { kept.append(batch) }
    }
  }

  var hasSteps: Bool { steps != nil }

  func run(_ count: Int) throws -> Double {
    for _ in 0..<untimed(before: count) { try one() }
    let time = try seconds { for _ in 0..<count { try one() } }
    // The thread that prepares ahead is no other side's business.
    iterator = nil
    return time
  }

  private func one() throws {
    guard let source else {
      try steps?.run()
      return
    }
    let batch = try kept.isEmpty ? next(of: source) : kept[place]
    if !kept.isEmpty { place = (place + 1) % kept.count }
    if let step = steps?.steps.first?.step { _ = try step.run(batch) }
  }

  private func next(of source: Batches) throws -> Batch {
    // The last batch is smaller, and would compile another step.
    if let batch = try iterator?.next(), batch.count == source.size { return batch }
    epoch += 1
    let started = try BatchThreads.$current.withValue(threads) {
      try source.makeIterator(epoch: epoch)
    }
    iterator = started
    guard let batch = try started.next() else {
      throw ApusError(.invalidArgument, "there are no images", expected: "a batch of them at least")
    }
    return batch
  }
}

/// Random images whose pixels lie in one row, as the perceptron takes them.
private struct FlatImages: ComputedDataset {
  let base: LabeledImages

  init(count: Int) throws {
    var state: UInt64 = 1
    var pixels = try NDArray(checking: .u8(count, 28, 28))
    pixels.withUnsafeMutableBytes { bytes in
      for place in bytes.indices {
        state = state &* 0x5851_f42d_4c95_7f2d &+ 0x1405_7b7e_f767_814f
        bytes[place] = UInt8(state >> 56)
      }
    }
    base = try LabeledImages(
      pixels: pixels, labels: NDArray((0..<count).map { Int32($0 % 10) }, shape: [count]),
      classCount: 10)
  }

  var count: Int { base.count }
  let fields = [ExampleField("images", .f32(784)), ExampleField("labels", .i32())]

  func fill(_ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>) {
    base.fill(targets, with: examples)
  }
}
