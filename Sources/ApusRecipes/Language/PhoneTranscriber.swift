// The network of italian-sounds: an encoder of letters, a decoder of phones that looks at it, and its greedy use.

import Apus

/// Letters to phones by two recurrent networks and an attention between them: Bahdanau et al. 2015, in the form of Luong et
/// al. 2015, "Effective Approaches to Attention-based Neural Machine Translation" (global, without input feeding).
///
///     memory = LSTM of letters, from both ends
///     h_t    = LSTM of phones up to t - 1, which begins with what the memory ends in
///     y_t    = W tanh(U [h_t, attention(h_t, memory)])
///
/// Token 0 of the phones is the boundary: it stands before the first phone and behind the last.
struct PhoneTranscriber: Module {
  static let boundary = 0
  let letters: Embedding
  let encoder: LSTM
  let bridge: Linear
  let phones: Embedding
  let decoder: LSTM
  let query: Linear
  let keys: Linear
  let values: Linear
  let combine: Linear
  let output: Linear
  let drop = Dropout(0.1)
  let units: Int

  var parts: [(name: String, value: Any)] {
    [
      ("letters", letters), ("encoder", encoder), ("bridge", bridge), ("phones", phones),
      ("decoder", decoder), ("query", query), ("keys", keys), ("values", values),
      ("combine", combine), ("output", output), ("drop", drop),
    ]
  }

  init(letters: Int, phones: Int, width: Int, units: Int) {
    self.units = units
    self.letters = Embedding(letters, width)
    encoder = LSTM(width, units, isBidirectional: true, forgetBias: 1)
    bridge = Linear(4 * units, 2 * units)
    self.phones = Embedding(phones, width)
    decoder = LSTM(width, units, forgetBias: 1)
    query = Linear(units, units)
    keys = Linear(2 * units, units)
    values = Linear(2 * units, units)
    combine = Linear(2 * units, units)
    output = Linear(units, phones)
  }

  /// What the decoder is told of a word.
  struct Memory {
    /// `[n, letters, 1, units]` each.
    var keys: Tensor
    var values: Tensor
    /// `[1, n, units]` each: what the decoder begins with.
    var hidden: Tensor
    var cell: Tensor
  }

  /// - `lengths`: `i32[n]`.
  func encoded(_ tokens: Tensor, lengths: Tensor) -> Memory {
    let (outputs, state) = encoder(drop(letters(tokens)), lengths: lengths)
    let last = concat(
      [
        state.hidden[0, axis: 0], state.hidden[1, axis: 0], state.cell[0, axis: 0],
        state.cell[1, axis: 0],
      ], axis: 1)
    let first = bridge(last).chunked(into: 2, axis: -1)
    let memory = drop(outputs)
    func headed(_ x: Tensor) -> Tensor { x.reshaped([x.shape[0], x.shape[1], 1, units]) }
    return Memory(
      keys: headed(keys(memory)), values: headed(values(memory)),
      hidden: tanh(first[0]).reshaped([1, last.shape[0], units]),
      cell: first[1].reshaped([1, last.shape[0], units]))
  }

  /// Logits of the phones behind those that are given, `[n, t, phones]`, and the decoder's state there.
  ///
  /// - `tokens`: `i32[n, t]`, the boundary first.
  /// - `memoryLengths`: `i32[n]`, of letters.
  /// - `lengths`: `i32[n]`, of phones; all of them where it is nil.
  func decoded(
    _ tokens: Tensor, _ memory: Memory, memoryLengths: Tensor, lengths: Tensor? = nil
  ) -> (logits: Tensor, state: LSTM.State) {
    let (outputs, state) = decoder(
      drop(phones(tokens)), initial: LSTM.State(hidden: memory.hidden, cell: memory.cell),
      lengths: lengths)
    let shape = outputs.shape
    let context = scaledDotProductAttention(
      query(outputs).reshaped([shape[0], shape[1], 1, units]), memory.keys, memory.values,
      lengths: memoryLengths
    ).reshaped(shape)
    return (output(drop(tanh(combine(concat([outputs, context], axis: -1))))), state)
  }

  /// Logits where the phones before each are the right ones (teacher forcing): `[n, t, phones]`.
  ///
  /// - `target`: `i32[n, t]`, the phones and the boundary behind them; padding is below 0.
  func callAsFunction(
    _ tokens: Tensor, lengths: Tensor, target: Tensor, targetLengths: Tensor
  ) -> Tensor {
    let before = concat(
      [
        Tensor.zeros([target.shape[0], 1], .i32),
        target.sliced(axis: 1, to: target.shape[1] - 1),
      ], axis: 1)
    return decoded(
      maximum(before, Double(Self.boundary)), encoded(tokens, lengths: lengths),
      memoryLengths: lengths, lengths: targetLengths
    ).logits
  }
}

/// Words said one phone at a time. The state of a word is in arrays whose rows are words: whoever searches for the best of
/// several beginnings takes the rows that go on.
final class PhoneDecoder {
  /// What a step reads and what it makes anew.
  struct State {
    /// `keys`, `values`, `lengths`: the same in every step.
    var memory: [NDArray]
    /// `hidden` and `cell`: `[1, n, units]`.
    var recurrent: [NDArray]
  }

  private let encode: Predictor<PhoneTranscriber>
  private let advance: Predictor<PhoneTranscriber>

  init(_ model: PhoneTranscriber, compile: CompileOptions) throws {
    encode = try Predictor(model, compile: compile) { model, arguments in
      let memory = model.encoded(arguments[0], lengths: arguments[1])
      return [memory.keys, memory.values, memory.hidden, memory.cell]
    }
    advance = try Predictor(model, compile: compile) { model, arguments in
      let memory = PhoneTranscriber.Memory(
        keys: arguments[1], values: arguments[2], hidden: arguments[4], cell: arguments[5])
      let (logits, state) = model.decoded(arguments[0], memory, memoryLengths: arguments[3])
      return [logits[-1, axis: 1].cast(to: .f32), state.hidden, state.cell]
    }
  }

  /// The state before the first phone.
  ///
  /// - `letters`: `i32[n, t]`; `lengths`: `i32[n]`.
  func begin(_ letters: NDArray, lengths: NDArray) throws -> State {
    let found = try encode.run([letters, lengths])
    return State(memory: [found[0], found[1], lengths], recurrent: [found[2], found[3]])
  }

  /// - `length`: what words are padded to.
  private func begin(_ words: [[Int]], padding length: Int) throws -> State {
    let padded = words.flatMap {
      $0.map { Int32($0) } + [Int32](repeating: 0, count: length - $0.count)
    }
    return try begin(
      try NDArray(checking: padded, shape: [words.count, length]),
      lengths: try NDArray(checking: words.map { Int32($0.count) }, shape: [words.count]))
  }

  /// Logits of the next phone, `f32[n, phones]`; the state goes on by one.
  func step(_ tokens: [Int], _ state: inout State) throws -> NDArray {
    let token = NDArray(tokens.map { Int32($0) }, shape: [tokens.count, 1])
    let found = try advance.run([token] + state.memory + state.recurrent)
    state.recurrent = [found[1], found[2]]
    return found[0]
  }

  /// The likeliest phone at each step, until the boundary or `most` phones.
  ///
  /// - `padding`: what words are padded to, so that few shapes are compiled; as long as the longest at least.
  func transcribe(_ words: [[Int]], padding length: Int, most: Int) throws -> [[Int]] {
    if words.isEmpty { return [] }
    var state = try begin(words, padding: length)
    var found = [[Int]](repeating: [], count: words.count)
    var isDone = [Bool](repeating: false, count: words.count)
    var tokens = [Int](repeating: PhoneTranscriber.boundary, count: words.count)
    for _ in 0..<most {
      let logits = try step(tokens, &state)
      let scores = logits.floats, width = logits.shape[1]
      for word in words.indices where !isDone[word] {
        let row = scores[word * width..<(word + 1) * width]
        tokens[word] = row.indices.max { row[$0] < row[$1] }! - row.startIndex
        isDone[word] = tokens[word] == PhoneTranscriber.boundary
        if !isDone[word] { found[word].append(tokens[word]) }
      }
      if isDone.allSatisfy({ $0 }) { break }
    }
    return found
  }

  /// The phones that are likeliest as a whole, of as many beginnings as are kept at each phone.
  ///
  /// - `padding`, `most`: as of ``transcribe(_:padding:most:)``.
  /// - `beams`: beginnings that are kept, 1 or more.
  func search(_ words: [[Int]], padding length: Int, most: Int, beams: Int) throws -> [[Int]] {
    if words.isEmpty { return [] }
    var state = try begin(
      words.flatMap { [[Int]](repeating: $0, count: beams) }, padding: length)
    let boundary = PhoneTranscriber.boundary
    let found = try BeamSearch(width: beams).hypotheses(
      after: [Int](repeating: boundary, count: words.count), by: most, ends: [boundary]
    ) { step in
      if !step.keepsRows {
        state.recurrent = try state.recurrent.map { try Self.rows(step.parents, of: $0) }
      }
      return try self.step(step.tokens, &state)
    }
    return found.map { $0.first.map { $0.tokens.filter { $0 != boundary } } ?? [] }
  }

  /// Some rows of `[1, n, units]`, in their order.
  private static func rows(_ rows: [Int], of array: NDArray) throws -> NDArray {
    let values = array.floats, units = array.shape[2]
    return try NDArray(
      checking: rows.flatMap { values[$0 * units..<($0 + 1) * units] },
      shape: [1, rows.count, units])
  }
}
