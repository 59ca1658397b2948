// What references and decompositions along an axis share.

import ApusGraph
import Glibc

/// Applies `body` to the slices along `axis` of arrays of one shape.
func mapSlices(
  of operands: [NDArray], along axis: Int, _ result: TensorType, _ body: ([[Double]]) -> [Double]
) -> NDArray {
  let (outer, extent, inner) = result.shape.split(at: axis)
  let columns = operands.map(\.doubles)
  var values = [Double](repeating: 0, count: result.count)
  for o in 0..<outer {
    for i in 0..<inner {
      let places = (0..<extent).map { (o * extent + $0) * inner + i }
      let slices = columns.map { column in places.map { column[$0] } }
      for (place, value) in zip(places, body(slices)) { values[place] = value }
    }
  }
  return NDArray(doubles: values, type: result)
}

/// The greater of the two, NaN where one is.
func greatest(_ a: Double, _ b: Double) -> Double { a.isNaN || a > b ? a : b }

/// The greatest element along `axis`, kept, as a constant: it shifts and is not differentiated.
func greatestAlong(_ x: Tensor, _ axis: Int) -> Tensor {
  x.stopGradient().max(axes: [axis], keepDims: true)
}

/// Softmax of a slice; zeros where all of it is -∞.
func probabilities(_ x: [Double]) -> [Double] {
  let m = x.reduce(-.infinity, greatest)
  if m == -.infinity { return x.map { _ in 0 } }
  let e = x.map { exp($0 - m) }
  let sum = e.reduce(0, +)
  return e.map { $0 / sum }
}

/// Softmax in primitives.
func probabilities(_ x: Tensor, _ axis: Int) -> Tensor {
  guard x.shape[axis] > 0 else { return x }
  let mask = MaskedSlices(x, axis)
  let e = exp(x - mask.shift)
  return e / mask.orOne(e.sum(axes: [axis], keepDims: true))
}

/// Which slices are -∞ throughout, as where all classes are masked: their probabilities are 0.
struct MaskedSlices {
  /// Whether one is: bool, the axis kept.
  let isMasked: Tensor
  /// What a softmax is shifted by: the greatest element, or 0 in such a slice.
  let shift: Tensor

  init(_ x: Tensor, _ axis: Int) {
    let greatest = greatestAlong(x, axis)
    isMasked = greatest .== -.infinity
    shift = `where`(isMasked, 0, greatest)
  }

  /// A sum over the axis, or 1 in such a slice.
  func orOne(_ sum: Tensor) -> Tensor { `where`(isMasked, 1, sum) }
}
