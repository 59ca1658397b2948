// An op as users run it: through passes, plan and executor, together with its gradient.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusRuntime

extension OpSpec {
  /// What is wrong with compiled graphs of the op and of its gradient, against the interpreter in
  /// double: for the spec's cases at the best level and for its examples; empty where all is well.
  package func problemsOfCompiledGraph() -> [String] {
    guard isCompiled else { return [] }
    var problems: [String] = []
    for types in cases where !types.contains(where: { $0.dtype == .f64 }) {
      do {
        let graph = try traced(types) { operands in
          let count = try op.resultTypes(types).count
          let results = Tensor.applyAll(op, to: operands, resultCount: count)
          let floats = operands.filter(\.dtype.isFloat)
          guard smoothness >= .once, !floats.isEmpty else { return results }
          return results + gradients(of: try objective(operands), withRespectTo: floats)
        }
        let inputs = operands(types)
        let wanted = try graph.interpret(inputs: inputs).outputs
        let found = try Executable(graph, options: CompileOptions(threads: 2)).run(inputs)
        let resultCount = try op.resultTypes(types).count
        for (index, (got, want)) in zip(found, wanted).enumerated() {
          // A gradient is a chain of roundings, with differences of nearly equal numbers.
          let slack = index < resultCount ? 1.0 : 16
          if let problem = Self.difference(
            got, want, relative: slack * relativeTolerance,
            absolute: slack * (absoluteTolerance + relativeTolerance))
          {
            let what = index < resultCount ? "result \(index)" : "gradient \(index - resultCount)"
            problems.append("\(types): \(what): \(problem)")
          }
        }
      } catch {
        problems.append("\(types): \(error)")
      }
    }
    for example in examples {
      do {
        let executable = try Executable(graph(example.operands.map(\.type)))
        for (got, want) in zip(try executable.run(example.operands), example.results) {
          if let problem = Self.difference(
            got, want, relative: max(relativeTolerance, 1e-6), absolute: absoluteTolerance,
            isRounded: true)
          {
            problems.append("on \(example.operands): \(problem)")
          }
        }
      } catch {
        problems.append("on \(example.operands): \(error)")
      }
    }
    return problems
  }
}
