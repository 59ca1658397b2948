// Where a detector looks: boxes of a few sizes and shapes around every cell of its feature maps.

import ApusGraph

/// The anchors of a single-shot detector for images of one size (Ren et al. 2015, "Faster R-CNN"; Liu et al. 2016,
/// "SSD"): around the middle of each cell of each feature map, a box of each size and aspect ratio.
///
///     let anchors = try Anchors(
///       [.init(stride: 8, sizes: [16, 24]), .init(stride: 16, sizes: [32, 44])], height: 64, width: 64)
///     anchors.boxes.shape                                        // [480, 4]
///     let targets = try anchors.targets(boxes: boxes, labels: labels, classes: 10)
///
/// Cells of a level stand `stride` pixels apart, `⌈height / stride⌉ x ⌈width / stride⌉` of them. Anchors are ordered by
/// level, row, column, size and ratio, as ``SingleShotDetector`` orders what it says of them. They may reach
/// beyond the image.
public struct Anchors: Sendable, Hashable {
  /// The anchors of one feature map.
  public struct Level: Sendable, Hashable {
    /// Pixels of the image from one cell to the next.
    public var stride: Int
    /// Sides of square anchors, in pixels.
    public var sizes: [Double]
    /// Height over width, at the same area.
    public var aspectRatios: [Double]

    public init(stride: Int, sizes: [Double], aspectRatios: [Double] = [0.5, 1, 2]) {
      self.stride = stride
      self.sizes = sizes
      self.aspectRatios = aspectRatios
    }

    /// Anchors around each cell.
    public var countPerCell: Int { Shape.product(sizes.count, aspectRatios.count) }
  }

  /// What the anchors of one image are to say.
  public struct Targets: Sendable, Hashable {
    /// `i32[anchors]`: 0 for background, `c + 1` for class c, -1 where an anchor counts for nothing.
    public var classes: NDArray
    /// `f32[anchors, 4]`: the boxes as ``BoxCoder`` says them; 0 where there is none.
    public var offsets: NDArray
  }

  public let levels: [Level]
  public let height: Int
  public let width: Int
  /// `f32[anchors, 4]`, corners in pixels.
  public let boxes: NDArray
  let corners: [Box]

  /// - Throws: `invalidArgument` without levels, for a level without sizes or ratios or with one that is not above 0,
  ///   for a stride below 1, an image without pixels, and more than 2^22 anchors.
  public init(_ levels: [Level], height: Int, width: Int) throws {
    guard height > 0, width > 0 else {
      throw ApusError(
        .invalidArgument, "anchors for images of \(height) x \(width)", expected: "pixels")
    }
    guard !levels.isEmpty else {
      throw ApusError(.invalidArgument, "no level of anchors", expected: "at least one")
    }
    var count = 0
    for (index, level) in levels.enumerated() {
      guard level.stride >= 1 else {
        throw ApusError(
          .invalidArgument, "level \(index) of the anchors has stride \(level.stride)",
          expected: "at least 1 pixel")
      }
      for (name, values) in [("sizes", level.sizes), ("aspect ratios", level.aspectRatios)] {
        guard !values.isEmpty, values.allSatisfy({ $0 > 0 && $0 <= 1e6 }) else {
          throw ApusError(
            .invalidArgument, "level \(index) of the anchors has \(name) \(values)",
            expected: "at least one number, each above 0 and at most a million")
        }
      }
      let (rows, columns) = Self.cells(level.stride, height, width)
      let own = Shape.product(Shape.product(rows, columns), level.countPerCell)
      count = min(own, 1 << 32) + count
    }
    guard count <= 1 << 22 else {
      throw ApusError(
        .invalidArgument, "\(count) anchors for images of \(height) x \(width)",
        expected: "at most \(1 << 22)")
    }
    self.levels = levels
    self.height = height
    self.width = width
    corners = levels.flatMap { Self.boxes(of: $0, height, width) }
    boxes = try Boxes.write(corners)
  }

  /// The number of anchors.
  public var count: Int { corners.count }

  /// The extents of a level's feature map.
  static func cells(_ stride: Int, _ height: Int, _ width: Int) -> (rows: Int, columns: Int) {
    ((height - 1) / stride + 1, (width - 1) / stride + 1)
  }

  private static func boxes(of level: Level, _ height: Int, _ width: Int) -> [Box] {
    let (rows, columns) = cells(level.stride, height, width)
    var boxes: [Box] = []
    boxes.reserveCapacity(rows * columns * level.countPerCell)
    for row in 0..<rows {
      for column in 0..<columns {
        let y = (Double(row) + 0.5) * Double(level.stride)
        let x = (Double(column) + 0.5) * Double(level.stride)
        for size in level.sizes {
          for ratio in level.aspectRatios {
            let (h, w) = (size * ratio.squareRoot() / 2, size / ratio.squareRoot() / 2)
            boxes.append(Box(x0: x - w, y0: y - h, x1: x + w, y1: y + h))
          }
        }
      }
    }
    return boxes
  }

  /// What the anchors are to say of an image with these boxes.
  ///
  /// An anchor takes the box that it overlaps most, where that is by `positive` or more; by less than `negative` it is
  /// background; between, it counts for nothing. So that small boxes are not left out, the anchors that overlap a box
  /// most take it in any case, unless they hold one that they overlap more.
  ///
  /// - `boxes`: `[m, 4]`, corners in pixels; m may be 0.
  /// - `labels`: integers `[m]` in `0..<classes`; -1 for a row that is no box.
  /// - `classes`: how many there are.
  /// - `positive`, `negative`: intersections over unions, with 0 ≤ negative ≤ positive ≤ 1.
  /// - Throws: as ``Boxes``; `shapeMismatch` for another number of labels, `dtypeMismatch` where they are no integers,
  ///   `outOfRange` naming one that is no class, `invalidArgument` for a box without an area and for thresholds that
  ///   make no sense.
  public func targets(
    boxes: NDArray, labels: NDArray, classes: Int, positive: Double = 0.5, negative: Double = 0.4,
    coder: BoxCoder = BoxCoder()
  ) throws -> Targets {
    try coder.check()
    try Self.check(positive: positive, negative: negative)
    let truth = try GroundTruth(boxes: boxes, labels: labels, classes: classes)
    var targets = Targets(
      classes: try NDArray(checking: .i32(count)), offsets: try NDArray(checking: .f32(count, 4)))
    try targets.classes.withUnsafeMutableBytes { classBytes in
      try targets.offsets.withUnsafeMutableBytes { offsetBytes in
        try write(
          truth, positive, negative, coder, classBytes.bindMemory(to: Int32.self),
          offsetBytes.bindMemory(to: Float.self))
      }
    }
    return targets
  }

  /// - Throws: `invalidArgument` for thresholds that make no sense.
  package static func check(positive: Double, negative: Double) throws {
    guard 0 <= negative, negative <= positive, positive <= 1 else {
      throw ApusError(
        .invalidArgument,
        "anchors hold a box from \(positive) on and are background below \(negative)",
        expected: "0 ≤ negative ≤ positive ≤ 1")
    }
  }

  /// The targets, into memory of `count` class numbers and four times as many offsets.
  package func write(
    _ truth: GroundTruth, _ positive: Double, _ negative: Double, _ coder: BoxCoder,
    _ classes: UnsafeMutableBufferPointer<Int32>, _ offsets: UnsafeMutableBufferPointer<Float>
  ) throws {
    var best = Array(repeating: -1, count: count)
    var overlap = Array(repeating: 0.0, count: count)
    var least = Array(repeating: 0.0, count: truth.count)
    for (index, box) in truth.corners.enumerated() {
      guard box.width > 0, box.height > 0 else {
        throw ApusError(
          .invalidArgument, "box \(index) of the image has no area: \(box)",
          expected: "a width and a height above 0")
      }
      for (place, anchor) in corners.enumerated() {
        let iou = box.iou(anchor)
        least[index] = max(least[index], iou)
        if iou > overlap[place] { (overlap[place], best[place]) = (iou, index) }
      }
    }
    offsets.update(repeating: 0)
    for place in 0..<count {
      let isHeld = best[place] >= 0 && overlap[place] >= positive
      classes[place] = isHeld ? 1 : overlap[place] < negative ? 0 : -1
    }
    // A box that no anchor is near enough to is taken by the nearest.
    for (index, box) in truth.corners.enumerated() where least[index] > 0 {
      for (place, anchor) in corners.enumerated() where box.iou(anchor) == least[index] {
        // Not away from a box that it is nearer to.
        guard classes[place] != 1 || best[place] == index || overlap[place] <= least[index] else {
          continue
        }
        (best[place], classes[place]) = (index, 1)
      }
    }
    for place in 0..<count where classes[place] == 1 {
      let index = best[place]
      classes[place] = Int32(truth.classNumbers[index] + 1)
      let code = coder.encode(truth.corners[index], corners[place])
      for k in 0..<4 { offsets[4 * place + k] = code[k] }
    }
  }
}
