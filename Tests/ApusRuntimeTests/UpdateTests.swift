// Optimisers' updates, named and in plain ops: in kernels, in products' registers and in loops they give
// the same bits, at every level and on any team.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusPasses
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct UpdateTests {
  /// How a test writes an update.
  enum Form: CaseIterable { case named, plain }

  /// The momentum step with rate `rate` of a weight, assigned.
  private func move(
    _ weight: Tensor, _ gradient: Tensor, _ velocity: Tensor, rate: Tensor, _ form: Form = .named
  ) {
    let new: (parameter: Tensor, velocity: Tensor)
    switch form {
    case .named:
      new = momentumStep(weight, gradient, velocity: velocity, rate: rate, momentum: 0.9)
    case .plain:
      let moved = velocity * 0.9 + gradient
      new = (weight - moved * rate, moved)
    }
    weight.trace.assign(velocity, new.velocity)
    weight.trace.assign(weight, new.parameter)
  }

  /// A layer without bias under squared error: one product forward, and one that is the gradient.
  private func step(batch: Int, features: Int, outputs: Int) throws -> Graph {
    let trace = Trace()
    let x = trace.input("x", .f32(batch, features)), y = trace.input("y", .f32(batch, outputs))
    let rate = trace.input("rate", .f32())
    let weight = trace.state("w", .f32(outputs, features))
    let velocity = trace.state("v", .f32(outputs, features))
    let error = x.matmul(weight, transposeOther: true) - y
    move(weight, error.matmul(x, transposeSelf: true), velocity, rate: rate)
    trace.output("error", (error * error).sum())
    return try trace.finish()
  }

  /// What three runs give: outputs, then the states in the order of their names.
  private func run(
    _ graph: Graph, _ inputs: [NDArray], _ isa: ISA, threads: Int = 1, disabled: Set<String> = []
  ) throws -> (plan: Plan, arrays: [NDArray]) {
    let states = try store(randomStates(graph, seed: "update"))
    let executable = try Executable(
      graph, states: states,
      options: CompileOptions(isa: isa, threads: threads, disabledPasses: disabled))
    var arrays: [NDArray] = []
    for _ in 0..<3 { arrays += try executable.run(inputs) }
    arrays += try graph.states.map(\.name).sorted().map { try states.array($0) }
    return (executable.plan, arrays)
  }

  /// Weights beyond what MultiTensorUpdate takes as small, with whole and with broken tiles, and a batch
  /// whose sums are of two blocks.
  @Test(arguments: [(64, 784, 48), (9, 433, 77), (600, 130, 40)])
  func updatesInRegistersGiveTheBitsOfKernels(batch: Int, features: Int, outputs: Int) throws {
    let graph = try step(batch: batch, features: features, outputs: outputs)
    var generator = SplitMix("update")
    let inputs = [
      randomArray(.f32(batch, features), &generator), randomArray(.f32(batch, outputs), &generator),
      NDArray([Float(0.01)], shape: []),
    ]
    for isa in Environment.availableISAs {
      let plain = try run(graph, inputs, isa, disabled: [FuseUpdate.name])
      #expect(plain.plan.steps.contains { $0.call.name.hasPrefix("ck_momentum") })
      for threads in [1, 2, 7] {
        let fused = try run(graph, inputs, isa, threads: threads)
        #expect(fused.arrays == plain.arrays, "\(isa), \(threads) threads")
        let names = fused.plan.steps.map(\.call.name)
        // AMX's tiles do it as a program of theirs.
        if isa < .amx { #expect(names.contains { $0.hasSuffix(" momentum") } == (batch <= 512)) }
        #expect(fused.plan.memory.arena < plain.plan.memory.arena || batch > 512)
      }
    }
  }

  /// A product whose level has no registers for the step runs it as a program.
  @Test func theProgramOfALevelWithoutSuchRegisters_isTheStepItself() throws {
    let op = MatMulMomentumStep(MatMul(transposeA: true), MomentumStep(momentum: 0.9))
    let types: [TensorType] = [
      .f32(9, 40), .f32(9, 33), .f32(40, 33), .f32(40, 33), .f32(),
    ]
    var generator = SplitMix("program")
    let operands = types.map { randomArray($0, &generator) }
    let registers = try KernelRunner.run(op, operands, isa: .ref)
    let program = Fused(op.product, program: try op.program(types))
    #expect(try KernelRunner.run(program, operands, isa: .ref) == registers)
  }

  /// Several weights of all sizes whose gradients are clipped by norm, by both optimisers.
  private func clipped(_ form: Form, adam: Bool) throws -> Graph {
    let trace = Trace()
    let rate = trace.input("rate", .f32())
    let shapes: [Shape] = [[40, 33], [33], [200, 300], [1], [300]]
    let gradients = shapes.enumerated().map { trace.input("g\($0)", TensorType(.f32, $1)) }
    let total = gradients.map { ($0 * $0).sum() }.reduce(trace.constant(0)) { $0 + $1 }
    let scale = 1 / sqrt(total)
    for (index, shape) in shapes.enumerated() {
      let type = TensorType(.f32, shape)
      let weight = trace.state("w\(index)", type), first = trace.state("m\(index)", type)
      let g = gradients[index] * scale
      guard adam else {
        move(weight, g, first, rate: rate, form)
        continue
      }
      let second = trace.state("v\(index)", type)
      let root = second * second
      let new: (parameter: Tensor, firstMoment: Tensor, secondMoment: Tensor)
      switch form {
      case .named:
        new = adamStep(
          weight, g, firstMoment: first, secondMoment: root, stepSize: rate,
          inverseRootCorrection: rate)
      case .plain:
        let m = first * 0.9 + g * (1 - 0.9)
        let v = root * 0.999 + g * g * (1 - 0.999)
        new = (weight - m * rate / (sqrt(v) * rate + 1e-8), m, v)
      }
      trace.assign(weight, new.parameter)
      trace.assign(first, new.firstMoment)
      trace.assign(second, new.secondMoment)
    }
    return try trace.finish()
  }

  @Test(arguments: [false, true])
  func namedUpdatesGiveTheBitsOfPlainOps(adam: Bool) throws {
    let (named, plain) = (try clipped(.named, adam: adam), try clipped(.plain, adam: adam))
    var generator = SplitMix("clipped")
    let inputs = named.inputs.map { input -> NDArray in
      let type = named.type(of: input.value)
      return type.rank == 0 ? NDArray([Float(0.01)], shape: []) : randomArray(type, &generator)
    }
    var first: [NDArray]?
    for isa in Environment.availableISAs {
      for threads in [1, 2, 7] {
        let kernels = try run(named, inputs, isa, threads: threads)
        let loops = try run(plain, inputs, isa, threads: threads)
        #expect(kernels.arrays == loops.arrays, "\(isa), \(threads) threads")
        #expect(first == nil || kernels.arrays == first, "\(isa), \(threads) threads")
        first = kernels.arrays
        // The small ones are one call, and the large one another, each with its scale.
        let calls = kernels.plan.steps.filter { $0.mnemonic.hasSuffix("_step") }
        #expect(calls.count == 2)
        #expect(
          calls.allSatisfy { $0.call.name.hasPrefix(adam ? "ck_adam" : "ck_momentum") })
      }
    }
  }

  /// A rule that has no name: loops for the large weight, one call for all small ones.
  @Test func aUsersOwnRule_runsInLoops() throws {
    let trace = Trace()
    let rate = trace.input("rate", .f32())
    for (index, shape) in [[7], [3, 5], [200, 300], [64]].enumerated() {
      let type = TensorType(.f32, Shape(shape))
      let weight = trace.state("w\(index)", type), slot = trace.state("s\(index)", type)
      let g = trace.input("g\(index)", type)
      // Lion, Chen et al. 2023.
      let direction = sign(slot * 0.9 + g * 0.1)
      trace.assign(slot, slot * 0.99 + g * 0.01)
      trace.assign(weight, weight - direction * rate)
    }
    let graph = try trace.finish()
    var generator = SplitMix("lion")
    let inputs = graph.inputs.map { randomArray(graph.type(of: $0.value), &generator) }
    let (plan, arrays) = try run(graph, inputs, Environment.availableISAs.last!, threads: 2)
    // One for the slot, one for the weight.
    let mnemonics = plan.steps.map(\.mnemonic).sorted()
    #expect(mnemonics == ["loop", "loop", "multi_loop", "multi_loop"])
    #expect(try run(graph, inputs, .ref).arrays == arrays)
  }

  /// Every update takes its states' places: nothing of a parameter's size is in the arena.
  @Test(arguments: [false, true])
  func updatesAreInPlace(adam: Bool) throws {
    let graph = try clipped(.named, adam: adam)
    let states = try store(randomStates(graph, seed: "place"))
    let executable = try Executable(graph, states: states, options: CompileOptions(threads: 2))
    // Adam's second moments are squared first, for they may not be negative.
    if !adam { #expect(executable.plan.memory.arena < 4096) }
    #expect(executable.plan.memory.arena < 4 * (200 * 300 + 40 * 33) + 8192)
  }

  /// Both rules can be differentiated through, as their decompositions are.
  @Test func aStepHasAGradient() throws {
    let graph = try traced([.f64(5), .f64(5), .f64(5), .f64()]) { x in
      let new = momentumStep(
        x[0], x[1], velocity: x[2], rate: x[3], momentum: 0.9, nesterov: true)
      return gradients(of: (new.parameter * new.parameter).sum(), withRespectTo: x)
    }
    // Of p - (g + 0.9 (0.9 v + g)) η with p = 1, g = 2, v = 3, η = 0.5.
    let new = 1 - (2 + 0.9 * (0.9 * 3 + 2)) * 0.5
    let inputs = [1.0, 2, 3].map { NDArray(doubles: Array(repeating: $0, count: 5), type: .f64(5)) }
    let flows = try graph.interpret(inputs: inputs + [NDArray(doubles: [0.5], type: .f64())])
    let expected = [2 * new, 2 * new * -1.9 * 0.5, 2 * new * -0.81 * 0.5]
    for (flow, value) in zip(flows.outputs, expected) {
      #expect(flow.doubles.allSatisfy { abs($0 - value) < 1e-12 })
    }
    #expect(abs(flows.outputs[3].scalar + 5 * 2 * new * (2 + 0.9 * (0.9 * 3 + 2))) < 1e-12)
  }

  @Test func mistakesNameTheOp() {
    let error = #expect(throws: ApusError.self) {
      try traced([.f32(3), .f32(4), .f32(3), .f32()]) { x in
        [momentumStep(x[0], x[1], velocity: x[2], rate: x[3], momentum: 0.9).parameter]
      }
    }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.description.contains("momentum_step") == true)
    #expect(throws: ApusError.self) {
      try traced([.i32(3), .i32(3), .i32(3), .i32()]) { x in
        [
          adamStep(
            x[0], x[1], firstMoment: x[2], secondMoment: x[2], stepSize: x[3],
            inverseRootCorrection: x[3]
          ).parameter
        ]
      }
    }
  }
}
