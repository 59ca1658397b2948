// Steps that change nothing: why, and what becomes of them.

import ApusData
import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime

/// A step recorded once more, to look closer at a batch that it came to nothing on: what the loss is a mean over,
/// where it says so, and the greatest magnitude in each gradient. It changes nothing.
struct InquiryGraph {
  let fields: [BatchField]
  private let executable: Executable
  private let paths: [String]
  private let hasWeight: Bool
  private let assumptions: Assumptions

  init(_ step: TrainingStep, _ fields: [BatchField]) throws {
    self.fields = fields
    let freezes = Assumptions.now
    var paths: [String] = []
    let (trace, _, hasWeight) = try step.recording(fields, step.slots, step.kept, .updates) {
      trace, recorder in
      for (path, gradient) in recorder.minimizations.flatMap(\.gradients) {
        trace.output("gradient \(paths.count)", magnitudeBound([gradient]))
        paths.append(path)
      }
      let weight = recorder.losses.first.flatMap { trace.weight(ofMean: $0.value) }
      if let weight { trace.output("weight", weight) }
      return weight != nil
    }
    self.paths = paths
    self.hasWeight = hasWeight
    assumptions = Assumptions(of: trace, from: freezes)
    var graph = try trace.finish()
    graph.assignments = []
    var options = step.compileOptions
    // Of gradients that are products the products themselves are looked at.
    options.disabledPasses.insert("bound-by-factors")
    let states = try StateStore(of: trace, random: step.random.cell)
    do {
      executable = try Executable(graph, states: states, options: options)
    } catch let error as ApusError where error.kind == .resource && options.memoryLimit != nil {
      // Other values come together in it. What is wrong with the batch is worth the memory, once.
      options.memoryLimit = nil
      executable = try Executable(graph, states: states, options: options)
    }
  }

  /// Whether it is for such batches, and what is frozen is what it was.
  func fits(_ fields: [BatchField]) -> Bool { self.fields == fields && assumptions.hold }

  func run(
    _ batch: Batch
  ) throws -> (lossWeight: Double?, gradients: [(path: String, magnitude: Double)]) {
    let numbers = try executable.run(batch.arrays).map(\.scalar)
    return (hasWeight ? numbers.last : nil, Array(zip(paths, numbers)))
  }
}

extension TrainingStep {
  /// What a run that was not complete comes to.
  ///
  /// - `bad`: the first number that must be finite and is not.
  /// - `parameters`: those of the step.
  /// - Throws: `nonFinite`, unless the step is one that skips.
  func stopped(
    _ bad: (name: String, value: Double)?, _ batch: Batch, _ parameters: [Parameter]
  ) throws -> StepResult {
    let graph =
      try inquiry.flatMap { $0.fits(batch.fields) ? $0 : nil }
      ?? InquiryGraph(self, batch.fields)
    if nonFinite != .raise { inquiry = graph }
    let (weight, gradients) = try graph.run(batch)
    var result = StepResult(loss: 0)
    result.wasSkipped = true
    if weight == 0 { return result }
    let error = Inquiry(batch, step: count, parameters: parameters, gradients: gradients)
      .error(bad?.name ?? "loss", bad?.value ?? .nan).located(at: location)
    if nonFinite == .raise { throw error }
    result.nonFinite = error
    return result
  }
}
