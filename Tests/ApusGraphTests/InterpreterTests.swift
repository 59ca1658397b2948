// The interpreter, and the trace that feeds it.

import ApusAutodiff
import ApusGraph
import ApusOps
import Testing

@Suite struct InterpreterTests {
  @Test func interpreter_computesInDouble_andAssignsAtTheEnd() throws {
    let graph = try GraphTextTests.sample()
    let x = NDArray((0..<12).map { Float($0) / 10 }, shape: [4, 3])
    let w = NDArray([0.5, -0.25, 1], shape: [3])
    let run = try graph.interpret(inputs: [x], states: [w])
    var loss = 0.0
    var gradient = [0.0, 0.0, 0.0]
    for row in 0..<4 {
      for column in 0..<3 {
        let input = Double(x.floats[row * 3 + column])
        let y = _exp(input * w.doubles[column] + Double(Float(0.1)))
        loss += y
        gradient[column] += y * input
      }
    }
    #expect(abs(run.outputs[0].scalar - loss) < 1e-12)
    for column in 0..<3 {
      let expected = w.doubles[column] + gradient[column] * Double(Float(-0.01))
      #expect(abs(run.states[0].doubles[column] - expected) < 1e-12)
    }
  }

  @Test func wrongInputs_areTypedErrors() throws {
    let graph = try traced([.f32(2)]) { [exp($0[0])] }
    #expect(throws: ApusError.self) { try graph.interpret(inputs: []) }
    #expect(throws: ApusError.self) {
      try graph.interpret(inputs: [NDArray([1, 2, 3], shape: [3])])
    }
    #expect(throws: ApusError.self) {
      try graph.interpret(inputs: [NDArray([1, 2] as [Int32], shape: [2])])
    }
  }

  @Test func firstMistake_isThrownWithItsPlace() throws {
    let error = #expect(throws: ApusError.self) {
      try traced([.f32(2), .f32(3)]) { inputs in
        let trace = inputs[0].trace
        let bad = trace.withScope(path: "blocks.1.mlp") { inputs[0] + inputs[1] }
        return [exp(bad).sum(axes: [7])]
      }
    }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.description.contains("blocks.1.mlp") == true)
    #expect(error?.description.contains("[2] and [3]") == true)
  }
}

private func _exp(_ x: Double) -> Double { Exp().evaluate([x]) }
