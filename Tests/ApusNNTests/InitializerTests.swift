// First values have the distributions that their names promise.

import ApusGraph
import ApusNN
import Testing

@Suite struct InitializerTests {
  static func draw(_ initializer: Initializer, _ shape: Shape = [200, 300]) -> [Double] {
    initializer.makeArray(TensorType(.f32, shape), seed: 3, path: "a.weight").doubles
  }

  static func moments(_ values: [Double]) -> (mean: Double, deviation: Double) {
    let mean = values.reduce(0, +) / Double(values.count)
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
    return (mean, variance.squareRoot())
  }

  /// Initialisers, each with the variance that its paper gives for fans of 300 in and 200 out.
  static let variances: [(Initializer, Double)] = [
    (.xavierUniform, 2 / 500.0), (.xavierNormal, 2 / 500.0), (.kaimingUniform, 2 / 300.0),
    (.kaimingNormal, 2 / 300.0), (.lecunNormal, 1 / 300.0), (.fanInUniform(), 1 / 900.0),
    (.uniform(low: -1, high: 1), 1 / 3.0), (.normal(mean: 0, deviation: 0.5), 0.25),
    (.truncatedNormal(mean: 0, deviation: 1), 0.77374130), (.constant(0), 0), (.zeros, 0),
  ]

  @Test(arguments: variances)
  func deviation_isTheFormulas(initializer: Initializer, variance: Double) {
    let deviation = variance.squareRoot()
    let (mean, measured) = Self.moments(Self.draw(initializer))
    // Five standard errors of 60000 draws.
    #expect(abs(mean) <= deviation * 5 / 245)
    #expect(abs(measured - deviation) <= deviation * 0.02)
  }

  @Test func bounds_areKept() {
    #expect(Self.draw(.uniform(low: 2, high: 3)).allSatisfy { (2...3).contains($0) })
    #expect(Self.draw(.truncatedNormal(mean: 1, deviation: 2)).allSatisfy { (-3...5).contains($0) })
  }

  @Test(arguments: [[5, 9], [9, 5], [6, 6], [4, 3, 2]] as [Shape])
  func orthogonalRows_areOrthonormal(shape: Shape) {
    let rows = shape[0], columns = shape.count / rows
    let values = Self.draw(.orthogonal(gain: 2), shape)
    let isTall = rows > columns
    for i in 0..<min(rows, columns) {
      for j in 0...i {
        let product = (0..<max(rows, columns)).reduce(0.0) { sum, k in
          isTall
            ? sum + values[k * columns + i] * values[k * columns + j]
            : sum + values[i * columns + k] * values[j * columns + k]
        }
        #expect(abs(product - (i == j ? 4 : 0)) < 1e-5)
      }
    }
  }

  @Test func convolutionFans_countTheWindow() {
    let (_, deviation) = Self.moments(Self.draw(.kaimingNormal, [64, 3, 3, 32]))
    #expect(abs(deviation - (2.0 / (9 * 32)).squareRoot()) < 0.002)
  }
}
