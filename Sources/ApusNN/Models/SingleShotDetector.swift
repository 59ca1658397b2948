// A single-shot detector: classes and boxes for all anchors at once.

import ApusGraph
import ApusOps

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A detector that looks once (Liu et al. 2016, "SSD"), with a feature pyramid and focal loss (Lin et al. 2017,
/// "Feature Pyramid Networks", "Focal Loss for Dense Object Detection"): images `[n, h, w, channels]` → for each
/// anchor logits of the classes and offsets of its box.
///
///     let anchors = try Anchors(
///       [.init(stride: 8, sizes: [16, 24]), .init(stride: 16, sizes: [32, 44])], height: 64, width: 64)
///     let model = SingleShotDetector(classes: 10, anchors: anchors, channels: 1)
///     let (logits, offsets) = model(images)          // f32[n,480,10], f32[n,480,4]
///
/// The backbone halves the image by a stem and residual blocks up to the largest stride. From there features go down
/// again, added to those of each level. Each level has a head of its own. Images are of the anchors' height and width,
/// else `shapeMismatch`; strides are powers of two from 2 on, each twice the one before, else `invalidArgument`.
/// Parameters are `stem.weight`, `stages.0.conv1.weight`, `laterals.0.weight`, `heads.1.boxes.bias` and so on.
///
/// It learns by ``detectionLoss(_:classes:offsets:alpha:gamma:beta:file:line:)``; ``detections(_:_:scoreThreshold:iouThreshold:maximum:)``
/// says what it has found.
public struct SingleShotDetector: Module, Sendable {
  public let anchors: Anchors
  public let classes: Int
  public let coder: BoxCoder
  let scope = Scope()
  let stem: Conv2d
  let bn: BatchNorm
  let stages: [ResidualBlock]
  let laterals: [Conv2d]
  let heads: [DetectionHead]
  private let fault: ApusError?

  /// - `classes`: background is none of them.
  /// - `width`: channels after the stem; they double with every halving, up to four times as many.
  /// - `pyramid`: channels of the features that the heads see.
  public init(
    classes: Int, anchors: Anchors, channels: Int = 3, width: Int = 32, pyramid: Int = 64,
    coder: BoxCoder = BoxCoder()
  ) {
    self.anchors = anchors
    self.classes = classes
    self.coder = coder
    let strides = anchors.levels.map(\.stride)
    let doubles = zip(strides, strides.dropFirst()).allSatisfy { $1 == Shape.product(2, $0) }
    let isPower = strides[0] >= 2 && strides[0] & (strides[0] - 1) == 0
    let isDeep = strides.last! > 1 << 12
    fault =
      doubles && isPower && !isDeep
      ? nil
      : ApusError(
        .invalidArgument, "a single-shot detector for anchors with strides \(strides)",
        expected: "powers of two from 2 to 4096, each twice the one before")
    let halvings = fault == nil ? strides.last!.trailingZeroBitCount : 1
    let widths = (0..<halvings).map { Shape.product(width, 1 << min($0, 2)) }
    stem = .ofResiduals(channels, width, 3, stride: 2)
    bn = BatchNorm(width)
    stages = zip(widths, widths.dropFirst()).map { ResidualBlock($0, $1, stride: 2) }
    let used = fault == nil ? widths.suffix(strides.count) : []
    laterals = used.map { Conv2d($0, pyramid, 1) }
    heads = zip(used, anchors.levels).map { DetectionHead(pyramid, $1.countPerCell, classes) }
  }

  public var parts: [(name: String, value: Any)] {
    [
      ("scope", scope), ("stem", stem), ("bn", bn), ("stages", stages), ("laterals", laterals),
      ("heads", heads),
    ] + (fault.map { [("anchors", $0)] } ?? [])
  }

  /// - Returns: logits `[n, anchors, classes]` and offsets `[n, anchors, 4]`.
  public func callAsFunction(
    _ images: Tensor, file: StaticString = #fileID, line: UInt = #line
  ) -> (logits: Tensor, offsets: Tensor) {
    scoped(file: file, line: line) { forward(images) }
  }

  private func forward(_ images: Tensor) -> (logits: Tensor, offsets: Tensor) {
    guard images.isPoisoned || fits(images.shape), fault == nil else {
      let error =
        fault
        ?? ApusError(
          .shapeMismatch, "SingleShotDetector: the images are \(images.type)",
          expected: "[n, \(anchors.height), \(anchors.width), channels], as the anchors have it")
      let poisoned = Tensor.poisoned(error, like: images)
      return (poisoned, poisoned)
    }
    if images.isPoisoned { return (images, images) }
    var features: [Tensor] = []
    var x = relu(bn(stem(images)))
    for (place, stage) in ([nil] + stages.map { $0 }).enumerated() {
      if let stage { x = stage(x) }
      if place > stages.count - laterals.count { features.append(x) }
    }
    var above: Tensor?
    var pyramid: [Tensor] = []
    for (lateral, feature) in zip(laterals, features).reversed() {
      var level = lateral(feature)
      if let above {
        level = level + interpolate(above, size: Array(level.shape.dimensions[1...2]))
      }
      above = level
      pyramid.insert(level, at: 0)
    }
    let all = zip(heads, pyramid).map { $0($1) }
    return (concat(all.map(\.logits), axis: 1), concat(all.map(\.offsets), axis: 1))
  }

  private func fits(_ shape: Shape) -> Bool {
    shape.rank == 4 && shape[1] == anchors.height && shape[2] == anchors.width
  }

  /// What the model has found in the images of a batch, on the host.
  ///
  ///     let predict = try Predictor(model) { model, x in
  ///       let found = model(x[0])
  ///       return [found.logits, found.offsets]
  ///     }
  ///     let arrays = try predict.run([images])
  ///     let found = try model.detections(arrays[0], arrays[1])      // one an image
  ///
  /// A box has the probability of its class as its score. The best thousand of an image go through non-maximum
  /// suppression within each class; boxes are cut at the image's edges.
  ///
  /// - `logits`: `[n, anchors, classes]`.
  /// - `offsets`: `[n, anchors, 4]`.
  /// - `scoreThreshold`: boxes of this score or less are left out.
  /// - `iouThreshold`: of the suppression.
  /// - `maximum`: the most boxes of an image.
  /// - Throws: `shapeMismatch` for arrays of other shapes, `nonFinite` naming an image with logits or offsets that are no
  ///   numbers, `invalidArgument` for thresholds outside 0 to 1.
  public func detections(
    _ logits: NDArray, _ offsets: NDArray, scoreThreshold: Double = 0.05,
    iouThreshold: Double = 0.5, maximum: Int = 100
  ) throws -> [Detections] {
    if let fault { throw fault }
    try coder.check()
    let count = anchors.count
    guard logits.shape.rank == 3, logits.shape == [logits.shape[0], count, classes],
      offsets.shape == [logits.shape[0], count, 4]
    else {
      throw ApusError(
        .shapeMismatch, "detections of logits \(logits.type) and offsets \(offsets.type)",
        expected: "[n, \(count), \(classes)] and [n, \(count), 4]")
    }
    guard (0...1).contains(scoreThreshold), (0...1).contains(iouThreshold), maximum >= 0 else {
      throw ApusError(
        .invalidArgument,
        "at most \(maximum) detections above \(scoreThreshold), suppressed from \(iouThreshold) on",
        expected: "a number of 0 or more, and thresholds from 0 to 1")
    }
    let (scores, codes) = (logits.doubles, offsets.doubles)
    return try (0..<logits.shape[0]).map { image in
      let scores = scores[image * count * classes..<(image + 1) * count * classes]
      let codes = codes[image * count * 4..<(image + 1) * count * 4]
      guard scores.allSatisfy({ !$0.isNaN }), codes.allSatisfy({ $0.isFinite }) else {
        throw ApusError(
          .nonFinite, "image \(image) has logits or offsets that are no numbers",
          expected: "what a model with finite weights gives")
      }
      return try found(Array(scores), Array(codes), scoreThreshold, iouThreshold, maximum)
    }
  }

  private func found(
    _ logits: [Double], _ codes: [Double], _ scoreThreshold: Double, _ iouThreshold: Double,
    _ maximum: Int
  ) throws -> Detections {
    var candidates: [(anchor: Int, label: Int, score: Double, box: Box)] = []
    for (place, logit) in logits.enumerated() {
      let score = 1 / (1 + exp(-logit))
      guard score > scoreThreshold else { continue }
      let anchor = place / classes
      let box = coder.decode(codes[4 * anchor..<4 * anchor + 4], anchors.corners[anchor])
        .clipped(height: anchors.height, width: anchors.width)
      guard box.width > 0, box.height > 0 else { continue }
      candidates.append((anchor, place % classes, score, box))
    }
    let best = fallingOrder(candidates.map(\.score)).prefix(1000).map { candidates[$0] }
    let kept = suppressed(
      best.map(\.box), best.map(\.score), labels: best.map(\.label), iouThreshold
    ).prefix(maximum).map { best[$0] }
    return try Detections(
      boxes: Boxes.write(kept.map(\.box)),
      scores: NDArray(checking: kept.map { Float($0.score) }, shape: [kept.count]),
      labels: NDArray(checking: kept.map { Int32($0.label) }, shape: [kept.count]))
  }
}

/// What is said of the anchors around each cell of one feature map.
struct DetectionHead: Module, Sendable {
  let scope = Scope()
  let conv: Conv2d
  let classes: Conv2d
  /// At first every class has a probability of 1 %: else the loss of all the background would be the first thing
  /// that is learnt.
  let prior: Parameter
  let boxes: Conv2d
  private let anchors: Int
  private let classCount: Int

  init(_ inputs: Int, _ anchors: Int, _ classes: Int) {
    self.anchors = anchors
    classCount = classes
    let outputs = Shape.product(anchors, classes)
    conv = Conv2d(inputs, inputs, 3, padding: 1, initializer: .kaimingNormal)
    let small = Initializer.normal(mean: 0, deviation: 0.01)
    self.classes = Conv2d(inputs, outputs, 3, padding: 1, bias: false, initializer: small)
    prior = Parameter([outputs], .constant(-log(99.0)))
    boxes = Conv2d(inputs, Shape.product(anchors, 4), 3, padding: 1, initializer: small)
  }

  func callAsFunction(_ x: Tensor) -> (logits: Tensor, offsets: Tensor) {
    scoped {
      let features = relu(conv(x))
      let cells = Shape.product(x.shape[1], x.shape[2])
      let rows = Shape.product(cells, anchors)
      return (
        (classes(features) + prior.tensor).reshaped([x.shape[0], rows, classCount]),
        boxes(features).reshaped([x.shape[0], rows, 4])
      )
    }
  }
}
