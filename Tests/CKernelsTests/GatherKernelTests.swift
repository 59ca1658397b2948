// Gather, scatter-add and one-hot: every index pattern and element type, bad indices noted and
// never followed.

import CKernels
import Testing

@Suite struct GatherKernelTests {
  let table = entries(ck_gather_entries)

  /// How the indices lie: one list for all, one a slab, one an element.
  enum Pattern: CaseIterable, Sendable { case shared, slab, element }

  struct Case {
    let outer, axis, count, inner: Int
    let pattern: Pattern
    var indices: [Int]
    let strides: [Int]

    init(_ outer: Int, _ axis: Int, _ count: Int, _ inner: Int, _ pattern: Pattern) {
      (self.outer, self.axis, self.count, self.inner) = (outer, axis, count, inner)
      self.pattern = pattern
      var numbers = TestNumbers(seed: UInt64(outer + axis * 7 + count * 31 + inner * 101))
      let n: Int
      switch pattern {
      case .shared: (n, strides) = (count, [0, 1, 0])
      case .slab: (n, strides) = (outer * count, [count, 1, 0])
      case .element: (n, strides) = (outer * count * inner, [count * inner, inner, 1])
      }
      indices = (0..<n).map { _ in Int.random(in: 0..<axis, using: &numbers) }
    }

    func index(_ o: Int, _ k: Int, _ i: Int) -> Int {
      indices[o * strides[0] + k * strides[1] + i * strides[2]]
    }

    func source<E: FixedWidthInteger>(_: E.Type) -> [E] {
      (0..<outer * axis * inner).map { E(truncatingIfNeeded: $0 &* 40503 &+ 7) }
    }
  }

  func checkGather<E: FixedWidthInteger & BitwiseCopyable>(
    _ type: E.Type, _ c: Case, firstBad: (Int, Int)? = nil
  ) {
    let source = c.source(type)
    var expected: [E] = []
    for o in 0..<c.outer {
      for k in 0..<c.count {
        for i in 0..<c.inner {
          let row = c.index(o, k, i)
          let good = row >= 0 && row < c.axis
          expected.append(good ? source[(o * c.axis + row) * c.inner + i] : 0)
        }
      }
    }
    for dtype in [CK_I32, CK_I64] {
      everyWay(table, CK_GATHER_GATHER, "\(c.outer) \(c.count) \(c.inner) \(c.pattern)") { run in
        let src = Guarded(source)
        let wide = Guarded(c.indices.map(Int64.init))
        let narrow = Guarded(c.indices.map(Int32.init))
        let dst = Guarded(E(9), count: expected.count)
        let error = Guarded([Int64(-1), 0])
        var args = ck_gather_args()
        args.dst = UnsafeMutableRawPointer(dst.pointer)
        args.src = UnsafeRawPointer(src.pointer)
        args.indices =
          dtype == CK_I64 ? UnsafeRawPointer(wide.pointer) : UnsafeRawPointer(narrow.pointer)
        args.error = error.pointer
        (args.outer, args.axis) = (Int64(c.outer), Int64(c.axis))
        (args.count, args.inner) = (Int64(c.count), Int64(c.inner))
        (args.index_outer, args.index_count) = (Int64(c.strides[0]), Int64(c.strides[1]))
        args.index_inner = Int64(c.strides[2])
        args.index_dtype = Int32(dtype.rawValue)
        args.element_size = Int32(MemoryLayout<E>.size)
        run(args)
        #expect(dst.array == expected && dst.isIntact, "\(run.name)")
        #expect(error.pointer[0] == Int64(firstBad?.0 ?? -1), "\(run.name)")
        #expect(error.pointer[1] == Int64(firstBad?.1 ?? 0) && error.isIntact, "\(run.name)")
        return dst.bytes + error.bytes
      }
    }
  }

  @Test(arguments: Pattern.allCases) func gather_followsEveryIndex(pattern: Pattern) {
    for inner in [1, 2, 15, 16, 17, 33, 300] {
      let c = Case(3, 11, 29, inner, pattern)
      checkGather(UInt8.self, c)
      checkGather(UInt16.self, c)
      checkGather(UInt32.self, c)
      checkGather(UInt64.self, c)
    }
    checkGather(UInt32.self, Case(1, 50, 1, 7, pattern))
    checkGather(UInt32.self, Case(2, 5, 0, 7, pattern))
  }

  @Test(arguments: Pattern.allCases) func gather_notesTheFirstBadIndex(pattern: Pattern) {
    var c = Case(2, 11, 400, 3, pattern)
    c.indices[390] = 11
    c.indices[77] = -5
    c.indices[78] = Int(Int32.min)
    checkGather(UInt32.self, c, firstBad: (77, -5))
  }

  func checkScatter<E: Numeric & BitwiseCopyable & Equatable>(
    _ op: ck_gather_op, _ c: Case, base: Bool, _ value: (Int) -> E, firstBad: (Int, Int)? = nil
  ) {
    let updates = (0..<c.outer * c.count * c.inner).map(value)
    let start = (0..<c.outer * c.axis * c.inner).map { base ? value($0 + 3) : 0 }
    var expected = start
    for o in 0..<c.outer {
      for k in 0..<c.count {
        for i in 0..<c.inner {
          let row = c.index(o, k, i)
          guard row >= 0 && row < c.axis else { continue }
          expected[(o * c.axis + row) * c.inner + i] += updates[(o * c.count + k) * c.inner + i]
        }
      }
    }
    everyWay(table, op, "\(c.outer) \(c.count) \(c.inner) \(c.pattern)") { run in
      let from = Guarded(updates)
      let initial = Guarded(start)
      let indices = Guarded(c.indices.map(Int64.init))
      let dst = Guarded(value(99), count: expected.count)
      let error = Guarded([Int64(-1), 0])
      var args = ck_scatter_args()
      args.dst = UnsafeMutableRawPointer(dst.pointer)
      args.base = base ? UnsafeRawPointer(initial.pointer) : nil
      args.updates = UnsafeRawPointer(from.pointer)
      args.indices = UnsafeRawPointer(indices.pointer)
      args.error = error.pointer
      (args.outer, args.axis) = (Int64(c.outer), Int64(c.axis))
      (args.count, args.inner) = (Int64(c.count), Int64(c.inner))
      (args.index_outer, args.index_count) = (Int64(c.strides[0]), Int64(c.strides[1]))
      args.index_inner = Int64(c.strides[2])
      args.index_dtype = Int32(CK_I64.rawValue)
      let bytes = op == CK_GATHER_SCATTER_ADD_F32 ? ck_scatter_workspace_bytes(&args) : 0
      let workspace = Guarded(UInt8(0xff), count: bytes, offset: 0)
      args.workspace = UnsafeMutableRawPointer(workspace.pointer)
      run(args)
      #expect(workspace.isIntact, "\(run.name)")
      // Sums are in the order of k, so even floats are exactly equal.
      #expect(dst.array == expected && dst.isIntact, "\(run.name)")
      #expect(error.pointer[0] == Int64(firstBad?.0 ?? -1), "\(run.name)")
      return dst.bytes + error.bytes
    }
  }

  @Test(arguments: Pattern.allCases) func scatterAdd_addsInOrder(pattern: Pattern) {
    for (outer, inner) in [(1, 1), (1, 17), (1, 64), (1, 300), (2, 5), (20, 3)] {
      for base in [false, true] {
        let c = Case(outer, 11, 57, inner, pattern)
        checkScatter(CK_GATHER_SCATTER_ADD_F32, c, base: base) { Float($0 % 97) * 0.37 - 11 }
        checkScatter(CK_GATHER_SCATTER_ADD_F64, c, base: base) { Double($0 % 97) * 0.37 - 11 }
        checkScatter(CK_GATHER_SCATTER_ADD_I32, c, base: base) { Int32($0 % 97) - 11 }
        checkScatter(CK_GATHER_SCATTER_ADD_I64, c, base: base) { Int64($0 % 97) - 11 }
      }
    }
  }

  /// Whole numbers, whose sums are exact in any order. 2^24 ones meet in a row by way of a base.
  @Test(arguments: Pattern.allCases) func scatterAdd_ofManyUpdates_addsInBlocks(pattern: Pattern) {
    for (outer, inner) in [(1, 1), (1, 5), (2, 3), (9, 1), (1, 150)] {
      for base in [false, true] {
        let c = Case(outer, 11, 2500, inner, pattern)
        checkScatter(CK_GATHER_SCATTER_ADD_F32, c, base: base) { Float($0 % 97) - 11 }
      }
    }
    var c = Case(1, 11, 2500, 3, pattern)
    c.indices[1300] = 11
    checkScatter(CK_GATHER_SCATTER_ADD_F32, c, base: true, { Float($0 % 5) }, firstBad: (1300, 11))
  }

  @Test func scatterAdd_whatIsSmallBesideASum_isNotLost() {
    everyWay(table, CK_GATHER_SCATTER_ADD_F32) { run in
      let updates = Guarded([Float](repeating: 0.25, count: 4096))
      let indices = Guarded([UInt8](repeating: 0, count: 4096))
      let dst = Guarded([Float](repeating: 0x1p24, count: 2))
      let error = Guarded([Int64(-1), 0])
      var args = ck_scatter_args()
      args.dst = UnsafeMutableRawPointer(dst.pointer)
      args.base = UnsafeRawPointer(dst.pointer)
      args.updates = UnsafeRawPointer(updates.pointer)
      args.indices = UnsafeRawPointer(indices.pointer)
      args.error = error.pointer
      (args.outer, args.axis, args.count, args.inner) = (1, 2, 4096, 1)
      args.index_count = 1
      args.index_dtype = Int32(CK_U8.rawValue)
      let workspace = Guarded(UInt8(0xff), count: ck_scatter_workspace_bytes(&args), offset: 0)
      args.workspace = UnsafeMutableRawPointer(workspace.pointer)
      run(args)
      #expect(dst.array == [0x1p24 + 1024, 0x1p24], "\(run.name)")
      return dst.bytes
    }
  }

  @Test func scatterAdd_passesOverBadIndices() {
    var c = Case(1, 40, 300, 5, .shared)
    c.indices[250] = 40
    c.indices[251] = -1
    checkScatter(CK_GATHER_SCATTER_ADD_F32, c, base: true, { Float($0) }, firstBad: (250, 40))
  }

  func checkOneHot<E: FixedWidthInteger & BitwiseCopyable>(_: E.Type, off: E) {
    let (outer, depth, inner) = (23, 6, 3)
    var labels = (0..<outer * inner).map { UInt8($0 % depth) }
    labels[40] = 6
    labels[50] = 255
    var expected = [E](repeating: off, count: outer * depth * inner)
    for o in 0..<outer {
      for i in 0..<inner where labels[o * inner + i] < depth {
        expected[(o * depth + Int(labels[o * inner + i])) * inner + i] = 42
      }
    }
    everyWay(table, CK_GATHER_ONE_HOT) { run in
      let indices = Guarded(labels)
      let dst = Guarded(E(9), count: expected.count)
      let error = Guarded([Int64(-1), 0])
      var args = ck_one_hot_args()
      args.dst = UnsafeMutableRawPointer(dst.pointer)
      args.indices = UnsafeRawPointer(indices.pointer)
      args.error = error.pointer
      args.on = 42
      args.off = UInt64(off)
      (args.outer, args.depth, args.inner) = (Int64(outer), Int64(depth), Int64(inner))
      args.index_dtype = Int32(CK_U8.rawValue)
      args.element_size = Int32(MemoryLayout<E>.size)
      run(args)
      #expect(dst.array == expected && dst.isIntact, "\(run.name)")
      #expect(error.pointer[0] == 40 && error.pointer[1] == 6)
      return dst.bytes + error.bytes
    }
  }

  @Test func oneHot_marksEachLabel() {
    checkOneHot(UInt8.self, off: 0)
    checkOneHot(UInt16.self, off: 7)
    checkOneHot(UInt32.self, off: 0)
    checkOneHot(UInt64.self, off: 5)
  }

  @Test func lengthMask_marksTheStepsThatAreReal() {
    for extent in [1, 7, 33] {
      // Two rows have no such length: the first of them is noted.
      var lengths = (0..<40).map { Int64(1 + $0 % extent) }
      lengths[20] = Int64(extent) + 1
      lengths[30] = 0
      let expected = lengths.flatMap { length -> [UInt8] in
        let real = (1...Int64(extent)).contains(length) ? Int(length) : 0
        return (0..<extent).map { $0 < real ? 1 : 0 }
      }
      everyWay(table, CK_GATHER_LENGTH_MASK) { run in
        let source = Guarded(lengths)
        let dst = Guarded(UInt8(9), count: expected.count)
        let error = Guarded([Int64(-1), 0])
        var args = ck_length_mask_args()
        args.dst = UnsafeMutableRawPointer(dst.pointer)
        args.lengths = UnsafeRawPointer(source.pointer)
        args.error = error.pointer
        (args.count, args.extent) = (40, Int64(extent))
        args.length_dtype = Int32(CK_I64.rawValue)
        run(args)
        #expect(dst.array == expected && dst.isIntact, "\(run.name)")
        #expect(error.pointer[0] == 20 && error.pointer[1] == Int64(extent) + 1)
        return dst.bytes + error.bytes
      }
    }
  }
}
