// Attention forwards and backwards, as a compiled graph runs it; Benchmarks/peers has the same names.

import Apus

/// What a query sees and what is dropped.
package enum AttentionVariant: String, Sendable, CaseIterable {
  case full, causal
  /// Floats that are added to the scores, `[time, time]`.
  case mask
  case dropout
  case causalDropout = "causal-dropout"
}

/// `BxTxHxD`: sequences, times, heads, width of a head.
package struct AttentionShape: Sendable, CustomStringConvertible {
  package let batch, time, heads, width: Int

  package static let expectation = "BxTxHxD, as in 8x128x12x64, at most 2^28 elements"

  /// - Throws: `invalidArgument` for anything else.
  package init(_ text: String) throws {
    let numbers = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    let extents = numbers.compactMap { $0 }
    guard numbers.count == 4, extents.count == 4, extents.allSatisfy({ $0 >= 1 }),
      Shape(extents).count <= 1 << 28
    else {
      throw ApusError(.invalidArgument, "shape '\(text)'", expected: Self.expectation)
    }
    (batch, time, heads, width) = (extents[0], extents[1], extents[2], extents[3])
  }

  init(_ batch: Int, _ time: Int, _ heads: Int, _ width: Int) {
    (self.batch, self.time, self.heads, self.width) = (batch, time, heads, width)
  }

  package var description: String { "\(batch)x\(time)x\(heads)x\(width)" }

  /// From sentences to long texts, about the same number of scores in each but the first.
  package static let usual = [
    AttentionShape(8, 128, 12, 64), AttentionShape(4, 256, 12, 64),
    AttentionShape(1, 1024, 12, 64), AttentionShape(1, 4096, 2, 64),
  ]
}

extension BenchmarkCase {
  /// Attention and the gradients of its query, key and value, which lie as `[batch, time, heads, width]`.
  ///
  /// Operations are those of seven products, two forwards and five backwards, over the pairs of a query and a
  /// key that it sees.
  ///
  /// - `precision`: in `mixed` all arrays are bf16.
  package static func attention(
    _ shape: AttentionShape, _ variant: AttentionVariant, precision: Precision = .highest
  ) -> BenchmarkCase {
    let type = precision == .mixed ? DType.bf16 : .f32
    let rows: Shape = [shape.batch, shape.time, shape.heads, shape.width]
    let isCausal = variant == .causal || variant == .causalDropout
    let drops = variant == .dropout || variant == .causalDropout
    let time = Double(shape.time)
    let pairs = isCausal ? time * (time + 1) / 2 : time * time
    let mask = variant == .mask ? [Operand([shape.time, shape.time])] : []
    return BenchmarkCase(
      bench: "attention", name: "\(variant.rawValue) \(shape)",
      flops: 14 * Double(shape.batch * shape.heads * shape.width) * pairs,
      bytes: Double(type.byteCount) * 8 * Double(rows.count)
        + (mask.isEmpty ? 0 : 4 * time * time),
      settings: [],
      peerCase: .object([
        ("family", "attention"), ("operation", .string(variant.rawValue)),
        ("shape", .array(rows.dimensions.map(JSON.integer))),
      ])
    ) { options in
      let operands = [Operand](repeating: Operand(rows, dtype: type), count: 4) + mask
      return try GraphSide(operands, options) { x in
        let y = scaledDotProductAttention(
          x[0], x[1], x[2], mask: x.count > 4 ? x[4] : nil, isCausal: isCausal,
          dropout: drops ? 0.1 : 0)
        return [y] + gradients(of: y, withRespectTo: Array(x.prefix(3)), seed: x[3])
      }
    }
  }
}
