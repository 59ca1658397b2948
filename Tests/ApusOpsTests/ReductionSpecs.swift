// Specs of the reductions: rows, columns, both, everything, nothing.

import ApusGraph
import ApusOps
import TestSupport

let reductionSpecs: [OpSpec] = [
  OpSpec(
    Sum(axes: [1], keepDims: false), on: [[.f32(3, 17)], [.f32(2, 0)], [.f32(4, 1003)]],
    rejects: [[.f32(3)], [.f32()]]),
  OpSpec(Sum(axes: [0], keepDims: true), on: [[.f32(3, 17)], [.f32(1003)], [.f32(33, 129)]]),
]
