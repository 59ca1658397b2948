// What the threads of a matrix product touch: the rows and columns of C that the kernel gives each, and
// what follows from them for all other arrays.

import ApusGraph
import CKernels

extension GemmLowering.Product {
  /// An array that a thread reads or writes along with C.
  private struct Array2D {
    /// Between neighbouring rows and columns of C, or along the axis that every thread walks whole.
    var rowStride: Int
    var columnStride: Int
    /// Nil: the rows of C's part.
    var rows: Int?
    /// Nil: the columns of C's part.
    var columns: Int?

    func region(_ part: ck_gemm_part) -> Region? {
      let rowRange = rows.map { 0..<$0 } ?? Int(part.row)..<Int(part.row_end)
      let columnRange = columns.map { 0..<$0 } ?? Int(part.column)..<Int(part.column_end)
      if rowRange.isEmpty || columnRange.isEmpty { return Region.none }
      var axes = [(rowRange, rowStride), (columnRange, columnStride)].map {
        $1 == 0 ? (range: 0..<1, stride: 0) : (range: $0, stride: $1)
      }
      guard axes.allSatisfy({ $0.stride >= 0 }) else { return nil }
      axes.sort { $0.stride > $1.stride }
      let (outer, inner) = (axes[0], axes[1])
      let start = axes.reduce(0) { $0 + $1.range.lowerBound * $1.stride }
      if inner.stride == 1 {
        return Region(
          start: start, width: inner.range.count, pitch: outer.stride, count: outer.range.count)
      }
      // One axis alone, or both in steps: single elements.
      guard inner.range.count == 1 else { return nil }
      return Region(start: start, width: 1, pitch: outer.stride, count: outer.range.count)
    }
  }

  /// - `block`: the argument block.
  /// - `isa`: the level that runs it.
  func partition(of block: [UInt8], isa: ISA) -> Partition {
    // What is live is cut over the team when it is known.
    guard self.block.limit == Int32(CK_GEMM_WHOLE.rawValue) else { return .unknown }
    let buffers = followerBuffers
    let (M, N, K) = (Int(self.block.M), Int(self.block.N), Int(self.block.K))
    var arrays: [KernelCall.Buffer: Array2D] = [:]
    // Rows are counted through all matrices: an array must go on evenly from one to the next.
    func goesOn(_ batchStride: Int, _ rowStride: Int) -> Bool {
      axes.isEmpty || batchStride == rowStride * M
    }
    if axes.count <= 1 {
      let (a, b) = (axes.first?.a ?? 0, axes.first?.b ?? 0)
      if goesOn(a, Int(self.block.a_row)) {
        arrays[.operand(0)] = Array2D(
          rowStride: Int(self.block.a_row), columnStride: Int(self.block.a_col), columns: K)
      }
      if axes.isEmpty || b == 0, self.block.b_packed == 0 {
        arrays[.operand(1)] = Array2D(
          rowStride: Int(self.block.b_row), columnStride: Int(self.block.b_col), rows: K)
      }
    }
    if buffers.isEmpty {
      arrays[.result(0)] = Array2D(rowStride: N, columnStride: 1)
      arrays[.operand(2)] = Array2D(rowStride: 0, columnStride: 1, rows: 1)
    }
    if let batch = batchStrides {
      for (index, buffer) in buffers.enumerated().dropFirst()
      where goesOn(batch[index], rows[index]) {
        arrays[buffer] = Array2D(rowStride: rows[index], columnStride: columns[index])
      }
    }
    return Partition { [arrays] buffer, thread, threads in
      guard let array = arrays[buffer] else { return nil }
      let part = block.withUnsafeBytes {
        ck_gemm_part_of(
          $0.baseAddress!.assumingMemoryBound(to: ck_gemm_args.self), ck_isa(isa), Int32(thread),
          Int32(threads))
      }
      if part.row >= part.row_end || part.column >= part.column_end { return Region.none }
      return array.region(part)
    }
  }
}
