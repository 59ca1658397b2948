// How long compiling takes as a model grows: twice the nodes, about twice the time.
//
// The machine may be busy, so only ratios count, of the processor time of this thread, the best of up
// to three, taken in turns. A search through a list for every element of it makes twice the nodes take
// four times as long where it dominates.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusPasses
import Glibc
import TestSupport
import Testing

@testable import ApusRuntime

extension Tag {
  /// Tests that measure.
  @Tag static var compileTime: Self
}

@Suite(.serialized, .tags(.compileTime)) struct CompileTimeTests {
  /// A model of a size, for which compiling must take linear time.
  enum Model: String, CaseIterable {
    case layers, tanhChain, sineChain, constantChain, fanOut, products, softmaxes, states

    /// Of the smallest of the three sizes that are compared.
    var size: Int {
      switch self {
      case .layers: 32
      case .states: 100
      case .products, .softmaxes: 200
      case .tanhChain, .sineChain, .constantChain, .fanOut: 100
      }
    }
  }

  @Test(arguments: Model.allCases)
  func twiceTheNodesTakeAboutTwiceTheTime(model: Model) throws {
    var best = [Double](repeating: .infinity, count: 3)
    // Linear is 2, quadratic 4.
    func isLinear() -> Bool { best[1] <= 3 * best[0] && best[2] <= 3 * best[1] }
    for _ in 0..<3 where !isLinear() || best[0] == .infinity {
      for (place, factor) in [1, 2, 4].enumerated() {
        best[place] = min(best[place], try seconds(model, model.size * factor))
      }
    }
    #expect(isLinear(), "seconds for n, 2n and 4n: \(best)")
  }

  @Test(arguments: [Model.products, .softmaxes])
  func aLimitTakesLinearTimeToo(model: Model) throws {
    // Some tens of choices, whatever the number of calls.
    func limit(_ size: Int) throws -> Int {
      try Plan(optimised(record(model, size)), isa: .ref).memory.arena * 3 / 4
    }
    let limits = try [1, 2, 4].map { try limit(model.size * $0) }
    var best = [Double](repeating: .infinity, count: 3)
    func isLinear() -> Bool { best[1] <= 3 * best[0] && best[2] <= 3 * best[1] }
    for _ in 0..<3 where !isLinear() || best[0] == .infinity {
      for (place, factor) in [1, 2, 4].enumerated() {
        let time = try seconds(model, model.size * factor, memoryLimit: limits[place])
        best[place] = min(best[place], time)
      }
    }
    #expect(isLinear(), "seconds for n, 2n and 4n: \(best)")
  }

  /// Processor time of recording, differentiating, optimising and planning for two threads.
  private func seconds(_ model: Model, _ size: Int, memoryLimit: Int? = nil) throws -> Double {
    let start = threadSeconds()
    let graph = try optimised(record(model, size))
    let plan = try Plan(graph, isa: .ref, threads: 2, memoryLimit: memoryLimit)
    let schedule = Schedule(plan, threads: 2)
    let end = threadSeconds()
    #expect(schedule.entries.count == plan.steps.count && !plan.steps.isEmpty)
    return end - start
  }

  private func threadSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  private func record(_ model: Model, _ n: Int) throws -> Graph {
    switch model {
    case .layers: try layers(n)
    case .states: try states(n)
    case .tanhChain: try chain(n, .f32(64)) { h, _, _ in tanh(h) }
    case .sineChain: try chain(n, .f32(8)) { h, x, _ in sin(h) * 0.99 + x }
    case .constantChain:
      try chain(n, .f32(8)) { h, x, index in sin(h) * (0.5 + Double(index) * 1e-6) + x }
    case .products: try chain(n, .f32(8, 8)) { h, x, _ in h.matmul(x) }
    case .softmaxes: try chain(n, .f32(8, 8)) { h, _, _ in softmax(h) }
    case .fanOut:
      try traced([.f32(64)]) {
        let x = tanh($0[0])
        let sum = (0..<n).reduce(x) { $0 + sin(x * Double($1 + 2)) }
        return gradients(of: sum.sum(), withRespectTo: [$0[0]])
      }
    }
  }

  private func chain(
    _ n: Int, _ type: TensorType, _ step: (_ h: Tensor, _ x: Tensor, _ index: Int) -> Tensor
  ) throws -> Graph {
    try traced([type]) {
      let x = $0[0]
      let h = (0..<n).reduce(x) { step($0, x, $1) }
      return gradients(of: h.sum(), withRespectTo: [x])
    }
  }

  /// Residual layers, trained with momentum.
  private func layers(_ n: Int) throws -> Graph {
    let trace = Trace()
    let x = trace.input("x", .f32(16, 32))
    let rate = trace.input("rate", .f32())
    var parameters: [Tensor] = []
    let h = (0..<n).reduce(x) { h, layer in
      let (weight, bias) = (
        trace.state("\(layer).weight", .f32(32, 32)), trace.state("\(layer).bias", .f32(32))
      )
      parameters += [weight, bias]
      return h + tanh(h.matmul(weight) + bias)
    }
    let loss = (h * h).mean()
    let flows = gradients(of: loss, withRespectTo: parameters)
    for (index, (parameter, flow)) in zip(parameters, flows).enumerated() {
      let slot = trace.state("momentum.\(index)", parameter.type)
      let velocity = slot * 0.9 + flow
      trace.assign(slot, velocity)
      trace.assign(parameter, parameter - velocity * rate)
    }
    trace.output("loss", loss)
    return try trace.finish()
  }

  /// Many inputs, states, assignments and outputs, and little between them.
  private func states(_ n: Int) throws -> Graph {
    let trace = Trace()
    for index in 0..<n {
      let x = trace.input("x\(index)", .f32(16))
      let p = trace.state("p\(index)", .f32(16))
      trace.assign(p, p + tanh(x))
      trace.output("y\(index)", (p * x).sum())
    }
    return try trace.finish()
  }
}
