// What the tests of numbers at the edges share: running every way, and comparing.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusRuntime
import Testing

typealias EdgeRun = (name: String, results: [NDArray])

/// The results of `body` in the interpreter and compiled, every way.
func everyWay(_ inputs: [NDArray], _ body: ([Tensor]) throws -> [Tensor]) throws -> [EdgeRun] {
  let types = inputs.map(\.type)
  let graph = try traced(types, body)
  var runs: [EdgeRun] = [("interpreted", try graph.interpret(inputs: inputs).outputs)]
  for isa in Environment.availableISAs {
    var options = CompileOptions()
    options.isa = isa
    options.threads = 2
    let function = try compile(types, options: options, body)
    runs.append((isa.name, try function.executable.run(inputs)))
  }
  return runs
}

func everyWay(_ x: NDArray, _ body: (Tensor) throws -> Tensor) throws -> [EdgeRun] {
  try everyWay([x]) { [try body($0[0])] }
}

/// Whether every run gives these numbers, relative to their size; NaN where NaN is expected.
func expect(
  _ runs: [EdgeRun], _ expected: [Double], within tolerance: Double = 3e-6,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  for run in runs {
    let values = run.results[0].doubles
    let isRight =
      values.count == expected.count
      && zip(values, expected).allSatisfy { value, wanted in
        wanted.isNaN
          ? value.isNaN : value == wanted || abs(value - wanted) <= tolerance * abs(wanted)
      }
    #expect(
      isRight, "\(run.name): \(values.prefix(12)), not \(expected.prefix(12))",
      sourceLocation: sourceLocation)
  }
}

func gradient(_ x: Tensor, _ body: (Tensor) throws -> Tensor) rethrows -> Tensor {
  gradients(of: try body(x).sum(), withRespectTo: [x])[0]
}

func row(_ values: [Float]) -> NDArray { NDArray(values, shape: [1, values.count]) }
func vector(_ values: [Float]) -> NDArray { NDArray(values, shape: [values.count]) }
let infinity = Float.infinity
