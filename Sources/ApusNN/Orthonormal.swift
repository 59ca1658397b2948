// Random matrices with orthonormal rows or columns.

import ApusGraph

/// Gram-Schmidt's method, twice over for accuracy (Giraud et al. 2005, "Rounding error analysis of the
/// classical Gram-Schmidt orthogonalization process").
enum Orthonormal {
  /// A normal matrix, the first axis its rows and the others its columns, with its rows made orthonormal
  /// (its columns where it is tall), in row-major order.
  static func rows(of normal: NDArray) -> [Double] {
    let shape = normal.shape
    let rows = shape.rank < 2 ? 1 : shape[0]
    let columns = rows == 0 ? 0 : shape.count / rows
    guard rows * columns > 0 else { return [] }
    let draws = normal.doubles
    let isTall = rows > columns
    let (count, length) = isTall ? (columns, rows) : (rows, columns)
    // The vectors one after the other, whichever way they lie in the matrix.
    var vectors = draws
    orthonormalise(&vectors, count: count, length: length)
    guard isTall else { return vectors }
    var result = [Double](repeating: 0, count: rows * columns)
    for column in 0..<columns {
      for row in 0..<rows { result[row * columns + column] = vectors[column * rows + row] }
    }
    return result
  }

  private static func orthonormalise(_ vectors: inout [Double], count: Int, length: Int) {
    vectors.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      for index in 0..<count {
        let vector = base + index * length
        for _ in 0..<2 {
          for before in 0..<index {
            let other = base + before * length
            let overlap = dot(vector, other, length)
            for k in 0..<length { vector[k] -= overlap * other[k] }
          }
        }
        let norm = dot(vector, vector, length).squareRoot()
        for k in 0..<length { vector[k] /= norm }
      }
    }
  }

  /// Eight sums side by side, which the compiler may keep in one register.
  private static func dot(
    _ a: UnsafeMutablePointer<Double>, _ b: UnsafeMutablePointer<Double>, _ length: Int
  ) -> Double {
    var sums = SIMD8<Double>.zero
    var k = 0
    while k + 8 <= length {
      let x = UnsafeRawPointer(a + k).loadUnaligned(as: SIMD8<Double>.self)
      let y = UnsafeRawPointer(b + k).loadUnaligned(as: SIMD8<Double>.self)
      sums += x * y
      k += 8
    }
    var sum = sums.sum()
    while k < length {
      sum += a[k] * b[k]
      k += 1
    }
    return sum
  }
}
