// Matrix products: as a compiled graph runs them, or the raw row of the kernels' list.

import Apus
import CKernels

extension BenchmarkCase {
  /// A matrix product, or a batch of them.
  ///
  /// - `packed`: whether B has been packed beforehand, as weights are once a step; the raw kernel alone
  ///   takes it so.
  /// - `raw`: whether the kernel is called by itself rather than by a compiled graph.
  /// - `precision`: in `mixed` all three matrices are bf16.
  package static func gemm(
    _ shape: GEMMShape, transpose: GEMMTranspose = .nn, packed: Bool = false, raw: Bool = false,
    precision: Precision = .highest
  ) -> BenchmarkCase {
    let (batch, m, n, k) = (shape.batch, shape.m, shape.n, shape.k)
    let type = precision == .mixed ? DType.bf16 : .f32
    let isRaw = raw || packed
    var settings: [(String, JSON)] = [
      ("transpose", .string(transpose.rawValue)), ("packed", .bool(packed)),
    ]
    if isRaw { settings.append(("raw", true)) }
    return BenchmarkCase(
      bench: "gemm", name: "\(shape)",
      label: "\(shape)" + (transpose == .nn ? "" : " \(transpose.rawValue)"), flops: shape.flops,
      bytes: Double(type.byteCount) * shape.elements,
      settings: settings,
      peerCase: .object([
        ("family", "gemm"), ("operation", "product"),
        ("shape", .array([m, n, k].map(JSON.integer))), ("batch", .integer(batch)),
        ("transpose", .string(transpose.rawValue)),
      ])
    ) { options in
      if isRaw { return try RawGEMM(shape, transpose, packed: packed, options) }
      return try GraphSide(
        [
          Operand(transpose.ofA ? shape.operand(k, m) : shape.operand(m, k), dtype: type),
          Operand(transpose.ofB ? shape.operand(n, k) : shape.operand(k, n), dtype: type),
        ], options
      ) { operands in
        let a = transpose.ofA ? operands[0].swappingAxes(-2, -1) : operands[0]
        let b = transpose.ofB ? operands[1].swappingAxes(-2, -1) : operands[1]
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
  private let a, b, c: AlignedMemory
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
    let count = shape.batch
    a = AlignedMemory(byteCount: 4 * count * shape.m * shape.k)
    b = AlignedMemory(byteCount: 4 * count * shape.k * shape.n)
    c = AlignedMemory(byteCount: type.byteCount * count * shape.m * shape.n)
    a.fillRandomly(seed: 1)
    b.fillRandomly(seed: 2)
    if isNarrow {
      a.roundToBF16(count: count * shape.m * shape.k)
      b.roundToBF16(count: count * shape.k * shape.n)
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
    arguments.batch = (1, 1, 1, 1, 1, Int64(count))
    (arguments.a_batch.5, arguments.b_batch.5, arguments.c_batch.5) = (m * k, k * n, m * n)
    arguments.alpha = 1
    var packing = ck_gemm_pack_args()
    packing.b = arguments.b
    (packing.K, packing.N, packing.count, packing.b_batch) = (k, n, Int64(count), k * n)
    (packing.b_row, packing.b_col) = (arguments.b_row, arguments.b_col)
    (packing.a_type, packing.b_type) = (arguments.a_type, arguments.b_type)
    packing.precision = arguments.precision
    let packedBytes = ck_gemm_packed_bytes(&packing, isa)
    self.packed = packed ? AlignedMemory(byteCount: packedBytes * count) : nil
    if let buffer = self.packed {
      packing.packed = buffer.floats
      try BenchmarkTeam(threads: options.threads).run(ck_gemm_pack_b(isa), &packing)
      arguments.b = UnsafePointer(buffer.floats)
      arguments.b_packed = 1
      arguments.b_batch.5 = Int64(packedBytes / 4)
    }
    team = try BenchmarkTeam(
      threads: options.threads, scratchBytes: ck_gemm_scratch_bytes(&arguments, isa))
    kernel = ck_gemm(isa)
    var rowCount = 0
    let rows = UnsafeBufferPointer(start: ck_gemm_rows(&rowCount), count: rowCount)
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
