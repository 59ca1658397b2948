// A language model that goes on from the keys and values that it keeps.

import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime

/// Compiled steps of a model for a number of rows, and the caches they share.
final class CachedRun<Model: CausalLanguageModel> {
  let rows: Int
  private let advance: Predictor<CachedModel<Model>>
  /// As ``advance`` without scores, whose large product nobody reads at a row's beginning.
  private let fill: Predictor<CachedModel<Model>>
  private let reorder: Predictor<CachedModel<Model>>

  /// - `length`: the most tokens of a row.
  /// - Throws: what the model's parameters say.
  init(_ model: Model, rows: Int, length: Int, compile: CompileOptions) throws {
    self.rows = rows
    let cached = CachedModel(model: model, caches: model.makeCaches(batch: rows, length: length))
    try cached.initialize()
    advance = try Predictor(cached, compile: compile) { cached, arguments in
      let logits = cached.model.logits(arguments[0], caches: cached.caches, at: arguments[1])
      return [logits[-1, axis: 1].cast(to: .f32)]
    }
    fill = try Predictor(cached, compile: compile) { cached, arguments in
      _ = cached.model.logits(arguments[0], caches: cached.caches, at: arguments[1])
      return [arguments[1]]
    }
    reorder = try Predictor(cached, compile: compile) { cached, arguments in
      for cache in cached.caches { cache.reorder(by: arguments[0]) }
      return arguments
    }
  }

  /// The scores after the last of some tokens of each row, which stand from `position` on: `[rows, vocabulary]`.
  func logits(_ tokens: [Int32], at position: Int) throws -> NDArray {
    try advance.run(arguments(tokens, position))[0]
  }

  private func arguments(_ tokens: [Int32], _ position: Int) -> [NDArray] {
    [
      NDArray(tokens, shape: [rows, tokens.count / rows]),
      NDArray([Int32(position)], shape: []),
    ]
  }

  /// Reads what all rows begin with, in blocks. Returns how many tokens were read: some fewer than `count`.
  ///
  /// Rows are padded to no length; what does not fill a small block is left to single steps, so that there are three
  /// compiled steps however many lengths there are.
  func read(_ rows: [[Int]], _ count: Int) throws -> Int {
    var position = 0
    for block in [128, 16] {
      while position + block <= count {
        let tokens = rows.flatMap { $0[position..<position + block].map(Int32.init) }
        _ = try fill.run(arguments(tokens, position))
        position += block
      }
    }
    return position
  }

  /// Makes each row go on from the one that `parents` names for it.
  func reorder(by parents: [Int]) throws {
    _ = try reorder.run([NDArray(parents.map(Int32.init), shape: [rows])])
  }
}

/// A model beside the caches of its attentions. The model's parts stand as in the model, so that their names stay.
struct CachedModel<Model: CausalLanguageModel>: Module {
  let model: Model
  let caches: [KeyValueCache]

  var parts: [(name: String, value: Any)] { model.parts + [("key_value_caches", caches)] }
}
