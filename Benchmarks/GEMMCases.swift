// Matrix products: as a compiled graph runs them, or the raw row of the kernels' list.

import Apus
import CKernels

/// `C[M,N] = A[M,K] B[K,N]`, written `MxNxK`.
public struct GEMMShape: Sendable, Hashable, CustomStringConvertible {
  public var m, n, k: Int

  /// - Throws: `invalidArgument` unless the text is three positive numbers.
  public init(_ text: String) throws {
    let numbers = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard numbers.count == 3, let m = numbers[0], let n = numbers[1], let k = numbers[2],
      [m, n, k].allSatisfy({ 1 <= $0 && $0 <= 1 << 20 })
    else {
      throw ApusError(.invalidArgument, "shape '\(text)'", expected: "MxNxK, as in 2048x1536x384")
    }
    (self.m, self.n, self.k) = (m, n, k)
  }

  public var description: String { "\(m)x\(n)x\(k)" }

  /// Sizes of the training workloads, and cubes.
  public static let usual = try! [
    "2048x2048x2048", "2048x1536x384", "2048x384x1536", "256x1024x784", "256x1024x1024",
    "64x128x784", "32x1024x256", "128x128x128",
  ].map(GEMMShape.init)
}

/// Which operand lies transposed in memory: the first letter is A's, the second B's.
public enum GEMMTranspose: String, Sendable, CaseIterable {
  case nn, nt, tn, tt

  var ofA: Bool { self == .tn || self == .tt }
  var ofB: Bool { self == .nt || self == .tt }
}

extension BenchmarkCase {
  /// A matrix product.
  ///
  /// - `packed`: whether B has been packed beforehand, as weights are once a step; the raw kernel alone
  ///   takes it so.
  /// - `raw`: whether the kernel is called by itself rather than by a compiled graph.
  /// - `precision`: in `mixed` all three matrices are bf16.
  public static func gemm(
    _ shape: GEMMShape, transpose: GEMMTranspose = .nn, packed: Bool = false, raw: Bool = false,
    precision: Precision = .highest
  ) -> BenchmarkCase {
    let (m, n, k) = (shape.m, shape.n, shape.k)
    let type = precision == .mixed ? DType.bf16 : .f32
    let isRaw = raw || packed
    var settings: [(String, JSON)] = [
      ("transpose", .string(transpose.rawValue)), ("packed", .bool(packed)),
    ]
    if isRaw { settings.append(("raw", true)) }
    return BenchmarkCase(
      bench: "gemm", name: "\(shape)", flops: 2 * Double(m) * Double(n) * Double(k),
      bytes: Double(type.byteCount) * (Double(m * k) + Double(k * n) + Double(m * n)),
      settings: settings,
      peerCase: .object([
        ("family", "gemm"), ("operation", "product"),
        ("shape", .array([m, n, k].map(JSON.integer))),
        ("transpose", .string(transpose.rawValue)),
      ])
    ) { options in
      if isRaw { return try RawGEMM(shape, transpose, packed: packed, options) }
      return try GraphSide(
        [
          Operand(transpose.ofA ? [k, m] : [m, k], dtype: type),
          Operand(transpose.ofB ? [n, k] : [k, n], dtype: type),
        ], options
      ) { operands in
        let a = transpose.ofA ? operands[0].transposed() : operands[0]
        let b = transpose.ofB ? operands[1].transposed() : operands[1]
        return [a.matmul(b)]
      }
    }
  }
}

/// One product of random matrices by a row of the kernels' list.
private final class RawGEMM: KernelSide {
  let name = "apus"
  let kernelName: String
  private let team: BenchmarkTeam
  private let a, b, c, workspace: AlignedMemory
  private let packed: AlignedMemory?
  private var arguments: ck_gemm_args
  private let kernel: ck_kernel

  init(_ shape: GEMMShape, _ transpose: GEMMTranspose, packed: Bool, _ options: BenchmarkOptions)
    throws
  {
    let isa = ck_isa(rawValue: UInt32(options.isa.rawValue))
    let (m, n, k) = (Int64(shape.m), Int64(shape.n), Int64(shape.k))
    let isNarrow = options.precision == .mixed
    let type = isNarrow ? DType.bf16 : .f32
    a = AlignedMemory(byteCount: 4 * shape.m * shape.k)
    b = AlignedMemory(byteCount: 4 * shape.k * shape.n)
    c = AlignedMemory(byteCount: type.byteCount * shape.m * shape.n)
    a.fillRandomly(seed: 1)
    b.fillRandomly(seed: 2)
    if isNarrow {
      a.roundToBF16(count: shape.m * shape.k)
      b.roundToBF16(count: shape.k * shape.n)
    }
    var arguments = ck_gemm_args()
    (arguments.a_type, arguments.b_type) = (Int16(type.kernelCode), Int16(type.kernelCode))
    arguments.c_type = Int16(type.kernelCode)
    let precisions = [
      Precision.highest: CK_GEMM_HIGHEST, .high: CK_GEMM_HIGH, .mixed: CK_GEMM_MIXED,
    ]
    arguments.precision = Int16(precisions[options.precision]!.rawValue)
    arguments.c = c.floats
    arguments.a = UnsafePointer(a.floats)
    arguments.b = UnsafePointer(b.floats)
    (arguments.M, arguments.N, arguments.K) = (m, n, k)
    (arguments.a_row, arguments.a_col) = transpose.ofA ? (1, m) : (k, 1)
    (arguments.b_row, arguments.b_col) = transpose.ofB ? (1, k) : (n, 1)
    arguments.c_row = n
    arguments.batch = (1, 1, 1, 1, 1, 1)
    arguments.alpha = 1
    var packing = ck_gemm_pack_args()
    packing.b = arguments.b
    (packing.K, packing.N, packing.count) = (k, n, 1)
    (packing.b_row, packing.b_col) = (arguments.b_row, arguments.b_col)
    (packing.a_type, packing.b_type) = (arguments.a_type, arguments.b_type)
    packing.precision = arguments.precision
    self.packed = packed ? AlignedMemory(byteCount: ck_gemm_packed_bytes(&packing, isa)) : nil
    if let buffer = self.packed {
      packing.packed = buffer.floats
      try BenchmarkTeam(threads: options.threads).run(ck_gemm_pack_b(isa), &packing)
      arguments.b = UnsafePointer(buffer.floats)
      arguments.b_packed = 1
    }
    workspace = AlignedMemory(byteCount: ck_gemm_workspace_bytes(&arguments, isa))
    arguments.workspace = workspace.address
    team = try BenchmarkTeam(
      threads: options.threads, scratchBytes: ck_gemm_scratch_bytes(&arguments, isa))
    kernel = ck_gemm(isa)
    var count = 0
    let rows = UnsafeBufferPointer(start: ck_gemm_rows(&count), count: count)
    let row = rows.first { !$0.emulated && $0.isa.rawValue <= isa.rawValue } ?? rows[rows.count - 1]
    kernelName = String(cString: row.name)
    self.arguments = arguments
  }

  func run(_ count: Int) -> Double {
    for _ in 0..<max(1, count / 10) { team.run(kernel, &arguments) }
    return seconds { for _ in 0..<count { team.run(kernel, &arguments) } }
  }
}

extension AlignedMemory {
  /// The first `count` floats as bf16 in their place, to the nearest even.
  fileprivate func roundToBF16(count: Int) {
    for index in 0..<count {
      let bits = floats[index].bitPattern
      let rounded = UInt16(truncatingIfNeeded: (bits + 0x7fff + (bits >> 16 & 1)) >> 16)
      UnsafeMutableRawPointer(floats).storeBytes(
        of: rounded, toByteOffset: 2 * index, as: UInt16.self)
    }
  }
}
