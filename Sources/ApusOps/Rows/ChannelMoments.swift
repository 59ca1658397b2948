// Mean and variance of each channel over all that comes before: the statistics of batch normalisation.

import ApusGraph
import CKernels

/// For each channel, over the R rows before the last axis: `mean = Σ x / R` and
/// `variance = Σ (x - mean)² / R`; NaN of no rows.
///
/// The kernel reads x once and loses nothing where the mean is large: `ck_batch_norm.h`.
///
/// Operand: x `[rows…, C]`, floats. Results: mean and variance `[C]`, `f32`, or `f64` of `f64`.
package struct ChannelMoments: CompositeOp, NarrowableOp {
  package static let mnemonic = "channel_moments"

  package init() {}
  package init(attributes: AttributeReader) throws { self.init() }
  package var attributes: [Attribute] { [] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    let type = try operands[0].checkedChannels(mnemonic)
    return [type, type]
  }

  // Σ (x - mean) is 0, so that the variance does not depend on the mean in first order.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let x = context.operands[0]
    let (mean, wide) = (context.results[0], x.cast(to: context.results[0].dtype))
    let rows = Double(Swift.max(x.shape.withoutLast.count, 1))
    let fromMean = context.gradients[0].map { ($0 / rows).broadcast(to: x.shape) }
    let fromVariance = context.gradients[1].map { (wide - mean) * ($0 * (2 / rows)) }
    let flows = [fromMean, fromVariance].compactMap { $0 }
    return [flows.dropFirst().reduce(flows[0]) { $0 + $1 }.cast(to: x.dtype)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let moments = ChannelSums(operands[0]).moments
    return zip([moments.mean, moments.variance], results).map { NDArray(doubles: $0, type: $1) }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    view.isContiguous
  }

  package func hasKernel(_ operands: [TensorType]) -> Bool {
    operands[0].dtype == .f32 || operands[0].dtype == .bf16
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let x = operands[0].cast(to: try resultTypes([operands[0].type])[0].dtype)
    let rows = Array(0..<x.rank - 1)
    return [x.mean(axes: rows), x.variance(axes: rows, correction: 0)]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let x = site.operands[0]
    var args = ck_moments_args()
    args.rows = Int64(x.shape.withoutLast.count)
    args.cols = Int64(x.shape[-1])
    args.x_dtype = x.dtype.kernelCode
    var call = KernelCall(
      "ck_moments", ck_batch_norm(CK_BATCH_NORM_MOMENTS, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_moments_args.x, to: .operand(0))
    call.bind(\ck_moments_args.mean, to: .result(0))
    call.bind(\ck_moments_args.variance, to: .result(1))
    call.workspaceBytes = ck_moments_workspace_bytes(&args)
    call.bind(\ck_moments_args.workspace, to: .workspace)
    call.flops = 4 * Double(x.count)
    return call
  }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { true }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { false }
  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op { self }
}

extension TensorType {
  /// The type of what there is one of for each channel of this: `[C]` of `f32`, or of `f64`.
  ///
  /// - Throws: `dtypeMismatch` where this is no `[rows…, C]` of floats.
  func checkedChannels(_ name: String) throws -> TensorType {
    guard dtype.isFloat, rank >= 1 else {
      throw ApusError(
        .dtypeMismatch, "\(name): not defined for \(self)", expected: "floats of [rows…, channels]")
    }
    return with(dtype.isHalf ? .f32 : dtype).lastAxis
  }
}

/// Rows of channels in double, for the references.
struct ChannelSums {
  let values: [Double]
  let channels: Int

  init(_ array: NDArray) {
    values = array.doubles
    channels = array.shape[-1]
  }

  var rows: Int { channels == 0 ? 0 : values.count / channels }

  /// `Σ_rows term(place, channel)`.
  func sums(_ term: (Int, Int) -> Double) -> [Double] {
    var sums = [Double](repeating: 0, count: channels)
    for place in values.indices { sums[place % channels] += term(place, place % channels) }
    return sums
  }

  var moments: (mean: [Double], variance: [Double]) {
    let count = Double(rows)
    var mean = sums { place, _ in values[place] }.map { $0 / count }
    // The mean's rounding error is taken out: equal numbers have no deviation at all.
    let rest = sums { values[$0] - mean[$1] }.map { $0 / count }
    mean = zip(mean, rest).map { $0 + $1 }
    let squares = sums { (values[$0] - mean[$1]) * (values[$0] - mean[$1]) }
    return (mean, squares.map { $0 / count })
  }
}
