// A layer with lengths as its ops say it: packed rows, a product of those that are there, the loop, and back.

import ApusAutodiff
import ApusGraph
import ApusOps
import TestSupport
import Testing

@Suite struct PackedSequenceTests {
  private static func numbers(_ shape: Shape, seed: UInt64) -> NDArray {
    var random = SplitMix(seed: seed)
    return NDArray(
      doubles: (0..<shape.count).map { _ in Double.random(in: -1...1, using: &random) },
      type: TensorType(.f64, shape))
  }

  /// Sequences of 2, 4 and 1 steps, the second first.
  private static let order = NDArray([1, 0, 2] as [Int64], shape: [3])
  private static let offsets = NDArray([0, 3, 5, 6, 7] as [Int32], shape: [5])

  @Test(arguments: [false, true])
  func secondDerivativesPassTheGradientCheck(isReversed: Bool) throws {
    let (inputs, hidden) = (2, 3)
    let arrays = [
      Self.numbers([3, 4, inputs], seed: 1), Self.numbers([4 * hidden, inputs], seed: 2),
      Self.numbers([4 * hidden], seed: 3), Self.numbers([4 * hidden, hidden], seed: 4),
      Self.numbers([3, hidden], seed: 5), Self.numbers([3, hidden], seed: 6),
    ]
    let worst = try checkGradients(arrays, order: 2, directions: 2) { t in
      let order = Tensor.constant(Self.order), offsets = Tensor.constant(Self.offsets)
      let rows = packRows(t[0], order: order, offsets: offsets)
      let gates = liveProduct(rows, t[1], bias: t[2], live: offsets)
      let results = lstmLoop(
        gates, t[4], t[5], t[3], offsets: offsets, isReversed: isReversed)
      let outputs = unpackRows(results[0], batch: 3, order: order, offsets: offsets)
      return square(outputs).sum() + (results[1] * results[2]).sum()
    }
    #expect(worst < 1e-6)
  }

  /// What stands behind the rows that there are reaches nothing.
  @Test func rowsBehindTheLastReachNoGradient() throws {
    let graph = try traced([.f64(5, 2), .f64(2, 3), .f64(3), .f64(5, 3)]) { t in
      let live = Tensor.constant(NDArray([9, 2] as [Int32], shape: [2]))
      let y = Tensor.apply(LiveMatMul(hasBias: true), to: t[0], t[1], live, t[2])
      return [y] + gradients(of: y, withRespectTo: Array(t[0...2]), seed: t[3])
    }
    func array(_ shape: Shape, nanFrom row: Int) -> NDArray {
      let width = shape[-1]
      return NDArray(
        doubles: (0..<shape.count).map { $0 / width < row ? Double($0 + 1) : .nan },
        type: TensorType(.f64, shape))
    }
    let outputs = try graph.interpret(
      inputs: [
        array([5, 2], nanFrom: 2), array([2, 3], nanFrom: 2),
        array([1, 3], nanFrom: 1).reshaped([3]), array([5, 3], nanFrom: 2),
      ]
    ).outputs
    #expect(outputs[0].doubles == [10, 14, 18, 20, 28, 36] + Array(repeating: 0, count: 9))
    #expect(outputs[1].doubles == [14, 32, 32, 77, 0, 0, 0, 0, 0, 0])
    #expect(outputs[2].doubles == [13, 17, 21, 18, 24, 30])
    #expect(outputs[3].doubles == [5, 7, 9])
  }

  @Test func whatDoesNotFitIsNamed() throws {
    func error(_ body: @escaping ([Tensor]) -> Tensor) -> ApusError? {
      do {
        _ = try traced([.f32(3, 4, 2), .i64(3), .i32(5), .f32(7, 2), .f32(5, 2)]) { [body($0)] }
        return nil
      } catch { return error as? ApusError }
    }
    #expect(error { packRows($0[0], order: $0[1], offsets: $0[2]) } == nil)
    let short = error { packRows($0[0], order: $0[1], offsets: $0[2].sliced(axis: 0, from: 1)) }
    #expect(short?.what == "pack_rows: f32[3,4,2] with offsets i32[4]")
    let many = error { unpackRows($0[3], batch: 3, order: $0[1], offsets: $0[2]) }
    #expect(many?.what == "unpack_rows: f32[7,2] of 3 sequences with offsets i32[5]")
    let inner = error { liveProduct($0[3], $0[4].transposed(), bias: nil, live: $0[2]) }
    #expect(inner?.kind == .shapeMismatch)
    let live = error { liveProduct($0[3], $0[4], bias: nil, live: $0[1]) }
    #expect(live?.expected == "two matrices, and i32 of one axis whose last is the number")
  }
}
