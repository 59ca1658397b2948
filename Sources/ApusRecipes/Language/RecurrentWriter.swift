// What a recurrent network writes, token by token.

import Apus

/// A network that tells the next token from one and a state.
protocol RecurrentWriter: Module {
  /// The scores behind one token a row, `f32[batch, tokens]`, and the state there.
  func scores(_ tokens: Tensor, _ state: LSTM.State) -> (Tensor, LSTM.State)
}

extension RecurrentWriter {
  /// Tokens that follow one, drawn by their scores.
  ///
  /// - `state`: `[layers, 1, units]`, of the state's two arrays.
  /// - `end`: a token that ends the text, and is no part of it.
  /// - `isAllowed`: which tokens may be drawn.
  func written(
    after start: Int, atMost count: Int, temperature: Double, state shape: Shape, end: Int? = nil,
    run: RecipeRun, _ isAllowed: (Int) -> Bool = { _ in true }
  ) throws -> [Int] {
    let step = try Predictor(self, compile: run.compile) { model, arguments in
      let (scores, state) = model.scores(
        arguments[0], LSTM.State(hidden: arguments[1], cell: arguments[2]))
      return [scores, state.hidden, state.cell]
    }
    let empty = try NDArray(checking: TensorType(.f32, shape))
    var state = [empty, empty]
    var random = RecipeRandom(seed: run.options.seed)
    var tokens: [Int] = []
    while tokens.count < count {
      let found = try step.run([NDArray([Int32(tokens.last ?? start)], shape: [1, 1])] + state)
      state = [found[1], found[2]]
      let next = random.draw(
        found[0].floats.map(Double.init), temperature: temperature, isAllowed)
      if next == end { break }
      tokens.append(next)
    }
    return tokens
  }
}
