// Specs of ops that run graphs of their own.

import ApusGraph
import ApusOps
import TestSupport

/// A scan whose body is recorded over inputs of these types: carries, slices, constants.
private func scan(
  _ types: [TensorType], carries: Int, slices: Int, length: Int, isReversed: Bool = false,
  recomputes: Bool = false, _ body: ([Tensor]) throws -> [Tensor]
) -> Scan {
  let graph = try! traced(types) { try body($0) }
  return Scan(
    graph, carries: carries, slices: slices, length: length, isReversed: isReversed,
    recomputes: recomputes)
}

/// A cell with a product, `h' = tanh(x + h w)`, which gives out h' and a function of h.
private func cell(length: Int, isReversed: Bool, recomputes: Bool = false) -> Scan {
  scan(
    [.f32(3, 5), .f32(3, 5), .f32(5, 5)], carries: 1, slices: 1, length: length,
    isReversed: isReversed, recomputes: recomputes
  ) {
    let next = tanh($0[1] + matmul($0[0], $0[2]))
    return [next, next, $0[0] * $0[0]]
  }
}

/// None has a kernel of its own to compare: a plan's calls are compared in ApusRuntimeTests.
let controlSpecs: [OpSpec] = [
  // A running sum: no constants.
  OpSpec(
    scan([.f32(4), .f32(4)], carries: 1, slices: 1, length: 3, isReversed: false) {
      let sum = $0[0] + $0[1]
      return [sum, sum]
    }, on: [[.f32(4), .f32(3, 4)]],
    rejects: [[.f32(4), .f32(2, 4)], [.f32(4), .f32(4)], [.f32(4)], [.f64(4), .f32(3, 4)]],
    examples: [
      .init(
        [
          NDArray([0, 10] as [Float] + [0, 0], shape: [4]),
          NDArray([1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3] as [Float], shape: [3, 4]),
        ],
        gives: [
          NDArray([6, 16, 6, 6] as [Float], shape: [4]),
          NDArray([1, 11, 1, 1, 3, 13, 3, 3, 6, 16, 6, 6] as [Float], shape: [3, 4]),
        ])
    ], isCompiled: false),
  OpSpec(
    cell(length: 4, isReversed: false), .uniform(-1...1),
    on: [[.f32(3, 5), .f32(4, 3, 5), .f32(5, 5)]], isConsistent: false, isCompiled: false),
  OpSpec(
    cell(length: 3, isReversed: true), .uniform(-1...1),
    on: [[.f32(3, 5), .f32(3, 3, 5), .f32(5, 5)]], isConsistent: false, isCompiled: false),
  OpSpec(
    cell(length: 3, isReversed: false, recomputes: true), .uniform(-1...1),
    on: [[.f32(3, 5), .f32(3, 3, 5), .f32(5, 5)]], isConsistent: false, isCompiled: false),
  // One turn, and none.
  OpSpec(
    cell(length: 1, isReversed: false), .uniform(-1...1),
    on: [[.f32(3, 5), .f32(1, 3, 5), .f32(5, 5)]], isConsistent: false, isCompiled: false),
  OpSpec(
    cell(length: 0, isReversed: true), .uniform(-1...1),
    on: [[.f32(3, 5), .f32(0, 3, 5), .f32(5, 5)]], isConsistent: false, isCompiled: false),
  // Carries that change places, one that stays, a slice given out as it is, a constant of the body's own.
  OpSpec(
    scan(
      [.f32(2), .f32(2), .f32(17), .f32(3)], carries: 3, slices: 1, length: 5, isReversed: false
    ) { [$0[1] * 1.5, $0[0] + $0[3].sum(), $0[2], $0[3], $0[0]] },
    on: [[.f32(2), .f32(2), .f32(17), .f32(5, 3)]], isCompiled: false),
  // Integers go along, without a gradient.
  OpSpec(
    scan([.i32(), .f32(3)], carries: 2, slices: 0, length: 4, isReversed: false) {
      [$0[0] + 1, $0[1] * 1.5, $0[0]]
    }, .integers(1...3), .uniform(-1...1), on: [[.i32(), .f32(3)]], isCompiled: false),
  // A loop in a loop.
  OpSpec(
    scan([.f32(2, 3), .f32(4, 2, 3), .f32(3, 3)], carries: 1, slices: 1, length: 2) { outer in
      let (last, all) = scan(outer[1], from: outer[0]) { h, x in
        let next = tanh(x + matmul(h, outer[2]))
        return (carry: next, output: next)
      }
      return [last, all.sum(axes: [0])]
    }, .uniform(-1...1), on: [[.f32(2, 3), .f32(2, 4, 2, 3), .f32(3, 3)]], isConsistent: false,
    isCompiled: false),
]
