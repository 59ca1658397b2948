// The examples of Docs/DebuggingAWrongModel.md: mistakes, and what is said about them.

import Apus
import Foundation
import Testing

@Suite struct DebuggingAWrongModel {
  struct Net: Module {
    let hidden = Linear(4, 8)
    let output = Linear(8, 3)
    func callAsFunction(_ x: Tensor) -> Tensor { output(relu(hidden(x))) }
  }

  let model = Net()
  let another = Net()
  let x = NDArray((0..<24).map { Float($0 % 7) / 7 }, shape: [6, 4])
  let y = NDArray([0, 1, 2, 0, 1, 2] as [Int32], shape: [6])

  init() throws {
    try model.initialize(seed: 1)
    try another.initialize(seed: 2)
  }

  /// One step with that loss.
  func train(
    checking: Bool = false, file: StaticString = #fileID, line: UInt = #line,
    loss: @escaping LossFunction<Net>
  ) throws -> StepResult {
    let options = CompileOptions(check: checking ? .nan : .off)
    let step = try TrainingStep(
      model, optimizer: SGD(learningRate: 0.1), compile: options, file: file, line: line, loss: loss
    )
    return try step.run(Batch(["x": x, "y": y, "z": NDArray(zeros: .f32(6))]))
  }

  /// What a mistake is told to be.
  func said(_ mistake: () throws -> Void) -> String {
    do {
      try mistake()
      return "nothing"
    } catch { return "\(error)" }
  }

  /// The page's blocks of text, in any order.
  @Test func thePageQuotesWhatIsSaid() throws {
    let said = try inTheModel() + inTheLoss() + inTheData() + noReason() + recorded()
    let page = try String(
      contentsOf: URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appending(path: "../../Docs/DebuggingAWrongModel.md"), encoding: .utf8)
    let quoted = page.matches(of: /(?m)^```text\n([\s\S]*?)\n```$/).map { Self.plain($0.1) }
    for text in said {
      let isQuoted = quoted.contains(Self.plain(text))
      #expect(isQuoted, "not on the page:\n\(Self.lines(text))")
    }
    #expect(quoted.count == said.count)
  }

  /// Lines of this file are `Model.swift:12` on the page.
  static func lines(_ text: some StringProtocol) -> String {
    String(text).replacing(/\w+\/DebuggingAWrongModel\.swift:\d+/, with: "Model.swift:12")
  }

  /// Without the breaks of lines that a page needs.
  static func plain(_ text: some StringProtocol) -> String {
    lines(text).split(whereSeparator: \.isWhitespace).joined(separator: " ")
  }

  func inTheModel() throws -> [String] {
    [
      said {
        let predict = try Predictor(Net()) { $0($1) }
        _ = predict
      },
      try {
        let predict = try Predictor(model) { $0($1) }
        return said {
          _ = try predict(NDArray(zeros: .f32(6, 5)))
        }
      }(),
      said {
        struct Choice: Module {
          enum Kind { case linear(Linear) }
          let kind = Kind.linear(Linear(4, 4))
        }
        try Choice().initialize()
      },
      said {
        struct Deep: Module { let blocks = [Linear](repeating: Linear(4, 4), count: 3) }
        try Deep().initialize()
      },
    ]
  }

  func inTheLoss() throws -> [String] {
    [
      said {
        _ = try train { model, batch in model(batch.x) }
      },
      said {
        _ = try train { model, batch in crossEntropy(model(batch.x), batch.label) }
      },
      said {
        _ = try train { model, batch in mse(model(batch.x).sum(axis: 1, keepDims: true), batch.z) }
      },
      said {
        defer { model.unfreeze() }
        model.freeze()
        _ = try train { model, batch in crossEntropy(model(batch.x), batch.y) }
      },
      said {
        _ = try train { model, batch in crossEntropy(another(batch.x), batch.y) }
      },
      said {
        _ = try train { model, batch in crossEntropy(model(batch.x).stopGradient(), batch.y) }
      },
    ]
  }

  func inTheData() throws -> [String] {
    let step = try TrainingStep(model, optimizer: SGD(learningRate: 0.1)) {
      crossEntropy($0($1.x), $1.y)
    }
    let predict = try Predictor(model) { $0($1) }
    var values = x.floats
    values[9] = .nan
    let spoiled = NDArray(values, shape: [6, 4])
    return [
      said {
        _ = try step.run(Batch(["x": x, "y": NDArray([0, 1, 2, 3, 0, 1] as [Int32], shape: [6])]))
      },
      said {
        _ = try step.run(Batch(["x": spoiled, "y": y]))
      },
      said {
        _ = try predict(x.cast(to: .f64))
      },
    ]
  }

  func noReason() throws -> [String] {
    [
      said {
        _ = try train { model, batch in log(relu(model(batch.x)) * 0).mean() }
      },
      said {
        _ = try train(checking: true) { model, batch in log(relu(model(batch.x)) * 0).mean() }
      },
    ]
  }

  func recorded() throws -> [String] {
    let graph = try Predictor(model) { $0.output($1) }.graph(for: [.f32(2, 8)])
    print(graph)
    model.output.freeze()
    defer { model.unfreeze() }
    return [model.summary, "\(graph)"]
  }

  @Test func aPlanIsText() throws {
    final class Log: @unchecked Sendable { var text = "" }
    let log = Log()
    let print: @Sendable (String) -> Void = { log.text += $0 }
    let options = CompileOptions(dump: { stage, text in
      if stage == "plan" { print(text) }
    })
    let shown = try Predictor(model, compile: options) { $0($1) }
    _ = try shown(x)
    #expect(log.text.contains("arena"))
  }
}
