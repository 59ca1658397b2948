// Words that stand in the source, written as they stand there.

import ApusGraph
import ApusOps

/// A mixture of what a vocabulary and the source itself propose: See, Liu & Manning 2017, "Get To The Point:
/// Summarization with Pointer-Generator Networks".
///
///     a = softmax(Q h · (K memory)ᵀ / √width)          over the source's places
///     g = sigmoid(w · h + b)
///     p(token) = (1 - g) softmax(scores)(token) + g · Σ a(place), over the places where the token stands
///
/// What it gives are logarithms of `p`, which serve as scores.
struct CopyMechanism: Module, Sendable {
  let scope = Scope()
  let width: Int
  private let query: Linear
  private let key: Linear
  private let gate: Linear
  /// Below the least probability that counts, so that a token that nobody proposes has a finite logarithm.
  private static let least = 1e-12

  init(_ width: Int) {
    self.width = width
    query = Linear(width, width)
    key = Linear(width, width)
    gate = Linear(width, 1)
  }

  var parts: [(name: String, value: Any)] {
    [("scope", scope), ("query", query), ("key", key), ("gate", gate)]
  }

  /// `[n, s, width]` of an encoder → the same, of which the places are found.
  func keys(of memory: Tensor) -> Tensor { scoped { key(memory) } }

  /// Logarithms of the mixture, `[rows, t, vocabulary]`.
  ///
  /// - `scores`: of the vocabulary, `[rows, t, vocabulary]`; `hidden`: what they were made from, `[rows, t, width]`.
  /// - `keys`: `[n, s, width]`, each for `rows / n` rows in turn; `source`: integers `[n, s]`; `lengths`: integers `[n]`.
  func callAsFunction(
    _ scores: Tensor, _ hidden: Tensor, keys: Tensor, source: Tensor, lengths: Tensor
  ) -> Tensor {
    scoped {
      for operand in [scores, hidden, keys, source, lengths] where operand.isPoisoned {
        return operand
      }
      let (n, places) = (keys.shape[0], keys.shape[1])
      let queries = hidden.shape[0] / n * hidden.shape[1], vocabulary = scores.shape[2]
      let h = hidden.reshaped([n, queries, width])
      let products = query(h).matmul(keys, transposeOther: true) / Double(width).squareRoot()
      let isThere =
        Tensor.iota([1, 1, places], axis: 2) .< lengths.cast(to: .i32).reshaped([n, 1, 1])
      let copied = softmax(`where`(isThere, products, -1e9), axis: -1)
      let share = sigmoid(gate(h))
      let written = softmax(scores, axis: -1).reshaped([n, queries, vocabulary]) * (1 - share)
      let index = source.cast(to: .i32).reshaped([n, 1, places]).broadcast(to: [n, queries, places])
      let mixture = written.scatterAddAlong(copied * share, at: index, axis: -1)
      return log(mixture + Self.least).reshaped(scores.shape)
    }
  }
}
