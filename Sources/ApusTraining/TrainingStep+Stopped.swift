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
  /// How many losses there are.
  private let losses: Int
  private let assumptions: Assumptions

  init(_ step: TrainingStep, _ fields: [BatchField]) throws {
    self.fields = fields
    let freezes = Assumptions.now
    var paths: [String] = []
    let (trace, recorder, hasWeight) = try step.recording(fields, step.slots, step.kept, .updates) {
      trace, recorder in
      for (path, gradient) in recorder.minimizations.flatMap(\.own) {
        trace.output("gradient \(paths.count)", magnitudeBound([gradient]))
        paths.append(path)
      }
      for (place, loss) in recorder.ownLosses.enumerated() {
        trace.output("own loss \(place)", loss.cast(to: .f32))
      }
      let weight = recorder.ownLosses.first.flatMap { trace.weight(ofMean: $0) }
      if let weight { trace.output("weight", weight) }
      return weight != nil
    }
    self.paths = paths
    self.hasWeight = hasWeight
    losses = recorder.ownLosses.count
    assumptions = Assumptions(of: trace, from: freezes)
    var graph = try trace.finish()
    graph.assignments = []
    var options = step.compileOptions
    options.processes = nil
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

  /// Of this process's examples alone.
  func run(
    _ batch: Batch
  ) throws -> (
    lossWeight: Double?, losses: [Double], gradients: [(path: String, magnitude: Double)]
  ) {
    let numbers = try executable.run(batch.arrays).map(\.scalar)
    return (
      hasWeight ? numbers.last : nil, Array(numbers.dropFirst(paths.count).prefix(losses)),
      Array(zip(paths, numbers))
    )
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
    let (weight, losses, gradients) = try graph.run(batch)
    var result = StepResult(loss: 0)
    result.wasSkipped = true
    let isEmpty = weight == 0 || !batch.isCounted
    if isEmpty, parallel == nil { return result }
    var error = Inquiry(batch, step: count, parameters: parameters, gradients: gradients)
      .error(bad?.name ?? "loss", bad?.value ?? .nan).located(at: location)
    if let parallel {
      let isFine =
        losses.allSatisfy(\.isFinite) && gradients.allSatisfy(\.magnitude.isFinite)
      let finding: DataParallel.Finding =
        isEmpty ? .nothingToLearn : isFine ? .innocent(error) : .fault(error)
      guard let all = try parallel.settle(finding) else { return result }
      error = all
      // What is wrong for good in another process, such as a label, is thrown there whatever the policy.
      if nonFinite == .raise || error.kind != .nonFinite { throw JointError(error) }
    }
    if nonFinite == .raise { throw error }
    result.nonFinite = error
    return result
  }
}
