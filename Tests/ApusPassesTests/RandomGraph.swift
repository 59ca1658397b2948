// Random graphs, for properties that must hold of every graph.

import ApusAutodiff
import ApusGraph
import ApusOps

/// Records random graphs of f64 tensors whose values stay near 1, so that the order of summation shows
/// only in the last bits. Nothing is compared that was computed: a comparison would turn a last bit into
/// a whole number.
struct RandomGraph {
  private var generator: SplitMix
  private let trace = Trace()
  private var pool: [Tensor] = []
  private var masks: [Tensor] = []
  private var states: [Tensor] = []

  /// A graph of about `size` ops; the same for the same seed.
  static func make(seed: Int, size: Int = 32) throws -> Graph {
    var graph = RandomGraph(generator: SplitMix(seed: seed))
    return try graph.record(size: size, isTrained: seed % 2 == 0)
  }

  private init(generator: SplitMix) { self.generator = generator }

  private mutating func record(size: Int, isTrained: Bool) throws -> Graph {
    let shapes: [Shape] = [[3, 4], [4], [2, 3, 4], [1, 4], []]
    for (index, shape) in shapes.enumerated() {
      pool.append(trace.input("x\(index)", TensorType(.f64, shape)))
    }
    masks = [trace.input("mask", TensorType(.bool, [3, 4]))]
    masks.append(greater(pool[0], 0.5))
    states = [[3, 4], [4, 4]].enumerated().map { index, shape in
      trace.state("w\(index)", TensorType(.f64, shape))
    }
    pool += states
    for step in 0..<size {
      let next = Trace.$current.withValue(trace) { grow() }
      pool.append(trace.withScope(path: "block.\(step % 3)") { next })
    }
    for index in 0..<2 { trace.output("y\(index)", pool[pool.count - 1 - index]) }
    if isTrained {
      let loss = pool.suffix(4).map { tanh($0).sum() }.reduce(trace.constant(0, .f64)) { $0 + $1 }
      for (state, gradient) in zip(states, gradients(of: loss, withRespectTo: states)) {
        trace.assign(state, state - 0.01 * gradient)
      }
      trace.output("loss", loss)
    } else {
      trace.assign(states[0], pick(of: [3, 4]) ?? states[0] * 2)
    }
    return try trace.finish()
  }

  /// Mostly what was made last, so that chains form.
  private mutating func pick() -> Tensor {
    (roll(3) > 0 ? pool.suffix(3) : pool[...]).randomElement(using: &generator)!
  }

  private mutating func pick(of shape: Shape) -> Tensor? {
    pool.filter { $0.shape == shape }.randomElement(using: &generator)
  }

  private mutating func roll(_ count: Int) -> Int { Int.random(in: 0..<count, using: &generator) }

  private mutating func grow() -> Tensor {
    let x = pick()
    switch roll(10) {
    case 0, 1: return unary(x)
    case 2, 3: return binary(x)
    case 4: return constantOperand(x)
    case 5, 6: return rearranged(x)
    case 7: return part(x)
    case 8: return reduced(x)
    default: return special(x)
    }
  }

  private mutating func unary(_ x: Tensor) -> Tensor {
    switch roll(10) {
    case 0: return -x
    case 1: return relu(x)
    case 2: return abs(x)
    case 3: return sin(x)
    case 4: return sqrt(abs(x) + 1)
    case 5: return reciprocal(sqrt(square(x) + 1))
    case 6: return x.stopGradient()
    case 7: return square(tanh(-x))
    case 8: return -(-x)
    default: return tanh(x)
    }
  }

  private mutating func binary(_ x: Tensor) -> Tensor {
    var y = pick(of: x.shape) ?? x
    // An operand that broadcasts: its axes folded, or its first ones gone.
    if roll(3) == 0, x.rank > 0 {
      y = y.sum(axes: [roll(x.rank)], keepDims: true) * 0.25
    } else if roll(3) == 0, x.rank > 0 {
      y = y.sum(axes: [0]) * 0.25
    }
    let (a, b) = roll(2) == 0 ? (x, y) : (y, x)
    switch roll(7) {
    case 0: return a * b * 0.5
    case 1: return a - b
    case 2: return maximum(a, b)
    case 3: return minimum(a, b)
    case 4: return a / (abs(b) + 1)
    case 5: return a + -b
    default: return a + b
    }
  }

  private mutating func constantOperand(_ x: Tensor) -> Tensor {
    let c = [0, 1, -1, 2, 0.5, 3].randomElement(using: &generator)!
    let constant = roll(2) == 0 ? x.scalar(c) : x.scalar(c).broadcast(to: x.shape)
    switch roll(7) {
    case 0: return x + constant
    case 1: return constant - x
    case 2: return constant * x * 0.5
    case 3: return x / (c == 0 ? constant + 4 : constant)
    case 4: return maximum(x, constant)
    case 5: return c == 2 ? pow(x, constant) * 0.25 : x - constant
    default: return x * constant * 0.25
    }
  }

  private mutating func rearranged(_ x: Tensor) -> Tensor {
    switch roll(6) {
    case 0: return x.flattened()
    case 1: return x.reshaped(Shape(x.shape.dimensions.reversed()))
    case 2: return x.expandingDims(at: roll(x.rank + 1))
    case 3: return x.count > 64 ? x : x.broadcast(to: Shape([2] + x.shape.dimensions))
    case 4: return x.rank > 0 ? x.flipped(axes: [roll(x.rank)]) : x
    default: return x.transposed((0..<x.rank).shuffled(using: &generator))
    }
  }

  private mutating func part(_ x: Tensor) -> Tensor {
    guard x.rank > 0 else { return x }
    let axis = roll(x.rank)
    switch roll(4) {
    case 0: return x.sliced(axis: axis, from: roll(2), step: 1 + roll(2))
    case 1:
      let ones = Array(repeating: 1, count: x.rank)
      return x.count > 64 ? x : x.padded(low: ones, high: ones.map { _ in roll(2) })
    case 2: return x.count > 64 ? x : concat([x, pick(of: x.shape) ?? x], axis: axis)
    default:
      let pieces = concat([x, tanh(x)], axis: axis).split([1, 2 * x.shape[axis] - 1], axis: axis)
      return pieces[roll(2)]
    }
  }

  private mutating func reduced(_ x: Tensor) -> Tensor {
    let axes = (0..<x.rank).filter { _ in roll(2) == 0 }
    let keepDims = roll(2) == 0
    switch roll(4) {
    case 0: return x.max(axes: axes, keepDims: keepDims)
    case 1: return x.min(axes: axes, keepDims: keepDims)
    default: return x.sum(axes: axes, keepDims: keepDims) * 0.25
    }
  }

  private mutating func special(_ x: Tensor) -> Tensor {
    switch roll(4) {
    case 0:
      let y = pick(of: [3, 4])!
      return `where`(masks[roll(2)], y, y * 0.5)
    case 1: return pick(of: [3, 4])!.matmul(states[1]) * 0.25
    case 2: return checkpoint(x) { tanh(tanh($0) * $0) }
    default:
      return withGradient([x]) {
        sin($0[0])
      } gradient: {
        [$0.gradient * 0.5]
      }
    }
  }
}

extension Tensor {
  fileprivate var count: Int { type.count }
}
