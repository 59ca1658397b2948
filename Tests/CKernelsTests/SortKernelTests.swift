// Stable sorting and top-k along any axis, against the standard library's sort with index ties.

import CKernels
import Testing

@Suite struct SortKernelTests {
  let table = entries(ck_sort_entries)

  func check<E: Comparable & BitwiseCopyable>(
    _ x: [E], _ shape: [Int], k: Int, dtype: ck_dtype, descending: Bool,
    isNaN: @escaping (E) -> Bool = { _ in false }
  ) {
    let (outer, axis, inner) = (shape[0], shape[1], shape[2])
    var expected = [Int](repeating: 0, count: outer * k * inner)
    for o in 0..<outer {
      for i in 0..<inner {
        func element(_ n: Int) -> E { x[(o * axis + n) * inner + i] }
        let order = (0..<axis).sorted { a, b in
          let (u, v) = (element(a), element(b))
          // The greatest of all.
          if isNaN(u) || isNaN(v) {
            return isNaN(u) == isNaN(v) ? a < b : isNaN(descending ? u : v)
          }
          if u != v { return descending ? u > v : u < v }
          return a < b
        }
        for n in 0..<k { expected[(o * k + n) * inner + i] = order[n] }
      }
    }
    for op in k == axis ? [CK_SORT_SORT, CK_SORT_TOP_K] : [CK_SORT_TOP_K] {
      everyWay(table, op, "\(shape) \(k) \(dtype) \(descending)") { run in
        let input = Guarded(x)
        let values = Guarded(x.first!, count: outer * k * inner)
        let indices = Guarded(Int64(-9), count: outer * k * inner)
        var args = ck_sort_args()
        args.values = UnsafeMutableRawPointer(values.pointer)
        args.indices = UnsafeMutableRawPointer(indices.pointer)
        args.x = UnsafeRawPointer(input.pointer)
        (args.outer, args.axis, args.inner) = (Int64(outer), Int64(axis), Int64(inner))
        args.k = Int64(k)
        args.dtype = Int32(dtype.rawValue)
        args.index_dtype = Int32(CK_I64.rawValue)
        args.descending = descending ? 1 : 0
        #expect(ck_sort_scratch_bytes(&args) <= 1 << 22)
        run(args)
        #expect(indices.array.map(Int.init) == expected, "\(run.name)")
        #expect(values.isIntact && indices.isIntact, "\(run.name)")
        for n in expected.indices {
          let (line, i) = (n / (k * inner), n % inner)
          let source = x[(line * axis + expected[n]) * inner + i]
          let value = values.array[n]
          if value != source && !(isNaN(value) && isNaN(source)) {
            Issue.record("\(run.name): value \(n)")
            break
          }
        }
        return values.bytes + indices.bytes
      }
    }
  }

  static let shapes = [
    [1, 1, 1], [3, 2, 1], [2, 17, 1], [2, 48, 3], [1, 49, 1], [2, 100, 2], [1, 3000, 1],
  ]

  @Test(arguments: shapes, [false, true]) func sort_isStable(shape: [Int], descending: Bool) {
    var numbers = TestNumbers(seed: UInt64(shape[1]))
    let count = shape.reduce(1, *)
    let floats = numbers.floats(count, scale: 1e3)
    var special = floats.map { ($0 / 300).rounded() }  // many equal, -0 and 0 among them
    for i in stride(from: 1, to: count, by: 9) { special[i] = .nan }
    for i in stride(from: 4, to: count, by: 13) { special[i] = i % 2 == 0 ? .infinity : -.infinity }
    for k in Set([shape[1], 1, shape[1] / 3, shape[1] / 20]) {
      check(floats, shape, k: k, dtype: CK_F32, descending: descending)
      check(special, shape, k: k, dtype: CK_F32, descending: descending, isNaN: \.isNaN)
      check(floats.map { Int32($0) }, shape, k: k, dtype: CK_I32, descending: descending)
      check(
        floats.map { Int64($0 * 1e15) }, shape, k: k, dtype: CK_I64, descending: descending)
      check(floats.map { UInt8(abs($0) / 4) }, shape, k: k, dtype: CK_U8, descending: descending)
    }
  }
}
