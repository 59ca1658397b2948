// What the tests of the row-wise kernels share: memory with canaries, teams of 1, 2 and 7, and
// running a kernel every way there is.

import CKernels
import Foundation
import Testing

/// Elements at an address that is aligned for one element only, between canaries.
final class Guarded<Element: BitwiseCopyable>: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<Element>
  let count: Int
  private let block: UnsafeMutableRawBufferPointer
  private let start: Int
  private static var margin: Int { 128 }

  /// - Parameter offset: Elements past a 64-byte boundary at which the memory starts.
  init(_ values: [Element], offset: Int = 1) {
    count = values.count
    start = Self.margin + offset * MemoryLayout<Element>.stride
    let bytes = values.count * MemoryLayout<Element>.stride
    block = .allocate(byteCount: start + bytes + Self.margin, alignment: 64)
    memset(block.baseAddress!, Int32(canaryByte), block.count)
    pointer = (block.baseAddress! + start).bindMemory(to: Element.self, capacity: count)
    pointer.update(from: values, count: count)
  }

  convenience init(_ value: Element, count: Int, offset: Int = 1) {
    self.init(Array(repeating: value, count: count), offset: offset)
  }

  deinit { block.deallocate() }

  var array: [Element] { Array(UnsafeBufferPointer(start: pointer, count: count)) }

  var bytes: [UInt8] {
    let size = count * MemoryLayout<Element>.stride
    return Array(unsafeUninitializedCapacity: size) { bytes, initialized in
      if let base = bytes.baseAddress { memcpy(base, pointer, size) }
      initialized = size
    }
  }

  /// Whether the elements have the bits of these, as many.
  func holds(_ values: [Element]) -> Bool {
    values.withUnsafeBytes { bytes in
      bytes.count == count * MemoryLayout<Element>.stride
        && (bytes.isEmpty || memcmp(bytes.baseAddress!, pointer, bytes.count) == 0)
    }
  }

  /// Whether the bytes around the elements are as they were.
  var isIntact: Bool {
    let end = start + count * MemoryLayout<Element>.stride
    return memcmp(block.baseAddress!, canaries, start) == 0
      && memcmp(block.baseAddress! + end, canaries, block.count - end) == 0
  }
}

private let canaryByte: UInt8 = 0xA5
/// As many as stand before the memory at most.
private let canaries = [UInt8](repeating: canaryByte, count: 128 + 64 * 16)

/// Whether two arrays are the same, as fast in a debug build as in another.
func areSame(_ a: [UInt8], _ b: [UInt8]) -> Bool {
  a.count == b.count && (a.isEmpty || memcmp(a, b, a.count) == 0)
}

/// The teams of all tests of this kind, made once.
final class TestTeams: @unchecked Sendable {
  static let shared = TestTeams()
  static let sizes = [1, 2, 7]
  private let teams: [OpaquePointer]

  private init() {
    teams = Self.sizes.map { ck_team_create(Int32($0), 1 << 22)! }
  }

  func run<Args>(_ kernel: @escaping ck_kernel, _ args: Args, team: Int) {
    withUnsafePointer(to: args) { run(kernel, block: UnsafeRawPointer($0), team: team) }
  }

  func run(_ kernel: @escaping ck_kernel, block: UnsafeRawPointer, team: Int) {
    var step = ck_step(kernel: kernel, args: block, threads: 0, barrier: 1, condition: nil)
    ck_run(teams[team], &step, 1)
  }
}

/// One implementation on one team.
struct KernelRun {
  let name: String
  let kernel: ck_kernel
  let team: Int

  func callAsFunction<Args>(_ args: Args) { TestTeams.shared.run(kernel, args, team: team) }

  /// On an argument block of a variable length.
  func onBlock(_ block: UnsafeMutableRawPointer) {
    TestTeams.shared.run(kernel, block: UnsafeRawPointer(block), team: team)
  }
}

/// The rows of a family's table.
func entries(_ table: (UnsafeMutablePointer<Int>?) -> UnsafePointer<ck_entry>?) -> [ck_entry] {
  var count = 0
  let first = table(&count)
  return Array(UnsafeBufferPointer(start: first, count: count))
}

/// Calls `body` for each implementation of `op` that this machine runs, on each team. `body` makes
/// its own memory, runs the kernel, checks what it wrote, and returns the bytes; they must be the
/// same every time.
func everyWay(
  _ table: [ck_entry], _ op: some RawRepresentable<UInt32>, _ what: String = "",
  sourceLocation: SourceLocation = #_sourceLocation, _ body: (KernelRun) -> [UInt8]
) {
  var first: (String, [UInt8])?
  for entry in table where entry.op == Int32(op.rawValue) {
    guard entry.isa.rawValue <= ck_isa_best().rawValue else { continue }
    for team in TestTeams.sizes.indices {
      let name = "\(String(cString: entry.name)) on \(TestTeams.sizes[team]) threads \(what)"
      let bytes = body(KernelRun(name: name, kernel: entry.kernel, team: team))
      guard let (reference, expected) = first else {
        first = (name, bytes)
        continue
      }
      if !areSame(bytes, expected) {
        Issue.record("\(name) and \(reference) differ", sourceLocation: sourceLocation)
      }
    }
  }
  #expect(first != nil, "no entry for \(op)", sourceLocation: sourceLocation)
}

/// Whether every element is within `tolerance` of what is expected, relative to values above 1.
/// NaN is expected where NaN is, and infinities match exactly.
func isClose(_ actual: [Float], _ expected: [Double], _ tolerance: Double = 2e-6) -> Bool {
  actual.count == expected.count
    && zip(actual, expected).allSatisfy { a, e in
      if e.isNaN { return a.isNaN }
      if e.isInfinite { return Double(a) == e }
      return abs(Double(a) - e) <= tolerance * max(1, abs(e))
    }
}

/// The bits of the nearest bf16, and the number that such bits are.
func rounded(_ x: Float) -> UInt16 { BFloat.bits(Double(x)) }
func widened(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

/// Numbers in -1 ... 1 that look random and are always the same.
struct TestNumbers: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64 = 1) { state = seed &* 0x9E37_79B9_7F4A_7C15 }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in Float.random(in: -1...1, using: &self) * scale }
  }
}

/// How much the tests try. Under a sanitizer, which takes ten times as long, what only repeats a
/// path at more sizes is left out.
enum TestSize {
  #if SANITIZED
    static let isReduced = true
  #else
    static let isReduced = false
  #endif
}
