// Arrays: conversion, value semantics, shapes.

import ApusGraph
import TestSupport
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

  @Test func conversionsToIntegers_areThoseOfTheKernels() throws {
    // cvttps2dq's answer for what an i32 cannot hold is its least value.
    let array = NDArray(doubles: [1e20, -1e20, .nan, 2.9, -2.9], type: .i32(5))
    #expect(array.integers == [Int(Int32.min), Int(Int32.min), Int(Int32.min), 2, -2])
    #expect(
      NDArray(doubles: [300, -1, 2.9, .nan, 1e20], type: .u8(5)).integers == [44, 255, 2, 0, 0])
    #expect(NDArray(doubles: [-.infinity, 0x1p63], type: .i64(2)).integers == [.min, .min])
    let long = NDArray([1 << 32 + 5, -1, 1 << 53 + 1, .max] as [Int64], shape: [4])
    #expect(long.cast(to: .i32).integers == [5, -1, 1, -1])
    #expect(long.cast(to: .u8).integers == [5, 255, 1, 255])
    #expect(long.cast(to: .bool).integers == [1, 1, 1, 1])
    #expect(long.cast(to: .i64) == long)
    #expect(try NDArray(integers: [300, -1], type: .u8(2)).integers == [44, 255])
    // Rounded to f32 at once: by way of a double it would be 2^60 + 2^37 (half to even) here.
    let odd: Int64 = 1 << 60 + 1 << 36 + 1
    #expect(NDArray([odd], shape: [1]).cast(to: .f32).floats == [Float(odd)])
  }

  @Test func denormals_areFalse_inTheTypesInWhichKernelsSeeZeros() {
    let denormal = NDArray([0x1p-130, 0, -0x1p-130, 0x1p-120], shape: [4])
    #expect(denormal.cast(to: .bool).integers == [0, 0, 0, 1])
    #expect(denormal.cast(to: .bf16).cast(to: .bool).integers == [0, 0, 0, 1])
    // In f32 it is a normal number.
    #expect(NDArray(doubles: [6e-8, 0], type: .f16(2)).cast(to: .bool).integers == [1, 0])
    #expect(
      denormal.flushed.floats.map(\.bitPattern) == [0, 0, 0x8000_0000, Float(0x1p-120).bitPattern])
    #expect(denormal.floats[0] == 0x1p-130)
  }

  /// What the exact value rounds to, from the two neighbours that 16-bit floats have.
  @Test(arguments: [DType.bf16, .f16]) func doublesAreRoundedOnce(dtype: DType) {
    var random = SplitMix("doubles to \(dtype)")
    func number(_ bits: UInt16) -> Double {
      Double(dtype == .bf16 ? BFloat16.float(bits: bits) : Half.float(bits: bits))
    }
    let infinity: UInt16 = dtype == .bf16 ? 0x7f80 : 0x7c00
    for _ in 0..<20_000 {
      let low = UInt16(random.next() % UInt64(infinity - 1))
      let (a, b) = (number(low), number(low + 1))
      // The middle, and as near to it as doubles come.
      let middle = (a + b) / 2
      #expect(
        NDArray(doubles: [middle.nextDown, middle.nextUp], type: TensorType(dtype, [2])).doubles
          == [a, b])
      let even = low % 2 == 0 ? a : b
      #expect(NDArray(doubles: [-middle], type: TensorType(dtype, [1])).doubles == [-even])
    }
    #expect(NDArray(doubles: [1.003906251], type: .bf16(1)).doubles == [1.0078125])
    #expect(
      NDArray(doubles: [.infinity, 1e300, .nan], type: TensorType(dtype, [3])).doubles.prefix(2)
        == [.infinity, .infinity])
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
    #expect(throws: Never.self) { try NDArray(checking: .f32(1 << 40, 0)) }
    #expect(throws: ApusError.self) { try NDArray(checking: .f32(1 << 40, 1 << 40, 0)) }
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
