// First values have the distributions that their names promise, whoever draws them, and are refused where
// they cannot be.

import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime
import Testing

@Suite struct InitializerTests {
  static func draw(
    _ initializer: Initializer, _ shape: Shape = [200, 300], _ dtype: DType = .f32
  ) throws -> [Double] {
    try initializer.makeArray(TensorType(dtype, shape), seed: 3, path: "a.weight").doubles
  }

  static func moments(_ values: [Double]) -> (mean: Double, deviation: Double) {
    let mean = values.reduce(0, +) / Double(values.count)
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
    return (mean, variance.squareRoot())
  }

  /// Initialisers, each with the variance that its paper gives for fans of 300 in and 200 out.
  static let variances: [(Initializer, Double)] = [
    (.xavierUniform, 2 / 500.0), (.xavierNormal, 2 / 500.0), (.kaimingUniform, 2 / 300.0),
    (.kaimingNormal, 2 / 300.0), (.lecunNormal, 1 / 300.0), (.lecunUniform, 1 / 300.0),
    (.varianceScaling(2, .output, .normal), 2 / 200.0),
    (.varianceScaling(2, .output, .uniform), 2 / 200.0),
    (.varianceScaling(1, .average, .uniform), 2 / 500.0),
    (.varianceScaling(0.5, .input, .normal), 0.5 / 300), (.fanInUniform(), 1 / 900.0),
    (.uniform(low: -1, high: 1), 1 / 3.0), (.normal(mean: 0, deviation: 0.5), 0.25),
    (.truncatedNormal(mean: 0, deviation: 1), 0.77374130), (.constant(0), 0), (.zeros, 0),
  ]

  @Test(arguments: variances, [DType.f32, .f64, .bf16, .f16])
  func deviation_isTheFormulas(case: (Initializer, Double), dtype: DType) throws {
    let deviation = `case`.1.squareRoot()
    let (mean, measured) = Self.moments(try Self.draw(`case`.0, [200, 300], dtype))
    // Five standard errors of 60000 draws.
    #expect(abs(mean) <= deviation * 5 / 245)
    #expect(abs(measured - deviation) <= deviation * 0.02)
  }

  @Test func bounds_areKept() throws {
    #expect(try Self.draw(.uniform(low: 2, high: 3)).allSatisfy { (2...3).contains($0) })
    let truncated = try Self.draw(.truncatedNormal(mean: 1, deviation: 2), [500, 500])
    #expect(truncated.allSatisfy { (-3...5).contains($0) })
    // The ends are reached: nothing was cut nearer the mean than two deviations.
    #expect(truncated.max()! > 4.98 && truncated.min()! < -2.98)
    let bound = 1 / 300.0.squareRoot()
    let fanIn = try Self.draw(.fanInUniform())
    #expect(fanIn.allSatisfy { abs($0) <= bound * 1.000001 })
    #expect(fanIn.max()! > 0.999 * bound && fanIn.min()! < -0.999 * bound)
  }

  @Test func normalNumbers_haveTheTailsOfANormal() throws {
    let values = try Self.draw(.normal(mean: 0, deviation: 1), [1000, 300])
    let beyond = values.filter { abs($0) > 2 }.count, far = values.filter { abs($0) > 3 }.count
    // 4.55 % and 0.27 %, with five standard errors of 300000 draws.
    #expect(abs(Double(beyond) / 300_000 - 0.0455) < 0.002)
    #expect(abs(Double(far) / 300_000 - 0.0027) < 0.0005)
    // Neighbours, which one pair of words makes, are independent.
    let products = stride(from: 0, to: values.count, by: 2).map { values[$0] * values[$0 + 1] }
    #expect(abs(products.reduce(0, +) / 150_000) < 0.013)
  }

  @Test(arguments: [[5, 9], [9, 5], [6, 6], [4, 3, 2], [40, 23]] as [Shape])
  func orthogonalRows_areOrthonormal(shape: Shape) throws {
    let rows = shape[0], columns = shape.count / rows
    let values = try Self.draw(.orthogonal(gain: 2), shape)
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

  @Test func identities_passInputsOn() throws {
    #expect(try Self.draw(.identity(), [2, 3]) == [1, 0, 0, 0, 1, 0])
    #expect(try Self.draw(.identity(gain: 2), [3, 2]) == [2, 0, 0, 2, 0, 0])
    #expect(try Self.draw(.identity(), [0, 3]) == [])
    let layer = Conv2d(2, 2, 3, padding: 1, initializer: .identity())
    try layer.initialize()
    let image = NDArray((0..<18).map { Float($0) }, shape: [1, 3, 3, 2])
    let same = try compile([.f32(1, 3, 3, 2)]) { [conv2d($0[0], layer.weight.tensor, padding: 1)] }
    let results: [NDArray] = try same(image)
    #expect(results == [image])
    let error = #expect(throws: ApusError.self) { try Self.draw(.identity(), [3]) }
    #expect(error?.kind == .shapeMismatch)
  }

  @Test func convolutionFans_countTheWindow() throws {
    let (_, deviation) = Self.moments(try Self.draw(.kaimingNormal, [64, 3, 3, 32]))
    #expect(abs(deviation - (2.0 / (9 * 32)).squareRoot()) < 0.002)
  }

  // MARK: What values depend on

  static let random: [Initializer] = [
    .kaimingUniform, .kaimingNormal, .truncatedNormal(mean: 0, deviation: 1), .orthogonal(),
    .custom { type, random in
      NDArray(doubles: (0..<type.count).map { _ in random.normal() }, type: type)
    },
  ]

  @Test(arguments: random.indices)
  func values_dependOnSeedAndPathAlone(index: Int) throws {
    let initializer = Self.random[index]
    let type = TensorType.f32(17, 31)
    let first = try initializer.makeArray(type, seed: 1, path: "a")
    #expect(try initializer.makeArray(type, seed: 1, path: "a") == first)
    #expect(try initializer.makeArray(type, seed: 2, path: "a") != first)
    #expect(try initializer.makeArray(type, seed: 1, path: "b") != first)
  }

  @Test func values_areTheSameForAnyNumberOfThreads() throws {
    let type = TensorType.f32(311, 257)
    let before = try Team.shared().threads.count
    defer { _ = try? Team.shared(threads: before) }
    for initializer in Self.random.dropLast(2) {
      let arrays = try [1, 2, 3].map { threads in
        _ = try Team.shared(threads: threads)
        return try initializer.makeArray(type, seed: 5, path: "w")
      }
      #expect(arrays[0] == arrays[1] && arrays[0] == arrays[2], "\(initializer)")
    }
  }

  // MARK: A user's own

  @Test func ownFunction_getsTypeAndRandomNumbers() throws {
    let diagonal = Initializer.custom { type, random in
      let gain = 1 + random.uniform()
      return NDArray(
        doubles: (0..<type.count).map { $0 / type.shape[1] == $0 % type.shape[1] ? gain : 0 },
        type: type)
    }
    let values = try Self.draw(diagonal, [2, 2])
    #expect((1..<2).contains(values[0]) && values == [values[0], 0, 0, values[0]])
    #expect(diagonal == diagonal && diagonal != .custom { type, _ in NDArray(zeros: type) })
    let bits = Initializer.custom { type, random in
      NDArray((0..<type.count).map { _ in Int64(bitPattern: random.next()) }, shape: type.shape)
    }
    #expect(Set(try bits.makeArray(.i64(100), seed: 0, path: "x").integers).count == 100)
  }

  @Test func ownFunctionOfAnotherType_isRefused() throws {
    let wrong = Initializer.custom { _, _ in NDArray(zeros: .f32(3)) }
    let error = #expect(throws: ApusError.self) {
      try wrong.makeArray(.f32(4), seed: 0, path: "layer.scale")
    }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.location == "parameter 'layer.scale'")
  }

  // MARK: Mistakes

  @Test(
    arguments: [
      .normal(mean: 0, deviation: -1), .normal(mean: .nan, deviation: 1),
      .normal(mean: 0, deviation: .infinity), .truncatedNormal(mean: 0, deviation: -0.1),
      .uniform(low: 1, high: 0), .uniform(low: 0, high: .infinity), .uniform(low: .nan, high: 1),
      .uniform(low: -3e38, high: 3e38), .constant(.nan), .orthogonal(gain: .nan),
      .fanInUniform(fanIn: -4), .varianceScaling(-1, .input, .normal),
      .varianceScaling(.nan, .output, .uniform), .normal(mean: 0, deviation: 1e300),
    ] as [Initializer])
  func senselessSettings_areRefused(initializer: Initializer) {
    let error = #expect(throws: ApusError.self) { try Self.draw(initializer) }
    #expect(error?.kind == .invalidArgument)
    #expect(error?.location == "parameter 'a.weight'")
  }

  @Test(
    arguments: [
      (-4, 3, .invalidArgument), (3, -4, .invalidArgument), (1 << 20, 1 << 20, .resource),
      (1 << 40, 1 << 40, .resource), (1 << 62, 4, .resource),
    ] as [(Int, Int, ApusError.Kind)])
  func impossibleLayers_areErrorsOfInitialize(inputs: Int, outputs: Int, kind: ApusError.Kind) {
    for initializer in [.fanInUniform(), .zeros, .ones, .orthogonal(), .identity()] as [Initializer]
    {
      let error = #expect(throws: ApusError.self) {
        try Linear(inputs, outputs, initializer: initializer).initialize()
      }
      #expect(error?.kind == kind, "\(error as Any)")
      #expect(error?.location?.contains("weight") == true)
    }
  }

  @Test func emptyParameters_areEmpty() throws {
    for initializer in Self.random + [.zeros, .ones] {
      #expect(try Self.draw(initializer, [0, 3]) == [])
      #expect(try Self.draw(initializer, [3, 0]) == [])
    }
  }

  @Test func constants_fillEveryType() throws {
    for dtype in DType.allCases {
      #expect(try Self.draw(.ones, [2, 2], dtype) == [1, 1, 1, 1])
      #expect(try Self.draw(.constant(0), [3], dtype) == [0, 0, 0])
    }
    #expect(try Self.draw(.constant(-.infinity), [2]) == [-.infinity, -.infinity])
    #expect(try Self.draw(.ones, []) == [1])
  }
}
