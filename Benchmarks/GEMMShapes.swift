// Which products are measured: shapes as a user writes them, and named lists of them.

import Apus

/// `C[M,N] = A[M,K] B[K,N]`, written `MxNxK`; `BxMxNxK` for a batch of B such products, each with
/// matrices of its own.
package struct GEMMShape: Sendable, Hashable, CustomStringConvertible {
  package var batch = 1
  package var m, n, k: Int

  package static let expectation = "MxNxK or BxMxNxK, as in 2048x1536x384 or 12x128x128x64"

  /// - Throws: `invalidArgument` unless the text is three or four positive numbers, and the matrices are
  ///   of a size that memory holds.
  package init(_ text: String) throws {
    let parts = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    let numbers = parts.compactMap { $0 }.filter { 1 <= $0 && $0 <= 1 << 20 }
    guard numbers.count == parts.count, 3...4 ~= parts.count else {
      throw ApusError(.invalidArgument, "shape '\(text)'", expected: Self.expectation)
    }
    if numbers.count == 4 { batch = numbers[0] }
    (m, n, k) = (numbers[numbers.count - 3], numbers[numbers.count - 2], numbers[numbers.count - 1])
  }

  package var description: String { (batch == 1 ? "" : "\(batch)x") + "\(m)x\(n)x\(k)" }

  /// Of all matrices of the batch.
  var flops: Double { 2 * Double(batch) * Double(m) * Double(n) * Double(k) }

  /// The elements of A, B and C.
  var elements: Double { Double(batch) * (Double(m * k) + Double(k * n) + Double(m * n)) }

  /// The shape of one operand, with the leading axis that a batch has.
  func operand(_ rows: Int, _ columns: Int) -> Shape {
    batch == 1 ? [rows, columns] : [batch, rows, columns]
  }

  /// Sizes of the training workloads, and cubes.
  package static let usual = try! [
    "2048x2048x2048", "2048x1536x384", "2048x384x1536", "256x1024x784", "256x1024x1024",
    "64x128x784", "32x1024x256", "128x128x128",
  ].map(GEMMShape.init)
}

/// Which operand lies transposed in memory: the first letter is A's, the second B's.
package enum GEMMTranspose: String, Sendable, CaseIterable {
  case nn, nt, tn, tt

  var ofA: Bool { self == .tn || self == .tt }
  var ofB: Bool { self == .nt || self == .tt }
}

/// A named list of products, `apus bench gemm --set`.
package enum GEMMSet: String, Sendable, CaseIterable {
  /// ``GEMMShape/usual``.
  case usual
  /// All shapes that a product may have trouble with: small, odd, tall, wide, a few rows or columns,
  /// long and short sums, those of layers forward and backward, batches as of attention heads.
  case odd

  package var products: [(shape: GEMMShape, transpose: GEMMTranspose)] {
    switch self {
    case .usual: GEMMShape.usual.map { ($0, .nn) }
    case .odd: Self.oddShapes.map { ($0, .nn) } + Self.gradients
    }
  }

  private static let oddShapes = try! [
    "48x48x48", "96x96x96", "100x100x100", "200x200x200", "255x255x255", "384x384x384",
    "512x512x512", "777x777x777", "127x251x509",
    "4096x64x64", "10000x32x50", "64x4096x128", "64x64x8192", "1024x1024x8",
    "2x1024x1024", "4x768x3072", "8x3072x768", "16x4096x1024", "1x4096x1024",
    "1024x2x1024", "4096x4x768", "768x8x3072", "3072x16x768", "1024x1x4096",
    "128x10x3136", "2048x96x384", "2048x8192x384", "8192x384x96",
    "12x128x128x64", "12x128x64x128", "96x64x64x64", "256x16x16x16", "48x196x196x32",
  ].map(GEMMShape.init)

  /// Of linear layers: by the input with the weight transposed, by the weight with the input transposed;
  /// and the scores of attention heads.
  private static let gradients: [(shape: GEMMShape, transpose: GEMMTranspose)] = {
    let transposed: [(GEMMTranspose, [String])] = [
      (
        .nt,
        [
          "256x784x1024", "64x784x128", "2048x384x1536", "4x768x3072", "16x1024x4096",
          "12x128x128x64",
        ]
      ),
      (.tn, ["784x1024x256", "784x128x64", "384x1536x2048", "12x128x64x128"]),
    ]
    return transposed.flatMap { transpose, shapes in
      shapes.map { (try! GEMMShape($0), transpose) }
    }
  }()
}
