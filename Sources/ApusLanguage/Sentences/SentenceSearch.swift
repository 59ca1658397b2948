// Which vectors are alike.

import Apus

/// The cosines between the rows of two arrays: `f32[n, width]` and `f32[m, width]` → `f32[n, m]`. A row of zeros has the
/// cosine 0 to all.
///
///     let cosines = try cosineSimilarities(encoder.encode(questions), encoder.encode(answers))
///
/// - Throws: `shapeMismatch` or `dtypeMismatch` for other arrays; `resource` where memory is short.
public func cosineSimilarities(
  _ a: NDArray, _ b: NDArray, file: StaticString = #fileID, line: UInt = #line
) throws -> NDArray {
  let location = sourceLocation(file, line)
  try checkRows(a, b, location)
  guard a.count > 0, b.count > 0 else {
    return try NDArray(checking: .f32(a.shape[0], b.shape[0]))
  }
  let function = try compile(a.type, b.type, mode: .evaluation) { a, b in
    directions(a).matmul(directions(b), transposeOther: true)
  }
  return try function(a, b)
}

/// A row of a corpus, and how near it is.
public struct SimilarRow: Sendable, Hashable {
  /// The number of the row.
  public var row: Int
  /// The cosine to what was searched for.
  public var score: Float

  public init(row: Int, score: Float) {
    self.row = row
    self.score = score
  }
}

/// The rows of a corpus that are nearest to each query by their cosines, the nearest first; of equal ones the first.
///
///     let found = try mostSimilarRows(to: encoder.encode(["how do I cook rice"]), in: corpus, count: 5)[0]
///     for hit in found { print(hit.score, texts[hit.row]) }
///
/// All rows are compared, a few thousand at once, so that memory does not grow with the corpus.
///
/// - `queries`: `f32[n, width]`.
/// - `corpus`: `f32[m, width]`.
/// - `count`: how many; fewer where the corpus has fewer.
/// - Throws: `invalidArgument` for a negative count; `shapeMismatch` or `dtypeMismatch` for other arrays; `nonFinite`
///   where a cosine is none.
public func mostSimilarRows(
  to queries: NDArray, in corpus: NDArray, count: Int, file: StaticString = #fileID,
  line: UInt = #line
) throws -> [[SimilarRow]] {
  let location = sourceLocation(file, line)
  try checkRows(queries, corpus, location)
  guard count >= 0 else {
    throw ApusError(.invalidArgument, "\(count) rows", at: location, expected: "0 or more")
  }
  let (n, m) = (queries.shape[0], corpus.shape[0])
  var best = [[SimilarRow]](repeating: [], count: n)
  guard n > 0, count > 0 else { return best }
  let block = 4096
  var functions: [Int: CompiledFunction] = [:]
  for start in stride(from: 0, to: m, by: block) {
    let part = try corpus.slice(axis: 0, start..<min(start + block, m))
    let rows = part.shape[0]
    let function =
      try functions[rows]
      ?? compile(queries.type, part.type, mode: .evaluation) { a, b in
        directions(a).matmul(directions(b), transposeOther: true)
      }
    functions[rows] = function
    let scores: NDArray = try function(queries, part)
    try scores.withUnsafeBytes { bytes in
      let scores = bytes.bindMemory(to: Float.self)
      for query in 0..<n {
        try keepBest(
          scores[query * rows..<(query + 1) * rows], from: start, count, in: &best[query], location)
      }
    }
  }
  return best
}

/// Puts the scores of rows from `start` on into a list of the best, in order.
private func keepBest(
  _ scores: Swift.Slice<UnsafeBufferPointer<Float>>, from start: Int, _ count: Int,
  in best: inout [SimilarRow], _ location: String
) throws {
  for (offset, score) in scores.enumerated() {
    guard !score.isNaN else {
      throw ApusError(
        .nonFinite, "the cosine to row \(start + offset) is not a number", at: location,
        expected: "finite vectors")
    }
    // Later rows of the same score come behind.
    if best.count == count, score <= best[count - 1].score { continue }
    var low = 0, high = best.count
    while low < high {
      let middle = (low + high) / 2
      if best[middle].score >= score { low = middle + 1 } else { high = middle }
    }
    best.insert(SimilarRow(row: start + offset, score: score), at: low)
    if best.count > count { best.removeLast() }
  }
}

/// Rows of length 1; zeros stay.
private func directions(_ x: Tensor) -> Tensor {
  x / sqrt(maximum((x * x).sum(axis: -1, keepDims: true), 1e-24))
}

private func checkRows(_ a: NDArray, _ b: NDArray, _ location: String) throws {
  for array in [a, b] {
    guard array.shape.rank == 2, array.shape[1] == a.shape[1] else {
      throw ApusError(
        .shapeMismatch, "vectors of \(a.type) and \(b.type)", at: location,
        expected: "two arrays of rows of one width")
    }
    guard array.dtype == .f32 else {
      throw ApusError(
        .dtypeMismatch, "vectors of \(a.type) and \(b.type)", at: location,
        expected: "f32: array.cast(to: .f32)")
    }
  }
}
