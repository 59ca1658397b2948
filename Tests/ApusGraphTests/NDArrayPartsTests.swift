// Parts, statistics and text of host arrays.

import ApusGraph
import Testing

/// `0, 1, 2 …` in that shape.
private func counted(_ shape: Shape, _ dtype: DType = .f32) -> NDArray {
  NDArray(doubles: (0..<shape.count).map(Double.init), type: TensorType(dtype, shape))
}

@Suite struct NDArraySlicingTests {
  @Test(arguments: DType.allCases.filter { $0 != .bool })
  func slices_takeARangeOfAnAxis(dtype: DType) throws {
    let x = counted([2, 3, 4], dtype)
    let middle = try x.slice(axis: 1, 1..<2)
    #expect(middle.type == TensorType(dtype, [2, 1, 4]))
    #expect(middle.integers == [4, 5, 6, 7, 16, 17, 18, 19])
    #expect(try x.slice(axis: -1, 2...).integers == [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23])
    #expect(try x.slice(axis: 0, ..<1).integers == Array(0..<12))
    #expect(try x.slice(axis: 2, ...0).integers == [0, 4, 8, 12, 16, 20])
    #expect(try x.slice(axis: 2, 1..<1).shape == [2, 3, 0])
  }

  @Test func rows_areSlicesOfTheFirstAxis() throws {
    let x = counted([4, 2])
    #expect(try x[rows: 1..<3].floats == [2, 3, 4, 5])
    #expect(try x[rows: 2...].shape == [2, 2])
    #expect(try x[3] == NDArray([6, 7], shape: [2]))
    #expect(try x[-4] == NDArray([0, 1], shape: [2]))
    #expect(try x[1][0].type == .f32())
    #expect(try x.rows(at: [3, 0, 3]) == NDArray([6, 7, 0, 1, 6, 7], shape: [3, 2]))
    #expect(try x.rows(at: []).shape == [0, 2])
  }

  @Test func partsOutside_areErrors() {
    let x = counted([4, 2])
    let mistakes: [() throws -> NDArray] = [
      { try x[4] }, { try x[-5] }, { try x[rows: 2..<5] }, { try x[rows: (-1)..<2] },
      { try x[rows: 5...] }, { try x.slice(axis: 2, 0..<1) }, { try x.rows(at: [0, 4]) },
      { try x.rows(at: [-1]) }, { try x[rows: ...4] }, { try NDArray(1)[0] },
      { try NDArray(1).rows(at: [0]) }, { try x.reshaped([3, -1]) }, { try x.reshaped([-1, -1]) },
      { try x.reshaped([-2, -4]) },
    ]
    for (index, mistake) in mistakes.enumerated() {
      #expect(throws: ApusError.self, "mistake \(index)") { try mistake() }
    }
  }

  @Test func anExtentLeftOut_isWorkedOut() throws {
    #expect(try counted([2, 3, 4]).reshaped([-1, 4]).shape == [6, 4])
    #expect(try counted([2, 3, 4]).reshaped([24, -1]).shape == [24, 1])
    #expect(try counted([0, 3]).reshaped([-1, 3]).shape == [0, 3])
  }
}

@Suite struct NDArrayStatisticsTests {
  static let data = NDArray([1, 10, 7, 2, 20, 7, 3, 60, 7], shape: [3, 3])

  @Test func meansAndDeviations_areTakenOverAnAxis() throws {
    #expect(try Self.data.mean().floats == [2, 30, 7])
    #expect(try Self.data.mean(axis: 1).floats == [6, 29.0 / 3, 70.0 / 3])
    let deviations = try Self.data.standardDeviation().doubles
    #expect(abs(deviations[0] - (2.0 / 3).squareRoot()) < 1e-6)
    #expect(abs(deviations[1] - (1400.0 / 3).squareRoot()) < 1e-4)
    #expect(deviations[2] == 0)
    #expect(try Self.data.standardDeviation(correction: 1).floats[0] == 1)
    #expect(try Self.data.cast(to: .u8).mean().type == .f32(3))
    #expect(try Self.data.cast(to: .f64).mean().type == .f64(3))
  }

  @Test func standardizedColumns_haveMean0AndDeviation1() throws {
    let (values, by) = try Self.data.standardized()
    #expect(values.type == .f32(3, 3))
    #expect(try values.mean().doubles.allSatisfy { abs($0) < 1e-6 })
    let deviations = try values.standardDeviation().doubles
    #expect(abs(deviations[0] - 1) < 1e-6 && abs(deviations[1] - 1) < 1e-6)
    // What is constant becomes 0, not NaN.
    #expect(try values.slice(axis: 1, 2..<3).floats == [0, 0, 0])
    #expect(by.mean.type == .f32(1, 3) && by.deviation.floats[2] == 1)
  }

  @Test func otherData_isTreatedAlike() throws {
    let (_, by) = try Self.data.standardized()
    let test = NDArray([2, 30, 8], shape: [1, 3])
    let found = try by.apply(to: test)
    #expect(found.floats == [0, 0, 1])
    #expect(try by.undo(on: found) == test)
    #expect(throws: ApusError.self) { try by.apply(to: NDArray([1, 2], shape: [1, 2])) }
    #expect(throws: ApusError.self) { try by.apply(to: NDArray([1, 2, 3], shape: [3])) }
    #expect(throws: ApusError.self) { try Self.data.standardized(axis: 2) }
  }

  @Test func largeMeans_costNoDigits() throws {
    let far = NDArray(doubles: [1e9, 1e9 + 1, 1e9 + 2], type: .f64(3, 1))
    #expect(try far.standardized().values.doubles[2] == 1.5.squareRoot())
  }
}

@Suite struct NDArrayTextTests {
  @Test func oneAxis_standsInOneLine() {
    #expect("\(NDArray([1, 2.5], shape: [2]))" == "f32[2] [1.0, 2.5]")
    #expect("\(NDArray(3))" == "f32[] 3.0")
    #expect("\(NDArray([true, false], shape: [2]))" == "bool[2] [true, false]")
    #expect("\(NDArray([] as [Float], shape: [0]))" == "f32[0] []")
    // Beyond the digits of a double.
    #expect("\(NDArray([Int.max], shape: [1]))" == "i64[1] [9223372036854775807]")
  }

  @Test func matrices_areAligned() {
    let matrix = NDArray([1, -2.25, 10, 4], shape: [2, 2])
    #expect("\(matrix)" == "f32[2,2]\n[[  1.0, -2.25],\n [ 10.0,   4.0]]")
    #expect(
      "\(counted([2, 2, 2], .i32))"
        == "i32[2,2,2]\n[[[0, 1],\n  [2, 3]],\n\n [[4, 5],\n  [6, 7]]]")
    #expect("\(counted([0, 4]))" == "f32[0,4]\n[]")
  }

  @Test func largeArrays_showTheirEnds() {
    #expect("\(counted([2000], .i32))" == "i32[2000] [0, 1, 2, …, 1997, 1998, 1999]")
    let text = "\(counted([50, 50], .i32))"
    #expect(text.hasPrefix("i32[50,50]\n[[   0,    1,    2, …,   47,   48,   49],\n [  50,"))
    #expect(text.contains("],\n …,\n [2350,"))
    #expect(text.count < 400)
    // All of 1000 elements are shown.
    #expect(!"\(counted([1000], .i32))".contains("…"))
    #expect("\(NDArray(zeros: .f32(1 << 40, 0)))".count < 100)
  }
}

@Suite struct NonFiniteTests {
  @Test func nansAndInfinities_areFoundInEveryFloat_alsoUnaligned() {
    for dtype in [DType.f32, .f64, .bf16, .f16] {
      for (value, kind) in [
        (Double.nan, NonFinite.nan), (.infinity, .infinity), (-.infinity, .infinity),
        (0, []), (-0.0, []), (60_000, []),
      ] as [(Double, NonFinite)] {
        let array = NDArray(doubles: [1, -2, value, 3], type: TensorType(dtype, [4]))
        #expect(array.isFinite == kind.isEmpty, "\(dtype) \(value)")
        array.withUnsafeBytes { bytes in
          #expect(NonFinite(in: bytes, of: dtype) == kind)
          var shifted = [UInt8](repeating: 0, count: bytes.count + 1)
          shifted.replaceSubrange(1..., with: bytes)
          shifted.withUnsafeBytes {
            #expect(NonFinite(in: UnsafeRawBufferPointer(rebasing: $0[1...]), of: dtype) == kind)
          }
        }
      }
      let both = NDArray(doubles: [.infinity, .nan], type: TensorType(dtype, [2]))
      both.withUnsafeBytes {
        #expect(NonFinite(in: $0, of: dtype) == [.nan, .infinity])
        #expect(NonFinite(in: $0, of: dtype, stopsAtFirst: true) == .infinity)
      }
    }
    #expect(NDArray([-1, .max] as [Int32], shape: [2]).isFinite)
    #expect(NDArray(zeros: .f32(0)).isFinite)
  }
}
