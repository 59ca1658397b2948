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

/// Softmax of a slice.
func probabilities(_ x: [Double]) -> [Double] {
  let m = x.reduce(-.infinity, greatest)
  let e = x.map { exp($0 - m) }
  let sum = e.reduce(0, +)
  return e.map { $0 / sum }
}

/// Softmax in primitives.
func probabilities(_ x: Tensor, _ axis: Int) -> Tensor {
  guard x.shape[axis] > 0 else { return x }
  let e = exp(x - greatestAlong(x, axis))
  return e / e.sum(axes: [axis], keepDims: true)
}
