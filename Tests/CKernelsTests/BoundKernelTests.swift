// Bounds against plain arithmetic: all tails, unaligned arrays, NaN and infinity anywhere, teams of any size.

import CKernels
import Foundation
import Testing

@Suite struct BoundKernelTests {
  let table = entries(ck_bound_entries)

  /// Arrays of f32 or bf16, which of them count, and products of two.
  private final class Case {
    let block: UnsafeMutableRawPointer
    let args: UnsafeMutablePointer<ck_bound_args>
    private let out = Guarded<Float>([7])
    private let workspace: Guarded<UInt32>
    private let floats: [Guarded<Float>]
    private let halves: [Guarded<UInt16>]
    let expected: Double

    init(
      _ arrays: [[Float]], narrow: Bool = false, plain: Set<Int>,
      products: [(a: Int, b: Int, terms: Double)] = []
    ) {
      floats = arrays.map { Guarded($0, offset: narrow ? 0 : 1) }
      halves = arrays.map { Guarded($0.map { UInt16($0.bitPattern >> 16) }, offset: 1) }
      block = .allocate(
        byteCount: ck_bound_args_bytes(Int32(arrays.count), Int32(products.count)), alignment: 64)
      args = block.bindMemory(to: ck_bound_args.self, capacity: 1)
      args.initialize(
        to: ck_bound_args(
          out: nil, workspace: nil, arrays: Int32(arrays.count), products: Int32(products.count)))
      for index in arrays.indices {
        let data =
          narrow ? UnsafeRawPointer(halves[index].pointer) : UnsafeRawPointer(floats[index].pointer)
        ck_bound_arrays(args)[index] = ck_bound_array(
          data: data, count: Int64(arrays[index].count),
          dtype: Int32((narrow ? CK_BF16 : CK_F32).rawValue),
          is_plain: plain.contains(index) ? 1 : 0)
      }
      for (index, product) in products.enumerated() {
        ck_bound_products(args)[index] = ck_bound_product(
          a: Int32(product.a), b: Int32(product.b), terms: product.terms)
      }
      workspace = Guarded(
        UInt32(0xffff_ffff), count: ck_bound_workspace_bytes(args) / MemoryLayout<UInt32>.size,
        offset: 0)
      args.pointee.out = out.pointer
      args.pointee.workspace = workspace.pointer
      let greatest = arrays.map { values in
        values.reduce(0.0) { greatest, value in
          let value = narrow ? Float(bitPattern: value.bitPattern & 0xffff_0000) : value
          return value.isNaN || greatest.isNaN ? .nan : max(greatest, Double(abs(value)))
        }
      }
      let bounds =
        plain.map { greatest[$0] } + products.map { $0.terms * greatest[$0.a] * greatest[$0.b] }
      expected = bounds.contains(where: \.isNaN) ? .nan : bounds.reduce(0, max)
    }

    deinit { block.deallocate() }

    /// What the kernel finds, on a team of that size; nil where it touched what is not its own.
    func found(_ kernel: ck_kernel, threads: Int) throws -> Float? {
      let team = try #require(ck_team_create(Int32(threads), 0))
      defer { ck_team_destroy(team) }
      out.pointer.pointee = 7
      var step = ck_step(kernel: kernel, args: args, threads: 0, barrier: 1, condition: nil)
      ck_run(team, &step, 1)
      let isIntact =
        out.isIntact && workspace.isIntact && floats.allSatisfy(\.isIntact)
        && halves.allSatisfy(\.isIntact)
      return isIntact ? out.pointer.pointee : nil
    }
  }

  private func check(_ test: Case, _ comment: String) throws {
    for entry in table where entry.op == Int32(CK_BOUND_MAGNITUDE.rawValue) {
      for threads in [1, 2, 7] {
        let found = try #require(try test.found(entry.kernel, threads: threads), "\(comment)")
        if test.expected.isNaN {
          #expect(found.isNaN, "\(comment) \(entry.name)")
        } else {
          #expect(found == Float(test.expected), "\(comment) \(entry.name)")
        }
      }
    }
  }

  private static func numbers(_ count: Int, seed: UInt64 = 1) -> [Float] {
    var random = TestNumbers(seed: seed + UInt64(count))
    return random.floats(count)
  }

  @Test(arguments: [false, true])
  func allLengths(narrow: Bool) throws {
    for count in Array(0...140) + [4095, 4096, 4097, 8191, 12_300] {
      try check(
        Case([Self.numbers(count)], narrow: narrow, plain: [0]), "\(count) elements")
    }
  }

  @Test func aNumberThatIsNotFinite_isFoundAnywhere() throws {
    for bad in [Float.nan, -.nan, .infinity, -.infinity, Float(bitPattern: 0x7f80_0001)] {
      for count in [1, 15, 16, 17, 63, 64, 65, 4097] {
        for place in Set([0, count / 2, count - 1]) {
          var values = Self.numbers(count)
          values[place] = bad
          let test = Case([Self.numbers(70), values], plain: [0, 1])
          for entry in table {  // of a norm too
            let found = try #require(try test.found(entry.kernel, threads: 2))
            #expect(!found.isFinite, "\(bad) at \(place) of \(count), \(entry.name)")
          }
        }
      }
    }
  }

  @Test func products_areBoundedByTheirFactors_whichDoNotCountThemselves() throws {
    let (a, b) = (Self.numbers(5000, seed: 3), Self.numbers(300, seed: 4))
    try check(Case([a, b], plain: [], products: [(0, 1, 64)]), "one product")
    try check(Case([a, b, []], plain: [1], products: [(0, 0, 2), (2, 0, 9)]), "several")
    // Factors that are large alone, and a product that overflows f32.
    try check(Case([[1e30], [1e-30]], plain: [], products: [(0, 1, 1)]), "cancelling")
    let test = Case([[1e20], [1e20]], plain: [], products: [(0, 1, 1)])
    for entry in table where entry.op == Int32(CK_BOUND_MAGNITUDE.rawValue) {
      #expect(try test.found(entry.kernel, threads: 1) == .infinity)
    }
    try check(Case([[.infinity], [0]], plain: [], products: [(0, 1, 1)]), "infinity times 0")
  }

  /// The norm of arrays whose elements are of the size of `unit`, against double; the same bits always.
  @Test(arguments: [1, 1e-3, 1e18, 1e20, 2e36, 1e-20, 1e-32] as [Float], [false, true])
  func norms_areRight_farFromOneToo(unit: Float, narrow: Bool) throws {
    for counts in [[0], [1], [17, 0, 70], [4096], [4097, 9000, 3]] {
      let arrays = counts.enumerated().map { index, count in
        Self.numbers(count, seed: UInt64(index)).map { $0 * unit }
      }
      let test = Case(arrays, narrow: narrow, plain: Set(arrays.indices))
      let squares = arrays.flatMap { $0 }.map { value in
        let value = narrow ? Float(bitPattern: value.bitPattern & 0xffff_0000) : value
        return Double(value) * Double(value)
      }
      let expected = squares.reduce(0, +).squareRoot()
      var bits: Set<UInt32> = []
      for entry in table where entry.op == Int32(CK_BOUND_NORM.rawValue) {
        for threads in [1, 2, 7] {
          let found = try #require(try test.found(entry.kernel, threads: threads))
          bits.insert(found.bitPattern)
          #expect(abs(Double(found) - expected) <= 1e-6 * expected, "\(counts) of \(unit)")
        }
      }
      #expect(bits.count == 1)
    }
  }

  @Test func manyArrays_manyTiles() throws {
    let arrays = (0..<40).map { Self.numbers($0 * 311 % 9000, seed: UInt64($0)) }
    try check(Case(arrays, plain: Set(0..<40)), "forty")
    try check(Case([], plain: []), "none")
  }
}
