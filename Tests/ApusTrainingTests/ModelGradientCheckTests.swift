// A model's gradients against differences: right ones pass, a wrong one is named.

import Apus
import Testing

private struct Reader: Module {
  let words = Embedding(9, 4)
  let lstm = LSTM(4, 6, layers: 2, isBidirectional: true, dropout: 0.3)
  let gru = GRU(12, 5)
  let norm = BatchNorm(5)
  let head = Linear(5, 3)

  func callAsFunction(_ ids: Tensor, _ lengths: Tensor) -> Tensor {
    head(norm(gru(lstm(words(ids), lengths: lengths).outputs, lengths: lengths).state[0, axis: 0]))
  }
}

private struct Picture: Module {
  let first = Conv2d(2, 4, 3, stride: 2, padding: 1)
  let second = Conv2d(4, 4, 3, groups: 4)
  let head = Linear(4, 2)

  func callAsFunction(_ x: Tensor) -> Tensor {
    head(tanh(second(softplus(first(x)))).mean(axes: [1, 2]))
  }
}

/// `scale x²`, whose gradient by the scale is wrong by a factor.
private struct Wrong: Module {
  let head = Linear(3, 2)
  let scale = Parameter([2], .ones)
  var factor = 1.0

  func callAsFunction(_ x: Tensor) -> Tensor {
    let y = head(x)
    return withGradient([y, scale.tensor]) {
      square($0[0]) * $0[1]
    } gradient: {
      [
        $0.gradient * $0.operands[0] * $0.operands[1] * 2,
        ($0.gradient * square($0.operands[0])).sum(axes: [0]) * factor,
      ]
    }
  }
}

@Suite struct ModelGradientCheckTests {
  private func array(_ shape: Shape) -> NDArray {
    NDArray((0..<shape.count).map { Float($0 * 7 % 23) / 11 - 1 }, shape: shape)
  }

  private let sentences = Batch([
    "ids": NDArray((0..<24).map { Int32($0 * 5 % 9) }, shape: [4, 6]),
    "lengths": NDArray([6, 2, 5, 3] as [Int32], shape: [4]),
    "labels": NDArray([0, 2, 1, 0] as [Int32], shape: [4]),
  ])

  @Test func rightGradientsPass_andNothingIsChanged() throws {
    let model = Reader()
    try model.initialize(seed: 1)
    let before = try model.norm.runningMean?.value()
    let check = try checkGradients(of: model, on: sentences, seed: 2) {
      crossEntropy($0($1.ids, $1.lengths), $1.labels)
    }
    #expect(check.parameters.map(\.path) == model.parameters.map(\.path))
    #expect(check.parameters.allSatisfy { abs($0.analytic) > 0 })
    #expect(check.worst!.error < 1e-6)
    #expect(check.description.hasPrefix(check.worst!.path))
    #expect(try model.norm.runningMean?.value() == before && before != nil)
  }

  @Test func convolutionsPass_andWhatIsFrozenIsLeftOut() throws {
    let model = Picture()
    try model.initialize(seed: 3)
    model.first.freeze()
    let check = try checkGradients(of: model, on: Batch(["x": array([2, 7, 6, 2])])) {
      square($0($1.x)).mean()
    }
    #expect(
      check.parameters.map(\.path).sorted() == [
        "head.bias", "head.weight", "second.bias", "second.weight",
      ])
  }

  @Test(arguments: [1.0, 1.001]) func aWrongGradientIsNamed(factor: Double) throws {
    let model = Wrong(factor: factor)
    try model.initialize(seed: 4)
    let batch = Batch(["x": array([5, 3])])
    func check() throws -> ModelGradientCheck {
      try checkGradients(of: model, on: batch) { $0($1.x).sum() }
    }
    guard factor != 1 else {
      #expect(try check().parameters.count == 3)
      return
    }
    let error = try #require(throws: ApusError.self) { try check() }
    #expect(error.kind == .invalidGraph && "\(error)".contains("the gradient by 'scale' is"))
    #expect("\(error)".contains("1 of 3 parameters are off"))
    #expect("\(error)".contains("ModelGradientCheckTests.swift"))
    // A wider tolerance lets it pass, and tells by how much it is off.
    let wide = try checkGradients(of: model, on: batch, tolerance: 0.1) { $0($1.x).sum() }
    #expect(wide.worst?.path == "scale" && wide.worst!.error > 1e-5)
  }

  @Test func mistakesAreNamed() throws {
    let batch = Batch(["x": array([5, 3])])
    func kind(_ body: () throws -> Void) -> ApusError.Kind? {
      #expect(throws: ApusError.self, performing: body)?.kind
    }
    let model = Wrong()
    #expect(kind { try checkGradients(of: model, on: batch) { $0($1.x).sum() } } == .missing)
    try model.initialize(seed: 4)
    #expect(kind { try checkGradients(of: model, on: batch) { $0($1.x) } } == .shapeMismatch)
    #expect(kind { try checkGradients(of: model, on: batch) { $0($1.y).sum() } } == .missing)
    #expect(kind { try checkGradients(of: model, on: batch) { $1.x.sum() } } == .invalidArgument)
    #expect(
      kind { try checkGradients(of: model, on: batch, step: 0) { $0($1.x).sum() } }
        == .invalidArgument)
    #expect(
      kind { try checkGradients(of: model, on: Batch(["x": array([0, 3])])) { $0($1.x).sum() } }
        == .shapeMismatch)
  }
}
