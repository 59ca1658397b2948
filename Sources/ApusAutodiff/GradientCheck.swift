// Gradients against finite differences: for tests of ops, layers and gradient rules of your own.
//
// Everything runs in double through the interpreter; kernels take no part.

import ApusGraph
import ApusOps

/// Checks the gradients of a function against central differences in double.
///
/// The function's result, weighted by fixed random numbers and summed, is compared along random
/// directions: one number a direction, whatever the size of the arguments, so that a check stays cheap.
/// Keep arguments away from kinks (a rectifier at 0), where no derivative exists.
///
///     try checkGradients([x, w]) { softplus($0[0].matmul($0[1])) }
///
/// - `arguments`: where to check. Floats are widened to `f64`; integers and bools are passed on and
///   not differentiated.
/// - `order`: 2 also checks the derivative of the gradient, and so on. Each order differentiates the
///   graph of the one before.
/// - `directions`: how many random directions to try.
/// - `step`: the step of the differences along a direction within [-1, 1] in every element.
/// - `tolerance`: the largest difference allowed, relative to the sum of the absolute products of
///   gradient and direction, or to 1 where that is smaller.
/// - `seed`: of the weights and directions.
/// - `body`: the function, given one tensor an argument. States that it records are zeros.
/// - Returns: the largest difference found, relative as in `tolerance`.
/// - Throws: `invalidGraph` where a gradient is off, naming the order, both numbers and the argument
///   that is to blame; the first mistake made in `body`.
@discardableResult
public func checkGradients(
  _ arguments: [NDArray], order: Int = 1, directions: Int = 1, step: Double = 1e-4,
  tolerance: Double = 1e-6, seed: UInt64 = 0, _ body: ([Tensor]) throws -> Tensor
) throws -> Double {
  let check = GradientCheck(arguments, step: step, seed: seed)
  var worst = 0.0
  for order in 1...max(order, 1) {
    let graph = try check.graph(order: order, body)
    for direction in 0..<max(directions, 1) {
      worst = try max(worst, check.compare(graph, order, direction, tolerance))
    }
  }
  return worst
}

/// Fixed random numbers in [-1, 1], of one generator a purpose.
package func fixedNoise(_ count: Int, seed: UInt64, purpose: UInt64) -> [Double] {
  // The multiplier keeps the generators' starts apart.
  var state = seed &+ (purpose &+ 1) &* 0x9e37_79b9_7f4a_7c15
  return (0..<count).map { _ in
    // SplitMix64 (Steele, Lea & Flood 2014).
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return Double((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1
  }
}

private struct GradientCheck {
  let arguments: [NDArray]
  let step: Double
  let seed: UInt64
  /// Indices of the arguments that are differentiated.
  let floats: [Int]

  init(_ arguments: [NDArray], step: Double, seed: UInt64) {
    self.arguments = arguments.map { $0.cast(to: $0.dtype.widened) }
    self.step = step
    self.seed = seed
    floats = arguments.indices.filter { arguments[$0].dtype.isFloat }
  }

  private func noise(_ type: TensorType, _ purpose: UInt64) -> NDArray {
    NDArray(doubles: fixedNoise(type.count, seed: seed, purpose: purpose), type: type)
  }

  /// A graph whose first output is a scalar, `order - 1` times differentiated along fixed directions,
  /// and whose other outputs are its gradients.
  func graph(order: Int, _ body: ([Tensor]) throws -> Tensor) throws -> Graph {
    try traced(arguments.map(\.type)) { operands in
      let result = try body(operands)
      guard result.dtype.isFloat else {
        throw ApusError(
          .dtypeMismatch, "\(result.type) has no gradient",
          expected: "a function with a float result")
      }
      func weighted(_ x: Tensor, _ purpose: UInt64) -> Tensor {
        (x.cast(to: .f64) * x.trace.constant(noise(x.type.with(.f64), purpose))).sum()
      }
      let inputs = floats.map { operands[$0] }
      var value = weighted(result, 0)
      var flow = gradients(of: value, withRespectTo: inputs)
      for level in 1..<max(order, 1) {
        value = flow.enumerated().reduce(value.scalar(0)) {
          $0 + weighted($1.element, UInt64(1000 * level + $1.offset))
        }
        flow = gradients(of: value, withRespectTo: inputs)
      }
      return [value] + flow
    }
  }

  /// The relative difference along one direction.
  func compare(_ graph: Graph, _ order: Int, _ number: Int, _ tolerance: Double) throws -> Double {
    let states = graph.states.map { NDArray(zeros: graph.type(of: $0.value)) }
    func run(_ arguments: [NDArray]) throws -> [NDArray] {
      try graph.interpret(inputs: arguments, states: states).outputs
    }
    let flow = Array(try run(arguments).dropFirst())
    let ways = floats.map {
      noise(arguments[$0].type, 1_000_000 + UInt64(1000 * number + $0))
    }
    /// The analytic derivative, the size of its terms and the numeric one along `ways[chosen]`.
    func slopes(_ chosen: Range<Int>) throws -> (analytic: Double, size: Double, numeric: Double) {
      var analytic = 0.0, size = 0.0
      for position in chosen {
        for (u, g) in zip(ways[position].doubles, flow[position].doubles) {
          analytic += u * g
          size += abs(u * g)
        }
      }
      func value(_ distance: Double) throws -> Double {
        var moved = arguments
        for position in chosen {
          let x = arguments[floats[position]]
          moved[floats[position]] = NDArray(
            doubles: zip(x.doubles, ways[position].doubles).map { $0 + distance * $1 }, type: x.type
          )
        }
        return try run(moved)[0].scalar
      }
      // The five-point stencil: its error is h⁴·f⁽⁵⁾/30, so that rounding, ε·f/h, rules.
      let near = try value(step) - value(-step), far = try value(2 * step) - value(-2 * step)
      return (analytic, max(size, 1), (8 * near - far) / (12 * step))
    }
    func error(_ slopes: (analytic: Double, size: Double, numeric: Double)) -> Double {
      abs(slopes.analytic - slopes.numeric) / slopes.size
    }
    let all = try slopes(0..<floats.count)
    guard error(all) <= tolerance else {
      let blamed = try floats.indices.first { try !(error(slopes($0..<$0 + 1)) <= tolerance) }
      let culprit = blamed.map { " with respect to argument \(floats[$0])" } ?? ""
      throw ApusError(
        .invalidGraph,
        "the derivative of order \(order)\(culprit) is \(all.analytic) along a direction, where "
          + "differences give \(all.numeric)",
        expected: "a relative difference of at most \(tolerance)")
    }
    return error(all)
  }
}
