// Arrays: conversion, value semantics, shapes.

import ApusGraph
import Testing

@Suite struct NDArrayTests {
  @Test func copies_areIndependent() {
    let a = NDArray([1, 2, 3], shape: [3])
    var b = a
    b.withUnsafeMutableBytes { $0.storeBytes(of: 9, as: Float.self) }
    #expect(a.floats == [1, 2, 3])
    #expect(b.floats == [9, 2, 3])
  }

  @Test func half_matchesHardwareConversion_forAllBitPatterns() {
    for bits in UInt16.min...UInt16.max {
      let value = Half.float(bits: bits)
      if value.isNaN { continue }
      #expect(Half.bits(of: value) == bits)
    }
    #expect(Half.bits(of: 65520) == 0x7c00)
    #expect(Half.bits(of: 65519.996) == 0x7bff)
    #expect(Half.bits(of: 0x1p-25) == 0)
    #expect(Half.bits(of: 0x1.8p-25) == 1)
    #expect(Half.bits(of: 1 + 0x1p-11) == 0x3c00)
    #expect(Half.bits(of: 1 + 0x1.8p-10) == 0x3c02)
  }

  @Test func bfloat16_roundsToNearestEven() {
    #expect(BFloat16.bits(of: 1 + 0x1p-8) == 0x3f80)
    #expect(BFloat16.bits(of: 1 + 0x1.8p-7) == 0x3f82)
    #expect(BFloat16.bits(of: .nan) & 0x7fc0 == 0x7fc0)
    #expect(BFloat16.bits(of: -.infinity) == 0xff80)
    #expect(BFloat16.bits(of: Float.greatestFiniteMagnitude) == 0x7f80)
  }

  @Test func integers_saturate() {
    let array = NDArray(doubles: [1e20, -1e20, .nan, 2.9, -2.9], type: .i32(5))
    #expect(array.integers == [Int(Int32.max), Int(Int32.min), 0, 2, -2])
    #expect(NDArray(doubles: [300, -1], type: .u8(2)).integers == [255, 0])
  }

  @Test func wrongCounts_areErrors() {
    #expect(throws: ApusError.self) { try NDArray(checking: [1, 2], shape: [3]) }
    #expect(throws: ApusError.self) { try NDArray([1, 2], shape: [2]).reshaped([3]) }
  }

  @Test func impossibleTypes_areErrors() {
    for (type, kind) in [
      (.f32(-1), .invalidArgument), (.f32(-2, -3), .invalidArgument), (.f32(1 << 60), .resource),
      (.u8(1 << 40, 1 << 40), .resource), (.f64(1 << 40), .resource),
    ] as [(TensorType, ApusError.Kind)] {
      let error = #expect(throws: ApusError.self) { try NDArray(checking: type) }
      #expect(error?.kind == kind, "\(type)")
      #expect(error?.what.contains("\(type)") == true)
    }
    #expect(throws: ApusError.self) { try NDArray(checking: [1, 2] as [Int], shape: [-1]) }
    #expect(throws: ApusError.self) { try NDArray(checking: [1, 2] as [Double], type: .f64(3)) }
    #expect(throws: ApusError.self) { try NDArray(checking: [true], shape: [2]) }
    #expect(throws: Never.self) { try NDArray(checking: .f32(1 << 40, 1 << 40, 0)) }
  }

  /// In release `precondition` would lose its words.
  @Test func wrongCountsInAProgram_endItWithTheReason() async {
    let result = await #expect(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      _ = NDArray([1, 2, 3], shape: [2, 2])
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(text.contains("3 elements do not fill f32[2,2]"))
    #expect(text.contains("NDArrayTests.swift"))
  }

  @Test func impossibleTypesInAProgram_endItWithTheReason() async {
    let result = await #expect(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      _ = NDArray(zeros: .f32(-1))
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(text.contains("f32[-1] has a negative extent"))
  }

  @Test func literals_areFloats_andSwiftsIntegersAre64Bits() {
    #expect(NDArray([0, 1, 2], shape: [3]).dtype == .f32)
    #expect(NDArray(Array(0..<4), shape: [2, 2]).type == .i64(2, 2))
    #expect(NDArray([Int.max, Int.min], shape: [2]).integers == [.max, .min])
    #expect(NDArray([1, 2] as [Int32], shape: [2]).dtype == .i32)
  }

  @Test func largeArrays_areZerosAndIndependent() throws {
    var array = NDArray(zeros: .f32(1 << 24))
    let copy = array
    array.withUnsafeMutableBytes { $0.storeBytes(of: 5, toByteOffset: 1 << 25, as: Float.self) }
    #expect(array != copy)
    copy.withUnsafeBytes { bytes in
      #expect(UInt(bitPattern: bytes.baseAddress!) % 64 == 0)
      let isZero = stride(from: 0, to: bytes.count, by: 4096).allSatisfy { bytes[$0] == 0 }
      #expect(isZero)
    }
    #expect(try array[rows: (1 << 23)..<(1 << 23) + 2].floats == [5, 0])
  }

  @Test func oneElement_isRepeated() throws {
    #expect(
      try NDArray(repeating: NDArray(0.5), shape: [2, 2])
        == NDArray([0.5, 0.5, 0.5, 0.5], shape: [2, 2]))
    let big = NDArray([Int.max - 1], shape: [1])
    #expect(try NDArray(repeating: big, shape: [2]).integers == [.max - 1, .max - 1])
    #expect(try NDArray(repeating: big, shape: []).type == .i64())
    #expect(throws: ApusError.self) { try NDArray(repeating: big, shape: [-1]) }
    #expect(throws: ApusError.self) { try NDArray(repeating: NDArray(zeros: .f32(0)), shape: [2]) }
  }

  @Test func castsOfFloats_areThoseThroughDoubles() {
    let values: [Float] = [1, -0.1, 65520, 1e-8, .infinity, 3.0000002]
    let array = NDArray(values, shape: [6])
    for dtype in DType.allCases {
      #expect(
        array.cast(to: dtype) == NDArray(doubles: array.doubles, type: TensorType(dtype, [6])))
    }
  }

  @Test func broadcasting_followsNumPy() throws {
    #expect(try Shape.broadcast([3, 1], [4]) == [3, 4])
    #expect(try Shape.broadcast([], [2, 0]) == [2, 0])
    #expect(try Shape.broadcast([1], [0]) == [0])
    #expect(throws: ApusError.self) { try Shape.broadcast([3], [4]) }
    #expect(throws: ApusError.self) { try Shape([2]).normalized(axis: 1) }
    #expect(throws: ApusError.self) { try Shape([2, 3]).normalized(axes: [1, -1]) }
  }

  @Test func promotion_followsPyTorch() {
    #expect(DType.promoted(.f32, .i64) == .f32)
    #expect(DType.promoted(.bf16, .f16) == .f32)
    #expect(DType.promoted(.bool, .u8) == .u8)
    #expect(DType.promoted(.i64, .f16) == .f16)
  }
}

@Suite struct PhiloxTests {
  @Test func block_matchesThePublishedVectors() {
    #expect(
      Philox.block(key: (0, 0), counter: (0, 0, 0, 0))
        == (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    let ones = UInt32.max
    #expect(
      Philox.block(key: (ones, ones), counter: (ones, ones, ones, ones))
        == (0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    #expect(
      Philox.block(
        key: (0xa409_3822, 0x299f_31d0),
        counter: (0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344))
        == (0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
  }
}
