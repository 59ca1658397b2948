// Arrays that stay in their files.

import ApusGraph
import Foundation
import Testing

@testable import ApusData

@Suite struct StoredArrayTests {
  @Test(arguments: [DType.f32, .f64, .f16, .i32, .i64, .u8, .bool])
  func rowsAreThoseOfTheWholeArray(dtype: DType) throws {
    try withTemporaryFolder { folder in
      let values = (0..<60).map { Double(dtype == .bool ? $0 % 2 : $0) }
      let array = try NDArray(checking: values, type: TensorType(dtype, [10, 2, 3]))
      try NPY.write(array, to: "\(folder)/x.npy")
      try SafetensorsFile.write(
        ["a": NDArray([1], shape: [1]), "x": array], to: "\(folder)/x.safetensors")
      for stored in [
        try StoredArray(npy: "\(folder)/x.npy"),
        try StoredArray(safetensors: "\(folder)/x.safetensors", "x"),
      ] {
        #expect(stored.type == array.type && stored.count == 10)
        for rows in [0..<10, 3..<7, 9..<10, 4..<4] {
          #expect(try stored.rows(rows) == array[rows: rows])
        }
        let data = try StoredDataset(["x": stored])
        let memory = try ArrayDataset(["x": array])
        let (a, b) = (try data.batched(3, shuffle: 5), try memory.batched(3, shuffle: 5))
        let (one, other) = (try a.makeIterator(epoch: 1), try b.makeIterator(epoch: 1))
        while let batch = try one.next() { #expect(try batch.arrays == other.next()?.arrays) }
        #expect(a.identity == b.identity)
      }
    }
  }

  @Test func theOtherByteOrderIsTurned() throws {
    let stored = try StoredArray(npy: fixture("big-f4.npy"))
    #expect(try stored.rows(0..<stored.count) == NPY.read(fixture("big-f4.npy")))
    let longs = try StoredArray(npy: fixture("big-i8.npy"))
    #expect(try longs.rows(1..<longs.count) == NPY.read(fixture("big-i8.npy"))[rows: 1...])
  }

  @Test func noMoreIsReadThanIsAskedFor() throws {
    try withTemporaryFolder { folder in
      // 2^40 rows of a file that has holes: the array is far larger than memory.
      let path = "\(folder)/large.npy"
      let type = TensorType.u8(1 << 40, 2)
      try Data(try NPY.header(type, path: path)).write(to: URL(fileURLWithPath: path))
      let start = try contents(path).count
      guard truncate(path, start + 1 << 41) == 0 else { return }
      let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
      try handle.seek(toOffset: UInt64(start) + 2 * 999_999_999_999)
      try handle.write(contentsOf: Data([7, 8]))
      try handle.close()
      let stored = try StoredArray(npy: path)
      #expect(stored.type == type)
      #expect(try stored.rows(999_999_999_998..<1_000_000_000_000).integers == [0, 0, 7, 8])
      #expect(error { _ = try stored.rows(0..<1 << 40) }?.kind == .resource)
      // More examples than batches count.
      #expect(error { _ = try StoredDataset(["x": stored]).batched(8) }?.kind == .invalidArgument)
    }
  }

  @Test func aFileThatShrinksIsAnErrorWithItsPlace() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/x.npy"
      try NPY.write(NDArray((0..<4000).map { Float($0) }, shape: [1000, 4]), to: path)
      let data = try StoredDataset(["x": StoredArray(npy: path)])
      let iterator = try data.batched(10, shuffle: nil, prefetch: 0).makeIterator(epoch: 0)
      #expect(try iterator.next()?.x?.floats[39] == 39)
      let full = try contents(path).count
      #expect(truncate(path, full - 16 * 985) == 0)
      let failure = error { while try iterator.next() != nil {} }
      #expect(failure?.kind == .invalidFile && failure?.what == "the file ends early")
      #expect(failure?.location?.hasPrefix("\(path), byte ") == true)
    }
  }

  @Test func whatIsWrongIsNamed() throws {
    #expect(error { _ = try StoredArray(npy: fixture("column-major.npy")) }?.kind == .unsupported)
    #expect(error { _ = try StoredArray(npy: fixture("i2.npy")) }?.kind == .unsupported)
    #expect(error { _ = try StoredArray(npy: fixture("complex.npy")) }?.kind == .unsupported)
    #expect(error { _ = try StoredArray(npy: fixture("scalar.npy")) }?.kind == .shapeMismatch)
    #expect(error { _ = try StoredArray(npy: fixture("none.npy")) }?.kind == .io)
    #expect(
      error { _ = try StoredArray(safetensors: fixture("none.safetensors"), "x") }?.kind == .missing
    )
    try withTemporaryFolder { folder in
      let path = "\(folder)/x.npy"
      try NPY.write(NDArray([1, 2, 3], shape: [3]), to: path)
      let bytes = try contents(path)
      let x = try StoredArray(npy: path)
      #expect(error { _ = try x.rows(1..<4) }?.kind == .outOfRange)
      #expect(error { _ = try StoredDataset([:]) }?.kind == .invalidArgument)
      #expect(error { _ = try StoredDataset(["x": x, "x": x]) }?.kind == .invalidArgument)
      try NPY.write(NDArray([1, 2], shape: [2]), to: "\(folder)/y.npy")
      let y = try StoredArray(npy: "\(folder)/y.npy")
      #expect(error { _ = try StoredDataset(["x": x, "y": y]) }?.kind == .shapeMismatch)
      for damaged in [bytes.dropLast(), bytes + [0]] {
        try Data(damaged).write(to: URL(fileURLWithPath: path))
        #expect(error { _ = try StoredArray(npy: path) }?.kind == .invalidFile)
      }
      try NPY.write(NDArray([true, false], shape: [2]), to: path)
      var bools = try contents(path)
      bools[bools.count - 1] = 2
      try Data(bools).write(to: URL(fileURLWithPath: path))
      let failure = error { _ = try StoredArray(npy: path).rows(0..<2) }
      #expect(
        failure?.what == "a bool is 2" && failure?.location == "\(path), byte \(bools.count - 1)")
    }
  }
}
