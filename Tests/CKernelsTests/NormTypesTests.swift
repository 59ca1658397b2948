// Normalisations of bf16 rows: what f32 rows of the same values and statistics give, rounded.

import CKernels
import Foundation
import Testing

/// Rows of f32 or bf16 between canaries, of values that a bf16 has, or 9s to be overwritten.
private struct TypedRows {
  let dtype: ck_dtype
  private let wide: Guarded<Float>?
  private let narrow: Guarded<UInt16>?

  init(_ values: [Float], _ dtype: ck_dtype) {
    self.dtype = dtype
    wide = dtype == CK_F32 ? Guarded(values) : nil
    narrow = dtype == CK_BF16 ? Guarded(values.map { UInt16($0.bitPattern >> 16) }) : nil
  }

  var pointer: UnsafeMutableRawPointer {
    wide.map { UnsafeMutableRawPointer($0.pointer) } ?? UnsafeMutableRawPointer(narrow!.pointer)
  }
  var code: Int32 { Int32(dtype.rawValue) }
  var isIntact: Bool { wide?.isIntact ?? narrow!.isIntact }

  /// Each element's bits in the type; NaNs alike.
  var bits: [UInt32] {
    wide.map { $0.array.map { $0.isNaN ? 1 : $0.bitPattern } }
      ?? narrow!.array.map { $0 & 0x7fff > 0x7f80 ? 1 : UInt32($0) }
  }

  /// The values of these bits of f32.
  static func values(_ bits: [UInt32]) -> [Float] {
    bits.map { $0 == 1 ? .nan : Float(bitPattern: $0) }
  }

  /// The bits of these in `dtype`, by the type's definition.
  static func bits(of values: [Float], _ dtype: ck_dtype) -> [UInt32] {
    values.map {
      if $0.isNaN { return 1 }
      return dtype == CK_F32 ? $0.bitPattern : UInt32(BFloat.bits(Double($0)))
    }
  }

  /// The f32 of such bits.
  static func float(_ bits: UInt32) -> Float { bits == 1 ? .nan : Float(bitPattern: bits) }
}

@Suite struct NormTypesTests {
  let table = entries(ck_norm_entries)
  static let types: [ck_dtype] = [CK_F32, CK_BF16]
  static let rows = 37

  private let x, dy, gamma, beta: [Float]
  private let cols: Int

  init() { self.init(cols: 1) }

  private init(cols: Int) {
    self.cols = cols
    var numbers = TestNumbers(seed: UInt64(cols))
    /// Values that a bf16 has.
    func rounded(_ values: [Float]) -> [Float] {
      values.map { Float(bitPattern: $0.bitPattern & 0xffff_0000) }
    }
    var x = rounded(numbers.floats(Self.rows * cols, scale: 3))
    x[cols] = .infinity
    x[5 * cols + cols / 2] = .nan
    for i in 0..<cols { x[7 * cols + i] = 0x1.8p-130 }
    for i in 0..<cols { x[9 * cols + i] = i % 2 == 0 ? 0x1.cp100 : -0x1.cp100 }
    self.x = x
    dy = rounded(numbers.floats(Self.rows * cols))
    gamma = numbers.floats(cols).map { $0 + 1 }
    beta = numbers.floats(cols)
  }

  /// y, mean and rstd of the kernel for rows of those types.
  private func forward(
    _ y: ck_dtype, _ x: ck_dtype, _ name: String, _ run: (ck_norm_args) -> Void
  ) -> (y: [UInt32], statistics: [Guarded<Float>]) {
    let (gamma, beta) = (Guarded(self.gamma), Guarded(self.beta))
    let source = TypedRows(self.x, x)
    let target = TypedRows([Float](repeating: 9, count: self.x.count), y)
    let statistics = (0..<2).map { _ in Guarded(Float(9), count: Self.rows) }
    var args = ck_norm_args()
    args.y = target.pointer
    args.x = UnsafeRawPointer(source.pointer)
    args.mean = statistics[0].pointer
    args.rstd = statistics[1].pointer
    args.gamma = UnsafePointer(gamma.pointer)
    args.beta = UnsafePointer(beta.pointer)
    args.rows = Int64(Self.rows)
    args.cols = Int64(cols)
    args.x_stride = Int64(cols)
    args.epsilon = 1e-5
    (args.x_dtype, args.y_dtype) = (source.code, target.code)
    run(args)
    #expect(
      target.isIntact && source.isIntact && statistics.allSatisfy(\.isIntact), "\(name)")
    return (target.bits, statistics)
  }

  /// y for those statistics, in the order of the kernel's operations.
  private func rows(_ mean: [Float], _ rstd: [Float]) -> [Float] {
    x.indices.map { i in
      // Teams take denormals for zero.
      let x = self.x[i].isSubnormal ? 0 : self.x[i]
      let normal = (x - mean[i / cols]) * rstd[i / cols]
      return beta[i % cols].addingProduct(normal, gamma[i % cols])
    }
  }

  @Test(arguments: [1, 7, 15, 16, 17, 31, 64, 65, 100, 768])
  func forward_roundsWhatItComputesInF32(cols: Int) {
    let c = NormTypesTests(cols: cols)
    for op in [CK_NORM_LAYER_FORWARD, CK_NORM_RMS_FORWARD] {
      let wide = c.forward(CK_F32, CK_F32, "f32") {
        TestTeams.shared.run(ck_norm(op, CK_ISA_REF), $0, team: 0)
      }.statistics.map(\.array)
      for (y, x) in Self.types.flatMap({ y in Self.types.map { (y, $0) } }) {
        everyWay(table, op, "\(x) to \(y) at \(cols)") { call in
          let found = c.forward(y, x, call.name) { call($0) }
          let statistics = found.statistics.map(\.array)
          for (given, wanted) in zip(statistics, wide) {
            #expect(isClose(given, wanted.map(Double.init), 1e-5), "\(call.name)")
          }
          let mean = op == CK_NORM_RMS_FORWARD ? statistics[0].map { _ in 0 } : statistics[0]
          // What rounding the mean leaves out is no result: it is in y alone.
          let single = c.forward(CK_F32, x, call.name) { call($0) }.y.map(TypedRows.float)
          #expect(
            isClose(single, c.rows(mean, statistics[1]).map(Double.init), 1e-5), "\(call.name)")
          #expect(found.y == TypedRows.bits(of: single, y), "\(call.name)")
          return Self.bytes(found.y + statistics.flatMap { TypedRows.bits(of: $0, CK_F32) })
        }
      }
    }
  }

  private static func bytes(_ bits: [UInt32]) -> [UInt8] { bits.withUnsafeBytes { Array($0) } }

  /// dx, dγ and dβ of the kernel for rows of those types.
  private func backward(
    _ dx: ck_dtype, _ dy: ck_dtype, _ x: ck_dtype, isOwn: Bool, _ statistics: [Guarded<Float>],
    _ name: String, _ run: (ck_norm_backward_args) -> Void
  ) -> (dx: [UInt32], parameters: [Float]) {
    let gamma = Guarded(self.gamma)
    let (source, flow) = (TypedRows(self.x, x), TypedRows(self.dy, dy))
    let target = TypedRows([Float](repeating: 9, count: self.x.count), dx)
    let sums = (0..<2).map { _ in Guarded(Float(9), count: cols) }
    var args = ck_norm_backward_args()
    args.dx = target.pointer
    args.dgamma = sums[0].pointer
    args.dbeta = sums[1].pointer
    args.dy = UnsafeRawPointer(flow.pointer)
    args.x = UnsafeRawPointer(source.pointer)
    args.mean = isOwn ? nil : UnsafePointer(statistics[0].pointer)
    args.rstd = isOwn ? nil : UnsafePointer(statistics[1].pointer)
    args.gamma = UnsafePointer(gamma.pointer)
    args.rows = Int64(Self.rows)
    args.cols = Int64(cols)
    args.x_stride = Int64(cols)
    args.dy_stride = Int64(cols)
    args.epsilon = 1e-5
    (args.dx_dtype, args.dy_dtype, args.x_dtype) = (target.code, flow.code, source.code)
    let workspace = Guarded(Float(0), count: ck_norm_workspace_bytes(&args) / 4)
    args.workspace = UnsafeMutableRawPointer(workspace.pointer)
    run(args)
    #expect(
      target.isIntact && source.isIntact && flow.isIntact && workspace.isIntact
        && sums.allSatisfy(\.isIntact), "\(name)")
    return (target.bits, sums.flatMap(\.array))
  }

  @Test(arguments: [1, 7, 16, 17, 40, 65, 768])
  func backward_roundsWhatItGivesInF32(cols: Int) {
    let c = NormTypesTests(cols: cols)
    for (op, forward) in [
      (CK_NORM_LAYER_BACKWARD, CK_NORM_LAYER_FORWARD), (CK_NORM_RMS_BACKWARD, CK_NORM_RMS_FORWARD),
    ] {
      for x in Self.types {
        let known = c.forward(CK_F32, x, "statistics") {
          TestTeams.shared.run(ck_norm(forward, CK_ISA_REF), $0, team: 0)
        }.statistics
        // In f32, bit for bit.
        let wide = c.backward(CK_F32, CK_F32, CK_F32, isOwn: false, known, "f32") {
          TestTeams.shared.run(ck_norm(op, CK_ISA_REF), $0, team: 0)
        }
        let sums = TypedRows.bits(of: wide.parameters, CK_F32)
        for (dx, dy) in Self.types.flatMap({ dx in Self.types.map { (dx, $0) } }) {
          let wanted = TypedRows.bits(of: TypedRows.values(wide.dx), dx)
          everyWay(table, op, "\(dy) and \(x) to \(dx) at \(cols)") { call in
            for isOwn in [false, true] {
              let found = c.backward(dx, dy, x, isOwn: isOwn, known, call.name) { call($0) }
              #expect(found.dx == wanted, "\(call.name)")
              #expect(TypedRows.bits(of: found.parameters, CK_F32) == sums, "\(call.name)")
            }
            return []
          }
        }
      }
    }
  }
}
