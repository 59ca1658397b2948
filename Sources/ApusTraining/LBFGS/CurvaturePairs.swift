// What L-BFGS knows of the curvature: the last steps, and how the gradient changed along them.

/// Steps s and changes of the gradient y, oldest first. Source: Nocedal & Wright, "Numerical Optimization" (2006),
/// algorithm 7.4.
struct CurvaturePairs {
  private struct Pair {
    var step, change: [Float]
    /// 1 / (y · s).
    var inverse: Double
  }
  private let limit: Int
  private var pairs: [Pair] = []
  /// What an inverse Hessian is that nothing is known of but its newest scale: (s · y) / (y · y).
  private var scale = 1.0

  init(limit: Int) { self.limit = limit }

  /// Notes a step, the direction times a length, unless the curvature along it is too small to divide by.
  mutating func add(step direction: [Float], _ length: Double, change: [Float]) {
    let step = direction.map { $0 * Float(length) }
    let product = dot(change, step)
    guard product > 1e-10 else { return }
    if pairs.count == limit { pairs.removeFirst() }
    pairs.append(Pair(step: step, change: change, inverse: 1 / product))
    scale = product / dot(change, change)
  }

  /// -H g, H being the inverse Hessian as the pairs tell of it.
  func direction(for gradient: [Float]) -> [Float] {
    var q = gradient.map { -$0 }
    var shares: [Double] = []
    for pair in pairs.reversed() {
      let share = dot(pair.step, q) * pair.inverse
      shares.append(share)
      increase(&q, by: pair.change, times: -share)
    }
    let factor = Float(scale)
    for place in q.indices { q[place] *= factor }
    for (pair, share) in zip(pairs, shares.reversed()) {
      let rest = share - dot(pair.change, q) * pair.inverse
      increase(&q, by: pair.step, times: rest)
    }
    return q
  }
}

/// The loss at a point.
struct Evaluation {
  var point: [Float]
  var loss: Double
  var gradient: [Float]

  /// Of the gradient's elements.
  var greatest: Double { Double(ApusTraining.greatest(gradient)) }
  var isFinite: Bool { loss.isFinite && greatest.isFinite }
}

/// The greatest magnitude; NaN where one is, 0 of nothing.
func greatest(_ x: [Float]) -> Float {
  var greatest: Float = 0
  for value in x {
    if value.isNaN { return .nan }
    greatest = max(greatest, abs(value))
  }
  return greatest
}

/// Σ xᵢ yᵢ, added up in double.
func dot(_ x: [Float], _ y: [Float]) -> Double {
  x.withUnsafeBufferPointer { x in
    y.withUnsafeBufferPointer { y in
      var sum = 0.0
      for place in 0..<min(x.count, y.count) { sum += Double(x[place]) * Double(y[place]) }
      return sum
    }
  }
}

/// y ← y + a x.
private func increase(_ y: inout [Float], by x: [Float], times a: Double) {
  let a = Float(a)
  x.withUnsafeBufferPointer { x in
    y.withUnsafeMutableBufferPointer { y in
      for place in 0..<min(x.count, y.count) { y[place] += a * x[place] }
    }
  }
}

/// start + length · direction.
func moved(_ start: [Float], by length: Double, along direction: [Float]) -> [Float] {
  var point = start
  increase(&point, by: direction, times: length)
  return point
}
