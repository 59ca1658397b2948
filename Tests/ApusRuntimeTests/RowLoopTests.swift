// Loops that read reductions of their rows again: one step, the interpreter's values, the same bits.

import ApusGraph
import ApusOps
import ApusRuntime
import TestSupport
import Testing

@Suite struct RowLoopTests {
  enum Chain: String, CaseIterable {
    case softmax, normalise, rms, logsumexp

    func apply(_ x: Tensor) -> Tensor {
      switch self {
      case .softmax:
        let e = exp(x - x.max(axes: [-1], keepDims: true))
        return e / e.sum(axes: [-1], keepDims: true)
      case .normalise:
        let shifted = x - x.mean(axes: [-1], keepDims: true)
        return shifted * rsqrt(square(shifted).mean(axes: [-1], keepDims: true) + 1e-5)
      case .rms: return x * rsqrt(square(x).mean(axes: [-1], keepDims: true) + 1e-6)
      case .logsumexp: return x - x.logsumexp(axes: [-1], keepDims: true)
      }
    }
  }

  /// Rows within a tile, of one tile, of two, and of the longest kind.
  static let lengths = [1, 5, 200, 257, 512, 513, 1000, 1024]

  @Test(arguments: Chain.allCases, lengths)
  func aChainIsOneStepWithTheInterpretersValues(chain: Chain, length: Int) throws {
    let shape = Shape([2, 17, length])
    let graph = try traced([TensorType(.f32, shape)]) { [chain.apply($0[0])] }
    let inputs = OpSpec(Exp(), .uniform(-3...3), on: []).operands([TensorType(.f32, shape)])
    let want = try graph.interpret(inputs: inputs).outputs[0]
    var first: NDArray?
    for isa in KernelRunner.levels {
      for threads in [1, 2, 7] {
        let executable = try Executable(graph, options: CompileOptions(isa: isa, threads: threads))
        // A row of one element has nothing to fold.
        if length > 1 { #expect(executable.plan.steps.map(\.mnemonic) == ["loop"]) }
        let got = try executable.run(inputs)[0]
        let problem = OpSpec.difference(got, want, relative: 1e-5, absolute: 2e-6)
        #expect(problem == nil, "\(isa.name), \(threads) threads: \(problem ?? "")")
        #expect(first == nil || first == got, "other bits: \(isa.name), \(threads) threads")
        first = first ?? got
      }
    }
  }

  @Test func longerRowsAndColumnsAreReadOnceAnOp() throws {
    for (shape, axis) in [([2, 1025], 1), ([40, 30], 0)] {
      let graph = try traced([TensorType(.f32, Shape(shape))]) { x in
        [x[0] - x[0].max(axes: [axis], keepDims: true)]
      }
      let inputs = OpSpec(Exp(), on: []).operands([TensorType(.f32, Shape(shape))])
      let executable = try Executable(graph)
      #expect(executable.plan.steps.count == 2)
      #expect(try executable.run(inputs) == graph.interpret(inputs: inputs, widened: false).outputs)
    }
  }
}
