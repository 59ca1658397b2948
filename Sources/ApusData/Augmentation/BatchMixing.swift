// Examples of a batch mixed with each other: mixup and CutMix.
//
// As in torchvision, one weight is drawn for a batch, and each example is mixed with the one before it, the first with
// the last. Labels become distributions over the classes, which `crossEntropy` takes.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// How the examples of a batch are mixed; see ``Batches/mixing(_:classes:images:labels:)``.
public enum BatchMixing: Sendable, Hashable {
  /// Sums of two images with the weights λ and 1 - λ, λ from Beta(alpha, alpha) (Zhang et al. 2017, "mixup: Beyond
  /// Empirical Risk Minimization").
  case mixup(alpha: Double)
  /// A rectangle of the other image put into the one, of 1 - λ of its area before it is clipped (Yun et al. 2019, "CutMix:
  /// Regularization Strategy to Train Strong Classifiers with Localizable Features").
  case cutmix(alpha: Double)

  var alpha: Double {
    switch self {
    case .mixup(let alpha), .cutmix(let alpha): alpha
    }
  }

  var description: String {
    switch self {
    case .mixup(let alpha): "mixup \(alpha)"
    case .cutmix(let alpha): "cutmix \(alpha)"
    }
  }
}

/// Batches whose examples are mixed; made by ``Batches/mixing(_:classes:images:labels:)``.
public struct MixedBatches: BatchSource {
  public let base: Batches
  /// One of them is drawn for each batch.
  public let mixings: [BatchMixing]
  public let classes: Int
  private let images: Int
  private let labels: Int

  init(
    _ base: Batches, _ mixings: [BatchMixing], _ classes: Int, _ images: String, _ labels: String
  )
    throws
  {
    let fields = base.dataset.fields
    func place(_ name: String) throws -> Int {
      guard let place = fields.firstIndex(where: { $0.name == name }) else {
        throw ApusError(
          .missing,
          "the data set has no '\(name)', only \(fields.map(\.name).joined(separator: ", "))",
          expected: "images and labels to mix")
      }
      return place
    }
    (self.images, self.labels) = (try place(images), try place(labels))
    let (image, label) = (fields[self.images].type, fields[self.labels].type)
    let isCut = mixings.contains { if case .cutmix = $0 { true } else { false } }
    guard image.dtype == .f32, label == .i32(), !isCut || image.rank == 3 else {
      throw ApusError(
        .shapeMismatch, "mixing '\(images)', \(image), with '\(labels)', \(label)",
        expected: "f32\(isCut ? "[height,width,channels]" : "") and i32[], the number of a class")
    }
    guard !mixings.isEmpty, mixings.allSatisfy({ $0.alpha > 0 && $0.alpha.isFinite }) else {
      throw ApusError(
        .invalidArgument, "mixing by \(mixings.map(\.description))",
        expected: "one way or several, of alphas above 0")
    }
    guard classes >= 1, classes < 1 << 31 else {
      throw ApusError(.invalidArgument, "\(classes) classes", expected: "1 to 2^31 - 1")
    }
    self.base = base
    self.mixings = mixings
    self.classes = classes
  }

  private init(_ other: MixedBatches, _ base: Batches) {
    self.base = base
    (mixings, classes) = (other.mixings, other.classes)
    (images, labels) = (other.images, other.labels)
  }

  /// The same batches, shuffled by `seed` unless they have an order of their own.
  public func forTraining(seed: UInt64) -> any BatchSource {
    MixedBatches(self, base.training(seed: seed))
  }

  public var exampleCount: Int { base.exampleCount }
  public var batchCount: Int { base.batchCount }
  public var identity: String {
    "\(base.identity), \(mixings.map(\.description).joined(separator: " or ")) of seed \(base.key(epoch: 0).seed)"
  }

  /// Starts an epoch; see ``Batches/makeIterator(epoch:)``.
  ///
  /// - Throws: as there.
  public func makeIterator(epoch: Int) throws -> any BatchIterator {
    try start(epoch: epoch, at: 0)
  }

  /// Starts an epoch at a batch; see ``Batches/makeIterator(epoch:startingAt:)``.
  ///
  /// - Throws: as there.
  public func makeIterator(epoch: Int, startingAt first: Int) throws -> any BatchIterator {
    try start(epoch: epoch, at: first)
  }
}

extension MixedBatches: PlannedSource {
  var prefetch: Int { base.prefetch }
  var isMadeBetweenSteps: Bool { base.isMadeBetweenSteps }

  func plans(epoch: Int) -> (Int) -> BatchPlan {
    let plans = base.plans(epoch: epoch)
    let key = base.key(epoch: epoch)
    return { index in
      var plan = plans(index)
      let fill = plan.fill
      let numbers = plan.types[labels]
      let count = numbers.count
      plan.types[labels] = .f32(count, classes)
      plan.fill = { targets, threads in
        var own = [try NDArray(checking: numbers)]
        try own.lend { memory in
          var inner = targets
          inner[labels] = memory[0]
          try fill(inner, threads)
        }
        // "mixu"
        var random = ExampleRandom(key, 0x6d69_7875, index)
        let weight = mix(targets[images].bindMemory(to: Float.self), count, &random)
        try write(own[0].integers, weight, to: targets[labels].bindMemory(to: Float.self), index)
      }
      return plan
    }
  }

  /// Mixes the images; returns the weight of each with its own label.
  private func mix(
    _ values: UnsafeMutableBufferPointer<Float>, _ count: Int, _ random: inout ExampleRandom
  ) -> Float {
    let mixing = mixings[random.integer(in: 0...mixings.count - 1)]
    let weight = random.beta(mixing.alpha)
    let size = count == 0 ? 0 : values.count / count
    guard size > 0 else { return Float(weight) }
    switch mixing {
    case .mixup:
      let (own, other) = (Float(weight), 1 - Float(weight))
      replace(values, count, 0..<size) { own * $0 + other * $1 }
      return own
    case .cutmix:
      let shape = base.dataset.fields[images].type.shape
      let (height, width, channels) = (shape[0], shape[1], shape[2])
      let (row, column) = (
        random.integer(in: 0...height - 1), random.integer(in: 0...width - 1)
      )
      let half = 0.5 * (1 - weight).squareRoot()
      let (halfHeight, halfWidth) = (Int(half * Double(height)), Int(half * Double(width)))
      let rows = max(row - halfHeight, 0)..<min(row + halfHeight, height)
      let columns = max(column - halfWidth, 0)..<min(column + halfWidth, width)
      for row in rows {
        let start = (row * width + columns.lowerBound) * channels
        replace(values, count, start..<start + columns.count * channels) { $1 }
      }
      return 1 - Float(rows.count * columns.count) / Float(height * width)
    }
  }

  /// Makes the numbers of a range of every example out of its own and those of the example before it.
  private func replace(
    _ values: UnsafeMutableBufferPointer<Float>, _ count: Int, _ range: Range<Int>,
    _ combine: (Float, Float) -> Float
  ) {
    let size = values.count / count
    // From the last example on, each finds the one before it unchanged; the first wants the last as it was.
    let start = (count - 1) * size
    let last = Array(values[start + range.lowerBound..<start + range.upperBound])
    for example in (0..<count).reversed() {
      for place in range {
        let other =
          example > 0 ? values[(example - 1) * size + place] : last[place - range.lowerBound]
        values[example * size + place] = combine(values[example * size + place], other)
      }
    }
  }

  private func write(
    _ numbers: [Int], _ weight: Float, to target: UnsafeMutableBufferPointer<Float>, _ index: Int
  ) throws {
    if let place = numbers.firstIndex(where: { $0 < 0 || $0 >= classes }) {
      throw ApusError(
        .outOfRange, "the label \(numbers[place]) is not a class",
        at: "example \(place) of batch \(index)",
        expected: "labels in 0..<\(classes)")
    }
    target.update(repeating: 0)
    for (place, number) in numbers.enumerated() {
      target[place * classes + number] += weight
      target[place * classes + numbers[(place + numbers.count - 1) % numbers.count]] += 1 - weight
    }
  }
}

extension Batches {
  /// The same batches with their examples mixed with each other, and labels that are distributions over the classes:
  /// `labels` f32[n, classes] in the place of i32[n].
  ///
  ///     let mixed = try train.batched(128).mixing([.mixup(alpha: 0.2), .cutmix(alpha: 1)], classes: 10)
  ///     try trainer.fit(mixed, epochs: 30)       // crossEntropy(model(batch.images), batch.labels)
  ///
  /// One of the ways is drawn for each batch, and one weight λ; each example is mixed with the one before it, as in
  /// torchvision's `MixUp` and `CutMix`. What is drawn depends on seed, epoch and batch alone. An accuracy wants class
  /// numbers: report it in evaluation, whose batches are not mixed.
  ///
  /// - `images`: the name of what is mixed, f32; for `cutmix` [height, width, channels].
  /// - `labels`: the name of the class numbers, i32.
  /// - Throws: `missing` where the set has no such fields, `shapeMismatch` where they are something else,
  ///   `invalidArgument` without a way, for an alpha that is not above 0, or less than one class. A label that is no class
  ///   is `outOfRange` when its batch is made.
  public func mixing(
    _ mixings: [BatchMixing], classes: Int, images: String = "images", labels: String = "labels"
  ) throws -> MixedBatches {
    try MixedBatches(self, mixings, classes, images, labels)
  }
}

extension ExampleRandom {
  /// A number of the distribution Beta(alpha, alpha): up to 1 by Jöhnk (1964), above as a quotient of two numbers of a
  /// Gamma distribution by Marsaglia and Tsang (2000, "A Simple Method for Generating Gamma Variables").
  mutating func beta(_ alpha: Double) -> Double {
    if alpha > 1 {
      let first = gamma(alpha)
      return first / (first + gamma(alpha))
    }
    while true {
      // As logarithms: for a small alpha both powers may be below all doubles.
      let x = log(uniform() + 0x1p-54) / alpha, y = log(uniform() + 0x1p-54) / alpha
      let most = max(x, y)
      // Of an alpha so small that both are below all logarithms, nearly all is at the two ends.
      if most == -.infinity { return happens(0.5) ? 1 : 0 }
      let sum = most + log(exp(x - most) + exp(y - most))
      if sum <= 0 { return exp(x - sum) }
    }
  }

  /// A number of the distribution Gamma(shape, 1); `shape` is at least 1.
  private mutating func gamma(_ shape: Double) -> Double {
    let d = shape - 1.0 / 3, c = 1 / (9 * d).squareRoot()
    while true {
      let x = (-2 * log(uniform() + 0x1p-54)).squareRoot() * cos(2 * .pi * uniform())
      let v = (1 + c * x) * (1 + c * x) * (1 + c * x)
      guard v > 0 else { continue }
      if log(uniform() + 0x1p-54) < 0.5 * x * x + d - d * v + d * log(v) { return d * v }
    }
  }
}
