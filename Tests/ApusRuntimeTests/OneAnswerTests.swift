// The same expression of an argument, of a constant, and in the interpreter: one answer.

import ApusGraph
import ApusOps
import ApusRuntime
import Testing

@Suite struct OneAnswerTests {
  /// What `body` gives of the arrays as arguments, as constants, and in the interpreter; one after the
  /// other must be the same bytes.
  private func answer(
    _ arrays: [NDArray], sourceLocation: SourceLocation = #_sourceLocation,
    _ body: ([Tensor]) -> Tensor
  ) throws -> NDArray {
    func traced(_ areConstants: Bool) throws -> Graph {
      let trace = Trace()
      Trace.$current.withValue(trace) {
        let tensors = arrays.enumerated().map {
          areConstants ? trace.constant($1) : trace.input("x\($0)", $1.type)
        }
        trace.output("y", body(tensors))
      }
      return try trace.finish()
    }
    let graph = try traced(false)
    let run = try Executable(graph).run(arrays)[0]
    let plain = try Executable(
      graph, options: CompileOptions(disabledPasses: ["simplify-algebra", "fuse-elementwise"])
    ).run(arrays)[0]
    let folded = try Executable(traced(true)).run([])[0]
    let interpreted = try graph.interpret(inputs: arrays, widened: false).outputs[0]
    #expect(run == plain, "without passes", sourceLocation: sourceLocation)
    #expect(run == folded, "folded", sourceLocation: sourceLocation)
    #expect(run == interpreted, "interpreted", sourceLocation: sourceLocation)
    return run
  }

  private func longs(_ values: Int64...) -> NDArray { NDArray(values, shape: [values.count]) }
  private func ints(_ values: Int32...) -> NDArray { NDArray(values, shape: [values.count]) }
  private func bytes(_ values: UInt8...) -> NDArray { NDArray(values, shape: [values.count]) }
  private func floats(_ values: Float...) -> NDArray { NDArray(values, shape: [values.count]) }

  // MARK: Moving

  @Test func longIntegers_areMovedWhole() throws {
    let a = longs(1 << 53 + 1), b = longs(.max - 1)
    let whole = longs(1 << 53 + 1, .max - 1)
    #expect(try answer([a, b]) { concat([$0[0], $0[1]]) } == whole)
    #expect(try answer([whole]) { $0[0].flipped(axis: 0) } == longs(.max - 1, 1 << 53 + 1))
    #expect(
      try answer([whole]) { $0[0].padded(low: [1], high: [0], value: 7) }
        == longs(7, 1 << 53 + 1, .max - 1))
    #expect(try answer([whole, ints(1, 0)]) { $0[0].take($0[1]) } == longs(.max - 1, 1 << 53 + 1))
    #expect(
      try answer([whole, longs(.min + 1, 3)]) { `where`($0[0] .> $0[1], $0[0], $0[1]) } == whole)
    #expect(try answer([whole]) { $0[0].max() } == NDArray([Int64.max - 1], shape: []))
    #expect(try answer([whole]) { $0[0].argmax() }.integers == [1])
    #expect(try answer([longs(.max - 1, .max)]) { $0[0].argmax() }.integers == [1])
  }

  @Test func denormalsAndPayloads_areMovedAsTheyAre() throws {
    let x = NDArray(.f32(3)) { bytes in
      bytes.storeBytes(of: 0x0000_0001, toByteOffset: 0, as: UInt32.self)
      bytes.storeBytes(of: 0xffc0_1234, toByteOffset: 4, as: UInt32.self)
      bytes.storeBytes(of: 0x8000_0000, toByteOffset: 8, as: UInt32.self)
    }
    #expect(try answer([x]) { concat([$0[0], $0[0]]).sliced(axis: 0, from: 0, to: 3) } == x)
    #expect(try answer([x]) { $0[0].flipped(axis: 0).flipped(axis: 0) } == x)
  }

  // MARK: Integers

  @Test func integerArithmeticWraps() throws {
    #expect(try answer([ints(.max)]) { $0[0] + 1 } == ints(.min))
    #expect(try answer([ints(.min)]) { -$0[0] } == ints(.min))
    #expect(try answer([ints(.min)]) { abs($0[0]) } == ints(.min))
    #expect(try answer([longs(.max)]) { $0[0] * 2 } == longs(-2))
    #expect(try answer([longs(1 << 53 + 1)]) { $0[0] + 2 } == longs(1 << 53 + 3))
    #expect(try answer([bytes(2)]) { $0[0] - 5 } == bytes(253))
    #expect(try answer([bytes(200, 250)]) { $0[0] + $0[0] } == bytes(144, 244))
    #expect(try answer([bytes(200)]) { -$0[0] } == bytes(56))
  }

  @Test func bytesWrapWithinALoop_asBetweenLoops() throws {
    #expect(try answer([bytes(250, 1)]) { ($0[0] + $0[0]) .> 250 }.integers == [0, 0])
    #expect(try answer([bytes(250, 1)]) { ($0[0] + $0[0]).cast(to: .f32) } == floats(244, 2))
    #expect(try answer([bytes(3, 1)]) { maximum($0[0] - 4, $0[0]) } == bytes(255, 253))
  }

  @Test func integerDivisionHasOneAnswer() throws {
    #expect(
      try answer([ints(7, .min), ints(0, -1)]) { truncatingDivide($0[0], $0[1]) } == ints(0, .min))
    #expect(
      try answer([longs(7, .min), longs(0, -1)]) { truncatingDivide($0[0], $0[1]) }
        == longs(0, .min))
    #expect(try answer([ints(7, .min), ints(0, -1)]) { $0[0] % $0[1] } == ints(0, 0))
    #expect(try answer([ints(.min, 7, -7)]) { floorDivide($0[0], 3) } == ints(-715_827_883, 2, -3))
    #expect(try answer([ints(.min, 7, -7)]) { mod($0[0], 3) } == ints(1, 1, 2))
    #expect(try answer([bytes(7, 255)]) { floorDivide($0[0], 2) } == bytes(3, 127))
  }

  @Test func comparisonsOfLongIntegersAreExact() throws {
    #expect(try answer([longs(1 << 53 + 1)]) { $0[0] .== 0x1p53 }.integers == [0])
    #expect(try answer([longs(1 << 53 + 1), longs(1 << 53)]) { $0[0] .> $0[1] }.integers == [1])
  }

  @Test func castsHaveOneAnswer() throws {
    let y = floats(300, -1, .nan, 1e20)
    #expect(try answer([y]) { $0[0].cast(to: .u8) } == bytes(44, 255, 0, 0))
    #expect(try answer([y]) { $0[0].cast(to: .i32) } == ints(300, -1, .min, .min))
    #expect(try answer([y]) { $0[0].cast(to: .i64) } == longs(300, -1, .min, .min))
    #expect(try answer([longs(1 << 32 + 5)]) { $0[0].cast(to: .i32) } == ints(5))
    #expect(
      try answer([longs(1 << 60 + 1 << 36 + 1)]) { $0[0].cast(to: .f32) }.floats == [0x1.000002p60])
    #expect(try answer([floats(0x1p-130, 0x1p-120)]) { $0[0].cast(to: .bool) }.integers == [0, 1])
  }

  @Test func sumsAndProductsOfIntegers_areOf64Bits() throws {
    #expect(try answer([bytes(250, 250)]) { $0[0].sum() } == NDArray([500 as Int64], shape: []))
    #expect(try answer([bytes(1)]) { $0[0].broadcast(to: [300]).sum() }.integers == [300])
    #expect(try answer([ints(.max, .max)]) { $0[0].sum(axis: 0) }.integers == [2 * Int(Int32.max)])
    #expect(try answer([ints(.max, 4)]) { $0[0].product() }.integers == [4 * Int(Int32.max)])
    #expect(try answer([floats(1, 0, 2)]) { ($0[0] .> 0).sum() }.integers == [2])
    #expect(try answer([longs(.max, 1)]) { $0[0].sum() }.integers == [.min])
  }

  @Test func aSumOfWhatIsRepeated_needsNoCountThatTheTypeLacks() throws {
    let x = NDArray(doubles: [0.5], type: .f16(1))
    #expect(try answer([x]) { ($0[0] * 0).broadcast(to: [100_000]).sum() }.doubles == [0])
  }

  // MARK: Fractions beside integers

  @Test func fractionsBesideIntegersAreNotCut() throws {
    let pixels = bytes(0, 128, 254, 255)
    #expect(try answer([pixels]) { $0[0] / 255 }.floats == [0, 128 / 255, 254 / 255, 1])
    #expect(try answer([ints(1, 2)]) { $0[0] * 0.5 } == floats(0.5, 1))
    #expect(try answer([ints(1, 2)]) { $0[0] + .nan }.doubles.allSatisfy(\.isNaN))
    #expect(try answer([ints(7, -7), ints(2, 2)]) { $0[0] / $0[1] } == floats(3.5, -3.5))
    #expect(try answer([ints(1, 2)]) { maximum($0[0], 1.5) } == floats(1.5, 2))
    #expect(try answer([ints(5, -5)]) { mod($0[0], 2.5) }.doubles == [0, 0])
    #expect(try answer([ints(1, 2)]) { `where`($0[0] .> 1, $0[0], 0.5) } == floats(0.5, 2))
    #expect(try answer([floats(1, 0)]) { ($0[0] .> 0) * 0.5 } == floats(0.5, 0))
    #expect(try answer([floats(1, 0)]) { ($0[0] .> 0) + 2 } == longs(3, 2))
  }

  @Test func comparisonsWithFractionsAreExact() throws {
    let x = ints(1, 2, .max), big = longs(1 << 24 + 1, .max)
    #expect(try answer([x]) { $0[0] .== 1.5 }.integers == [0, 0, 0])
    #expect(try answer([x]) { $0[0] .!= 1.5 }.integers == [1, 1, 1])
    #expect(try answer([x]) { $0[0] .< 1.5 }.integers == [1, 0, 0])
    #expect(try answer([x]) { $0[0] .>= 1.5 }.integers == [0, 1, 1])
    #expect(try answer([x]) { 1.5 .<= $0[0] }.integers == [0, 1, 1])
    #expect(try answer([x]) { $0[0] .< 3e9 }.integers == [1, 1, 1])
    #expect(try answer([x]) { $0[0] .> -3e9 }.integers == [1, 1, 1])
    #expect(try answer([x]) { $0[0] .<= -.infinity }.integers == [0, 0, 0])
    #expect(try answer([x]) { $0[0] .!= .nan }.integers == [1, 1, 1])
    #expect(try answer([x]) { $0[0] .< .nan }.integers == [0, 0, 0])
    // As f32 both would be 2^24.
    #expect(try answer([big]) { $0[0] .> 0x1p24 + 0.5 }.integers == [1, 1])
    #expect(try answer([big]) { $0[0] .< 0x1p63 }.integers == [1, 1])
    #expect(try answer([bytes(0, 255)]) { $0[0] .== 300 }.integers == [0, 0])
    #expect(try answer([bytes(0, 255)]) { $0[0] .< 300 }.integers == [1, 1])
  }

  @Test func wholeNumbersBeyondTheType_areMistakesAtTheirLine() throws {
    let wrong: [(TensorType, (Tensor) -> Tensor)] = [
      (.u8(2), { $0 + 300 }), (.u8(2), { $0 * -1 }), (.i32(2), { $0 + 3e9 }),
      (.i64(2), { $0 - 1e19 }),
      (.i32(2), { $0.scalar(0.5) }), (.u8(2), { maximum($0, 256) }), (.u8(2), { $0.fullLike(-1) }),
    ]
    for (type, body) in wrong {
      let error = #expect(throws: ApusError.self) { try compile(type, body) }
      #expect(error?.kind == .invalidArgument)
      #expect(error?.location?.contains("OneAnswerTests") == true, "\(String(describing: error))")
    }
  }

  // MARK: Floats

  @Test func floorDivideAndMod_satisfyTheirEquation() throws {
    #expect(try answer([floats(1, 0.7, 6)]) { floorDivide($0[0], 0.1) } == floats(9, 6, 59))
    // NumPy's answers.
    let edges = try answer([floats(2, 7, -7, 1), floats(-.infinity, -2, 2, 0)]) {
      floorDivide($0[0], $0[1])
    }
    #expect(edges == floats(-1, -4, -4, .infinity))
    #expect(
      try answer([floats(.infinity), floats(1)]) { floorDivide($0[0], $0[1]) }.floats[0].isNaN)
    var random = SystemRandomNumberGenerator()
    let a = (0..<500).map { _ in Float.random(in: -100...100, using: &random) }
    let b = (0..<500).map { _ in Float.random(in: 0.01...3, using: &random) }
    let x = NDArray(a, shape: [500]), y = NDArray(b, shape: [500])
    let q = try answer([x, y]) { floorDivide($0[0], $0[1]) }.doubles
    let r = try answer([x, y]) { mod($0[0], $0[1]) }.doubles
    for i in 0..<500 {
      #expect(q[i] == q[i].rounded() && r[i] >= 0 && r[i] <= Double(b[i]))
      #expect(abs(q[i] * Double(b[i]) + r[i] - Double(a[i])) < 1e-5, "\(a[i]) / \(b[i])")
    }
  }

  @Test func denormalsAreZerosToArithmetic_whereverItIsDone() throws {
    let x = floats(0x1p-130, -0x1p-130, 1)
    #expect(try answer([x]) { $0[0] .> 0 }.integers == [0, 0, 1])
    #expect(try answer([x]) { $0[0] .== 0 }.integers == [1, 1, 0])
    #expect(try answer([floats(0x1p-130)]) { log($0[0]) } == floats(-.infinity))
    #expect(try answer([floats(0x1p-130)]) { sqrt($0[0]) } == floats(0))
    #expect(try answer([floats(0x1p-130)]) { $0[0] * 0x1p30 } == floats(0))
    #expect(try answer([floats(0x1p-100)]) { $0[0] * 0x1p-40 } == floats(0))
    #expect(try answer([x]) { `where`($0[0] .> 0, $0[0], 1) } == floats(1, 1, 1))
  }
}
