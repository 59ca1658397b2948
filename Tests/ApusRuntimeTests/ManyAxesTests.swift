// Tensors of more axes than the tile machine and the copy kernels have dimensions.

import ApusGraph
import ApusOps
import ApusRuntime
import TestSupport
import Testing

@Suite struct ManyAxesTests {
  /// What `body` gives is what the interpreter says, at every level and for teams of several sizes.
  private func check(
    _ types: [TensorType], sourceLocation: SourceLocation = #_sourceLocation,
    _ body: ([Tensor]) -> Tensor
  ) throws {
    let trace = Trace()
    Trace.$current.withValue(trace) {
      trace.output("y", body(types.enumerated().map { trace.input("x\($0)", $1) }))
    }
    let graph = try trace.finish()
    var random = SplitMix("many axes")
    let arrays = types.map { type in
      // Small whole numbers: sums are exact in any order.
      NDArray(
        doubles: (0..<type.count).map { _ in Double(Int.random(in: -8...8, using: &random)) },
        type: type)
    }
    let wanted = try graph.interpret(inputs: arrays, widened: false).outputs[0]
    for isa in Environment.availableISAs {
      for threads in [1, 2, 7] {
        let executable = try Executable(
          graph, options: CompileOptions(isa: isa, threads: threads))
        let got = try executable.run(arrays)[0]
        #expect(got == wanted, "\(isa.name), \(threads) threads", sourceLocation: sourceLocation)
      }
    }
  }

  /// Every second axis of extent 1: none can be joined with its neighbour.
  private func comb(_ rank: Int, _ extent: Int, from start: Int) -> TensorType {
    TensorType(.f32, Shape((0..<rank).map { $0 % 2 == start ? extent : 1 }))
  }

  @Test(arguments: [7, 8, 10, 12]) func broadcastsThatAlternate(rank: Int) throws {
    let extent = rank > 8 ? 2 : 3
    let types = [comb(rank, extent, from: 0), comb(rank, extent, from: 1)]
    try check(types) { $0[0] * $0[1] + 1 }
    try check(types) { maximum($0[0], $0[1]) - $0[0] }
  }

  @Test(arguments: [7, 9, 11]) func transposedAxes(rank: Int) throws {
    let x = TensorType(.f32, Shape((0..<rank).map { $0 % 3 == 0 ? 3 : 2 }))
    let reversed = Array((0..<rank).reversed())
    try check([x]) { $0[0].transposed(reversed) }
    try check([x]) { $0[0].transposed(reversed) + 1 }
    let order = (0..<rank).map { ($0 * 2) % rank }
    if Set(order).count == rank { try check([x]) { relu($0[0].transposed(order)) * 2 } }
  }

  @Test(arguments: [7, 9, 11]) func foldedAxesThatAlternate(rank: Int) throws {
    let x = TensorType(.f32, Shape(Array(repeating: 2, count: rank)))
    for start in [0, 1] {
      let axes = (0..<rank).filter { $0 % 2 == start }
      try check([x]) { $0[0].sum(axes: axes) }
      try check([x]) { ($0[0] * 2 - 1).max(axes: axes, keepDims: true) - $0[0] }
      try check([x, comb(rank, 2, from: 1)]) { ($0[0] + $0[1]).sum(axes: axes) }
    }
    let order = Array((0..<rank).reversed())
    try check([x]) { ($0[0].transposed(order) + 1).sum(axes: [0, 2, rank - 1]) }
  }

  @Test func otherTypesAndEmptyAxes() throws {
    for dtype in [DType.i64, .u8, .bf16, .i32] {
      let x = comb(8, 2, from: 0).with(dtype), y = comb(8, 2, from: 1).with(dtype)
      try check([x, y]) { $0[0] + $0[1] }
    }
    try check([TensorType(.f32, [2, 1, 2, 1, 0, 1, 2, 1]), comb(8, 2, from: 1)]) { $0[0] + $0[1] }
    let long = TensorType(.f32, [2, 1, 2, 1, 2, 1, 2, 40]),
      wide = TensorType(.f32, [1, 2, 1, 2, 1, 2, 1, 40])
    try check([long, wide]) { ($0[0] - $0[1]).sum(axes: [0, 2, 4, 7]) }
  }
}
