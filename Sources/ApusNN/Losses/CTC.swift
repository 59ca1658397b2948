// Connectionist temporal classification: labels of a sequence whose places are not known.

import ApusGraph
import ApusOps

/// The CTC loss (Graves et al. 2006, "Connectionist Temporal Classification"): the negative log of the
/// probability that a sequence of frames reads as the labels, over all ways to spread them, with blanks between. As
/// PyTorch's `ctc_loss`, batch first.
///
///     let loss = ctcLoss(
///       logSoftmax(logits), labels, lengths: frames, labelLengths: letters)
///     // f32[8,200,29], i32[8,30], i32[8], i32[8] → f32[]
///
/// It is computed by one scan over the frames, forwards and backwards.
///
/// - `logProbabilities`: `[batch, time, classes]`.
/// - `labels`: class numbers, `[batch, most]` (else `shapeMismatch`). What stands behind a row's length is not read. A
///   label outside the classes is an `outOfRange` error of the run.
/// - `lengths`: how many frames of each row count, 1 up to `time`; all of them by default.
/// - `labelLengths`: how many labels each row has, 0 up to `most`; all of them by default.
/// - `blank`: the class that is no label.
/// - `zeroInfinity`: whether a row that cannot read so, having too few frames, has loss 0 and not ∞. Its gradient is
///   0 in either case.
/// - `reduction`: the mean over the rows of the loss over the number of labels (PyTorch's `mean`), the sum of the
///   losses, or a loss for each row.
public func ctcLoss(
  _ logProbabilities: Tensor, _ labels: Tensor, lengths: Tensor? = nil,
  labelLengths: Tensor? = nil, blank: Int = 0, zeroInfinity: Bool = false,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: logProbabilities, file, line) {
    let all = [logProbabilities, labels] + [lengths, labelLengths].compactMap { $0 }
    if all.contains(where: \.isPoisoned) { return logProbabilities }
    try expectCTC(logProbabilities, labels, lengths, labelLengths, blank: blank)
    let wide =
      logProbabilities.type.dtype.byteCount < 4 ? logProbabilities.cast(to: .f32) : logProbabilities
    let path = CTCPath(labels.cast(to: .i32), labelLengths?.cast(to: .i32), blank: blank)
    var losses = -path.logLikelihood(wide, lengths)
    if zeroInfinity { losses = `where`(isFinite(losses), losses, 0) }
    if reduction == .mean {
      let counts =
        labelLengths?.cast(to: losses.dtype)
        ?? losses.trace.full(losses.shape, Double(labels.shape[1]), losses.dtype)
      losses = losses / maximum(counts, 1)
    }
    return losses.reduced(by: reduction).cast(to: logProbabilities.dtype)
  }
}

/// The labels of each row with a blank before, between and behind them: what a sequence of frames walks along.
private struct CTCPath {
  /// `[batch, places]`.
  let classes: Tensor
  /// Whether a place may be come to from two before: over a blank between two different labels.
  let mayLeap: Tensor
  /// How many labels each row has; nil where all have `most`.
  let counts: Tensor?
  let most: Int

  init(_ labels: Tensor, _ counts: Tensor?, blank: Int) {
    let (rows, most) = (labels.shape[0], labels.shape[1])
    self.counts = counts
    self.most = most
    let trace = labels.trace
    var labels = labels
    if let counts {
      let isReal = trace.range(to: Double(most)) .< counts.expandingDims(at: 1)
      labels = `where`(isReal, labels, Double(blank))
    }
    let blanks = trace.full([rows, most], Double(blank), .i32)
    let pairs = stack([blanks, labels], axis: 2).reshaped([rows, 2 * most])
    classes = concat([pairs, trace.full([rows, 1], Double(blank), .i32)], axis: 1)
    let before = pairs.padded(low: [0, 2], high: [0, 0], value: Double(blank))
      .sliced(axis: 1, to: 2 * most + 1)
    mayLeap = (classes .!= Double(blank)) .& (classes .!= before)
  }

  /// `[batch]`: the log of the probability of the path.
  func logLikelihood(_ logP: Tensor, _ lengths: Tensor?) -> Tensor {
    let (rows, steps, places) = (logP.shape[0], logP.shape[1], 2 * most + 1)
    // Each frame's log-probability of each place's class, a frame along the first axis.
    let index = classes.expandingDims(at: 1).broadcast(to: [rows, steps, places])
    let emitted = logP.takeAlong(index, axis: -1).transposed([1, 0, 2])
    let never = -Double.infinity
    let first = `where`(
      logP.trace.range(to: Double(places)) .< 2,
      emitted.sliced(axis: 0, from: 0, to: 1).reshaped([rows, places]), never)
    var slices = [emitted.sliced(axis: 0, from: 1)]
    if let lengths {
      let counts = lengths.lengthMask(steps).transposed()
      slices.append(counts.sliced(axis: 0, from: 1).expandingDims(at: -1))
    }
    let (mayLeap, hasLengths) = (mayLeap, lengths != nil)
    let last = scan(slices, from: [first]) { carry, slices in
      let stay = carry[0]
      func moved(_ by: Int) -> Tensor {
        stay.padded(low: [0, by], high: [0, 0], value: never).sliced(axis: 1, to: places)
      }
      let (step, leap) = (moved(1), `where`(mayLeap, moved(2), never))
      let greatest = maximum(maximum(stay, step), leap)
      // Where nothing leads here, no difference of infinities and no slope.
      let shift = `where`(greatest .== never, 0, greatest).stopGradient()
      let sum = exp(stay - shift) + exp(step - shift) + exp(leap - shift)
      let isNothing = sum .== 0
      let total = `where`(isNothing, never, log(`where`(isNothing, 1, sum)) + shift)
      let new = total + slices[0]
      return (carry: [hasLengths ? `where`(slices[1], new, stay) : new], outputs: [])
    }.carry[0]
    return end(of: last)
  }

  /// From the last place, a blank, and the one before it, the last label, if there is one.
  private func end(of places: Tensor) -> Tensor {
    let trace = places.trace
    let never = -Double.infinity
    let rows = places.shape[0]
    let blank = (counts ?? trace.full([rows], Double(most), .i32)).expandingDims(at: 1) * 2
    let label = maximum(blank - 1, 0)
    let ends = concat(
      [
        places.takeAlong(blank, axis: 1),
        `where`(blank .== 0, never, places.takeAlong(label, axis: 1)),
      ], axis: 1)
    return ends.logsumexp(axis: -1)
  }
}

/// - Throws: `shapeMismatch`, `dtypeMismatch` or `outOfRange`, saying what fits.
private func expectCTC(
  _ logP: Tensor, _ labels: Tensor, _ lengths: Tensor?, _ labelLengths: Tensor?, blank: Int
) throws {
  guard logP.dtype.isFloat, logP.rank == 3, logP.shape[1] > 0 else {
    throw ApusError(
      .shapeMismatch, "ctcLoss: the log-probabilities are \(logP.type)",
      expected: "floats of [batch, time, classes], with at least one frame")
  }
  guard (0..<logP.shape[2]).contains(blank) else {
    throw ApusError(
      .outOfRange, "ctcLoss: the blank is class \(blank) of \(logP.shape[2])",
      expected: "a class in 0..<\(logP.shape[2])")
  }
  guard labels.rank == 2, labels.shape[0] == logP.shape[0] else {
    throw ApusError(
      .shapeMismatch, "ctcLoss: \(logP.type) has labels \(labels.type)",
      expected: "[\(logP.shape[0]), most], a row for each sequence, padded to the longest")
  }
  for (name, tensor) in [("labels", labels), ("lengths", lengths), ("labelLengths", labelLengths)] {
    guard let tensor else { continue }
    guard tensor.dtype.isInteger else {
      throw ApusError(
        .dtypeMismatch, "ctcLoss: \(name) is \(tensor.type)", expected: "integers")
    }
    guard name == "labels" || tensor.shape == [logP.shape[0]] else {
      throw ApusError(
        .shapeMismatch, "ctcLoss: \(name) is \(tensor.type)",
        expected: "a length for each of \(logP.shape[0]) rows")
    }
  }
}
