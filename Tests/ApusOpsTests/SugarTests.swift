// What users write: operators, scalars on either side, promotion, NumPy's names; values by hand.

import ApusGraph
import ApusOps
import Testing

private func value(_ x: [Double], _ body: (Tensor) throws -> Tensor) throws -> [Double] {
  let type = TensorType.f32(x.count)
  let graph = try traced([type]) { [try body($0[0])] }
  return try graph.interpret(inputs: [NDArray(doubles: x, type: type)]).outputs[0].doubles
}

/// The result on `0, 1, 2 …` of the given shape, and its shape.
private func counted(_ shape: Shape, _ body: (Tensor) throws -> Tensor) throws -> (Shape, [Double])
{
  let type = TensorType(.f32, shape)
  let graph = try traced([type]) { [try body($0[0])] }
  let input = NDArray(doubles: (0..<shape.count).map(Double.init), type: type)
  let result = try graph.interpret(inputs: [input]).outputs[0]
  return (result.shape, result.doubles)
}

private func mistake(_ type: TensorType, _ body: (Tensor) throws -> Tensor) -> ApusError? {
  do {
    _ = try traced([type]) { [try body($0[0])] }
    return nil
  } catch {
    return error as? ApusError
  }
}

@Suite struct ArithmeticSugarTests {
  @Test func scalarsStandOnEitherSide() throws {
    #expect(try value([1, 2]) { $0 + 1 } == [2, 3])
    #expect(try value([1, 2]) { 1 + $0 } == [2, 3])
    #expect(try value([1, 2]) { $0 - 1 } == [0, 1])
    #expect(try value([1, 2]) { 1 - $0 } == [0, -1])
    #expect(try value([1, 2]) { $0 * 3 } == [3, 6])
    #expect(try value([1, 2]) { 3 * $0 } == [3, 6])
    #expect(try value([1, 2]) { $0 / 2 } == [0.5, 1])
    #expect(try value([1, 2]) { 2 / $0 } == [2, 1])
    #expect(try value([5, -5]) { $0 % 3 } == [2, -2])
    #expect(try value([1, 2]) { -$0 } == [-1, -2])
    #expect(try value([1, 4]) { maximum($0, 2) } == [2, 4])
    #expect(try value([1, 4]) { minimum(2, $0) } == [1, 2])
    #expect(try value([1, 3]) { pow(2, $0) } == [2, 8])
    #expect(try value([1, -1]) { atan2($0, 0) } == [.pi / 2, -.pi / 2])
  }

  @Test func comparisonsAndLogicCombine() throws {
    let number: (Tensor) -> Tensor = { $0.cast(to: .f32) }
    #expect(try value([1, 2, 3]) { number($0 .< 2) } == [1, 0, 0])
    #expect(try value([1, 2, 3]) { number($0 .<= 2) } == [1, 1, 0])
    #expect(try value([1, 2, 3]) { number($0 .> 2) } == [0, 0, 1])
    #expect(try value([1, 2, 3]) { number($0 .>= 2) } == [0, 1, 1])
    #expect(try value([1, 2, 3]) { number($0 .== 2) } == [0, 1, 0])
    #expect(try value([1, 2, 3]) { number($0 .!= 2) } == [1, 0, 1])
    #expect(try value([1, 2, 3]) { number(2 .< $0) } == [0, 0, 1])
    #expect(try value([1, 2, 3]) { number(($0 .> 1) .& ($0 .< 3)) } == [0, 1, 0])
    #expect(try value([1, 2, 3]) { number(($0 .< 2) .| ($0 .> 2)) } == [1, 0, 1])
    #expect(try value([1, 2, 3]) { number(.!(($0 .> 1) .^ ($0 .> 2))) } == [1, 0, 1])
    #expect(try value([1, 2, 3]) { `where`($0 .> 1, $0, 0) } == [0, 2, 3])
    #expect(try value([1, 2, 3]) { `where`($0 .> 1, 0, $0) } == [1, 0, 0])
    #expect(try value([0, 2]) { number($0.any()) } == [1])
    #expect(try value([0, 2]) { number($0.all()) } == [0])
  }

  @Test func typesArePromotedAsInPyTorch() throws {
    let graph = try traced([.i32(2), .f32(2), .bf16(2), .f16(2), .bool(2)]) { t in
      [t[0] + t[1], t[2] * t[1], t[2] + t[3], `where`(t[4], t[0], t[1]), maximum(t[0], t[2])]
    }
    #expect(
      graph.outputs.map { graph.type(of: $0.operand) } == [
        .f32(2), .f32(2), .f32(2), .f32(2), .bf16(2),
      ])
  }

  @Test func modAndFloorDivisionFollowNumPy() throws {
    #expect(try value([5, -5, 4]) { mod($0, 3) } == [2, 1, 1])
    #expect(try value([5, -5, 4]) { mod($0, -3) } == [-1, -2, -2])
    #expect(try value([5, -5, 6]) { floorDivide($0, 3) } == [1, -2, 2])
    let integers = try traced([.i32(3)]) { [floorDivide($0[0], 3), mod($0[0], 3)] }
    let input = NDArray([5, -5, 6] as [Int32], shape: [3])
    #expect(
      try integers.interpret(inputs: [input]).outputs.map(\.integers) == [[1, -2, 2], [2, 1, 0]])
  }

  @Test func usualPowersNeedNoPowerOp() throws {
    for exponent in [1, 2, 0.5, -0.5, -1] {
      let graph = try traced([.f32(2)]) { [pow($0[0], exponent)] }
      #expect(!graph.nodes.contains { $0.op is Power })
    }
    #expect(try value([4, 9]) { pow($0, 0.5) } == [2, 3])
    #expect(try value([4, 0.5]) { pow($0, -1) } == [0.25, 2])
  }

  @Test func activationsHaveTheirValues() throws {
    func near(_ a: [Double], _ b: [Double]) -> Bool {
      zip(a, b).allSatisfy { abs($0 - $1) < 1e-7 }
    }
    #expect(near(try value([-1, 0, 2]) { mish($0) }, [-0.30340146, 0, 1.9439589]))
    #expect(try value([-3, 0.5, 3]) { hardTanh($0) } == [-1, 0.5, 1])
    #expect(try value([-3, 0.5, 3]) { clamp($0, low: 0) } == [0, 0.5, 3])
    #expect(try value([-3, 0.5, 3]) { clamp($0, high: 0) } == [-3, 0, 0])
    #expect(near(try value([-2, 3]) { leakyRelu($0) }, [-0.02, 3]))
    #expect(try value([-2, 8]) { relu6($0) } == [0, 6])
  }
}

@Suite struct ReductionSugarTests {
  @Test func statisticsFollowPyTorchAndNumPy() throws {
    let x: [Double] = [1, 2, 3, 4]
    #expect(try value(x) { $0.mean() } == [2.5])
    #expect(try value(x) { $0.variance() } == [5 / 3.0])
    #expect(try value(x) { $0.variance(correction: 0) } == [1.25])
    #expect(try value(x) { $0.std(correction: 0) } == [(1.25).squareRoot()])
    #expect(try value(x) { $0.max() } == [4])
    #expect(try value(x) { $0.min() } == [1])
    #expect(try value(x) { $0.product() } == [24])
    #expect(try value([3, 4]) { $0.norm() } == [5])
    #expect(try value([3, -4]) { $0.norm(order: 1) } == [7])
    #expect(try value([3, -4]) { $0.norm(order: .infinity) } == [4])
  }

  @Test func logsumexpNeitherOverflowsNorMakesNaN() throws {
    #expect(abs(try value([1000, 1000]) { $0.logsumexp() }[0] - 1000.6931471805599) < 1e-9)
    #expect(try value([-.infinity, -.infinity]) { $0.logsumexp() } == [-.infinity])
    #expect(try value([.infinity, 0]) { $0.logsumexp() } == [.infinity])
  }

  @Test func negativeAxesAndKeptDimensionsWork() throws {
    #expect(try counted([2, 3]) { $0.sum(axes: [-1]) } == ([2], [3, 12]))
    #expect(try counted([2, 3]) { $0.max(axes: [-2], keepDims: true) } == ([1, 3], [3, 4, 5]))
    #expect(try counted([2, 3]) { $0.mean(axes: [0, 1], keepDims: true) } == ([1, 1], [2.5]))
    #expect(try counted([2, 3]) { $0.logsumexp(axes: [1]) - $0.logsumexp(axes: [1]) }.0 == [2])
  }

  @Test func mistakesNameTheirLine() {
    let line = #line + 1
    let error = mistake(.f32(2, 3)) { $0.sum(axes: [2]) }
    #expect(error?.kind == .invalidArgument)
    #expect(error?.location?.hasSuffix("SugarTests.swift:\(line)") == true)
    #expect(mistake(.f32(2, 3)) { $0.max(axes: [0, -2]) }?.kind == .invalidArgument)
    #expect(mistake(.i32(3)) { $0.mean() }?.kind == .dtypeMismatch)
    #expect(mistake(.f32(0)) { $0.max() }?.kind == .invalidArgument)
  }
}

@Suite struct ShapeSugarTests {
  @Test func slicesFollowPython() throws {
    #expect(try counted([5]) { $0.sliced(axis: 0, from: 1, to: 3) }.1 == [1, 2])
    #expect(try counted([5]) { $0.sliced(axis: 0, from: -2) }.1 == [3, 4])
    #expect(try counted([5]) { $0.sliced(axis: 0, to: -2) }.1 == [0, 1, 2])
    #expect(try counted([5]) { $0.sliced(axis: 0, step: 2) }.1 == [0, 2, 4])
    #expect(try counted([5]) { $0.sliced(axis: 0, step: -1) }.1 == [4, 3, 2, 1, 0])
    #expect(try counted([5]) { $0.sliced(axis: 0, from: 3, to: 0, step: -2) }.1 == [3, 1])
    #expect(try counted([5]) { $0.sliced(axis: 0, from: 100, to: -100, step: -3) }.1 == [4, 1])
    #expect(try counted([5]) { $0.sliced(axis: 0, from: 4, to: 2) } == ([0], []))
    #expect(try counted([5]) { $0.sliced(axis: 0, from: 1, to: 100, step: .max) }.1 == [1])
    #expect(try counted([5]) { $0.sliced(axis: 0, step: .min) }.1 == [4])
    #expect(
      try counted([2, 3]) { $0.sliced(starts: [nil, 1], stops: [1, nil]) } == ([1, 2], [1, 2]))
  }

  @Test func subscriptsTakeRangesAndPositions() throws {
    #expect(try counted([2, 3]) { $0[1..<3, axis: 1] } == ([2, 2], [1, 2, 4, 5]))
    #expect(try counted([2, 3]) { $0[1...2, axis: -1] } == ([2, 2], [1, 2, 4, 5]))
    #expect(try counted([2, 3]) { $0[1..., axis: 0] } == ([1, 3], [3, 4, 5]))
    #expect(try counted([2, 3]) { $0[..<1, axis: 0] } == ([1, 3], [0, 1, 2]))
    #expect(try counted([2, 3]) { $0[-1, axis: 1] } == ([2], [2, 5]))
    #expect(mistake(.f32(2, 3)) { $0[1..<4, axis: 1] }?.kind == .invalidArgument)
    #expect(mistake(.f32(2, 3)) { $0[3, axis: 1] }?.kind == .invalidArgument)
    #expect(mistake(.f32(2, 3)) { $0[5..., axis: 1] }?.kind == .invalidArgument)
    #expect(mistake(.f32(2, 3)) { $0[(-1)..., axis: 1] }?.kind == .invalidArgument)
  }

  @Test func axesMove() throws {
    #expect(try counted([2, 3]) { $0.transposed() } == ([3, 2], [0, 3, 1, 4, 2, 5]))
    #expect(try counted([2, 3, 1]) { $0.transposed([0, -1, 1]) }.0 == [2, 1, 3])
    #expect(try counted([2, 3, 4]) { $0.swappingAxes(0, -1) }.0 == [4, 3, 2])
    #expect(try counted([2, 3, 4]) { $0.movingAxis(0, to: -1) }.0 == [3, 4, 2])
    #expect(try counted([2, 3, 4]) { $0.movingAxis(-1, to: 0) }.0 == [4, 2, 3])
    #expect(try counted([1, 3, 1]) { $0.squeezed() }.0 == [3])
    #expect(try counted([1, 3, 1]) { $0.squeezed(axes: [-1]) }.0 == [1, 3])
    #expect(try counted([3]) { $0.expandingDims(at: -1) }.0 == [3, 1])
    #expect(try counted([2, 3, 4]) { $0.flattened(from: 1) }.0 == [2, 12])
    #expect(mistake(.f32(2)) { $0.squeezed(axes: [0]) }?.kind == .shapeMismatch)
    #expect(mistake(.f32(2)) { $0.expandingDims(at: 3) }?.kind == .invalidArgument)
    #expect(mistake(.f32(2, 2)) { $0.transposed([0, 0]) }?.kind == .invalidArgument)
    #expect(mistake(.f32(2, 2)) { $0.transposed([.min, 0]) }?.kind == .invalidArgument)
  }

  @Test func piecesJoinAndPart() throws {
    #expect(try counted([3]) { concat([$0, $0[..<1, axis: 0]]) }.1 == [0, 1, 2, 0])
    #expect(try counted([2]) { stack([$0, $0], axis: 1) } == ([2, 2], [0, 0, 1, 1]))
    #expect(try counted([2]) { stack([$0, $0], axis: -2) } == ([2, 2], [0, 1, 0, 1]))
    #expect(try counted([6]) { $0.chunked(into: 3)[1] }.1 == [2, 3])
    #expect(try counted([2, 3]) { $0.split([1, 2], axis: -1)[1] } == ([2, 2], [1, 2, 4, 5]))
    #expect(try counted([3]) { $0.rolled(by: 1, axis: 0) }.1 == [2, 0, 1])
    #expect(try counted([3]) { $0.rolled(by: -4, axis: 0) }.1 == [1, 2, 0])
    // -2^63 is 1 more than a multiple of 3.
    #expect(try counted([3]) { $0.rolled(by: .min, axis: 0) }.1 == [2, 0, 1])
    #expect(try counted([2]) { $0.repeated(2, axis: 0) }.1 == [0, 0, 1, 1])
    #expect(try counted([2]) { $0.tiled([2]) }.1 == [0, 1, 0, 1])
    #expect(try counted([2]) { $0.tiled([0]) }.0 == [0])
    #expect(try counted([2]) { $0.padded(low: [1], high: [2], value: 7) }.1 == [7, 0, 1, 7, 7])
    #expect(try counted([2, 2]) { $0.flipped(axes: [1]) }.1 == [1, 0, 3, 2])
    #expect(mistake(.f32(5)) { $0.chunked(into: 2)[0] }?.kind == .invalidArgument)
    #expect(mistake(.f32(5)) { $0.chunked(into: 0)[0] }?.kind == .invalidArgument)
    #expect(mistake(.f32(5)) { $0.split([1, 1])[0] }?.kind == .invalidArgument)
    #expect(mistake(.f32(5)) { _ in concat([]) }?.kind == .invalidArgument)
    #expect(mistake(.f32(5)) { $0.padded(low: [-1], high: [0]) }?.kind == .invalidArgument)
  }

  @Test func moreThanSixteenTensorsJoin() throws {
    let (shape, values) = try counted([1, 2]) { x in
      concat((0..<40).map { (step: Int) -> Tensor in x + Double(step) })
    }
    let wanted = (0..<40).flatMap { (step: Int) -> [Double] in [Double(step), Double(step) + 1] }
    #expect(shape == [40, 2])
    #expect(values == wanted)
  }

  @Test func trianglesAndIdentities() throws {
    #expect(try counted([2, 3]) { ($0 + 1).lowerTriangle() }.1 == [1, 0, 0, 4, 5, 0])
    #expect(try counted([2, 3]) { ($0 + 1).upperTriangle(diagonal: 1) }.1 == [0, 2, 3, 0, 0, 6])
    #expect(try counted([2, 3]) { ($0 + 1).lowerTriangle(diagonal: -1) }.1 == [0, 0, 0, 4, 0, 0])
    #expect(mistake(.f32(3)) { $0.lowerTriangle() }?.kind == .shapeMismatch)
    let made = try traced([]) { _ in
      [
        .eye(2, columns: 3), .arange(to: 3), .arange(from: 1, to: 2, by: 0.25, .f32),
        .arange(from: 3, to: 0, by: -1), .iota([2, 2], axis: 0), .full([2], 7), .ones([1]),
        .zeros([0]),
      ]
    }
    #expect(
      try made.interpret().outputs.map(\.doubles) == [
        [1, 0, 0, 0, 1, 0], [0, 1, 2], [1, 1.25, 1.5, 1.75], [3, 2, 1], [0, 0, 1, 1], [7, 7], [1],
        [],
      ])
    #expect(throws: ApusError.self) { try traced([]) { _ in [.arange(to: 1, by: 0)] } }
  }

  @Test func aReshapeWorksOutOneExtent() throws {
    #expect(try counted([2, 6]) { $0.reshaped([-1, 4]) }.0 == [3, 4])
    #expect(mistake(.f32(5)) { $0.reshaped([-1, 4]) }?.kind == .shapeMismatch)
    #expect(mistake(.f32(4)) { $0.reshaped([-1, -1]) }?.kind == .shapeMismatch)
    #expect(mistake(.f32(4)) { $0.reshaped([-2, -2]) }?.kind == .shapeMismatch)
    #expect(mistake(.f32(4)) { $0.broadcast(to: [3]) }?.kind == .shapeMismatch)
  }
}
