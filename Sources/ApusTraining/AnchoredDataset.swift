// Images with boxes, as a detector learns from them: with what its anchors are to say.

import ApusData
import ApusGraph
import ApusNN

/// A data set of images with boxes, whose boxes become the targets of anchors as batches are made.
///
///     let scenes = try ComposedScenes(data.train, count: 8000, contents: [.boxes])
///     let examples = try AnchoredDataset(scenes, anchors: model.anchors, classes: 10)
///     let batches = try examples.batched(32)   // images, classes i32[32,480], offsets f32[32,480,4]
///
/// In the place of the set's `boxes`, f32[m, 4], and `labels`, i32[m] (-1 for a row that is no box), batches have
/// `classes` and `offsets`, as ``ApusNN/Anchors/targets(boxes:labels:classes:positive:negative:coder:)`` makes them. The
/// other fields stay. It is done on the thread that prepares batches, a batch at a time.
public struct AnchoredDataset: Dataset {
  public let base: any Dataset
  public let anchors: Anchors
  public let classes: Int
  public let positive: Double
  public let negative: Double
  public let coder: BoxCoder
  public let fields: [ExampleField]
  private let places: (boxes: Int, labels: Int)

  /// - `base`: has `boxes` and `labels`.
  /// - `classes`: of the labels.
  /// - `positive`, `negative`: see ``ApusNN/Anchors/targets(boxes:labels:classes:positive:negative:coder:)``.
  /// - Throws: `missing` where the set has no boxes or labels, `shapeMismatch` or `dtypeMismatch` where they are not
  ///   f32[m, 4] and i32[m], `invalidArgument` for thresholds that make no sense. What is wrong with a box is thrown
  ///   when its batch is made.
  public init(
    _ base: any Dataset, anchors: Anchors, classes: Int, positive: Double = 0.5,
    negative: Double = 0.4, coder: BoxCoder = BoxCoder()
  ) throws {
    let names = base.fields.map(\.name)
    func place(_ name: String) throws -> Int {
      guard let place = names.firstIndex(of: name) else {
        throw ApusError(
          .missing, "the data set has no '\(name)', only \(names.joined(separator: ", "))",
          expected: "boxes f32[m,4] and labels i32[m] in every example")
      }
      return place
    }
    places = (try place("boxes"), try place("labels"))
    let (boxes, labels) = (base.fields[places.boxes].type, base.fields[places.labels].type)
    guard boxes.shape.rank == 2, boxes.shape[1] == 4, labels.shape == [boxes.shape[0]] else {
      throw ApusError(
        .shapeMismatch, "the data set has boxes \(boxes) and labels \(labels)",
        expected: "f32[m,4] and i32[m]")
    }
    guard boxes.dtype == .f32, labels.dtype == .i32 else {
      throw ApusError(
        .dtypeMismatch, "the data set has boxes \(boxes) and labels \(labels)",
        expected: "f32[m,4] and i32[m]")
    }
    try Anchors.check(positive: positive, negative: negative)
    try coder.check()
    self.base = base
    self.anchors = anchors
    self.classes = classes
    self.positive = positive
    self.negative = negative
    self.coder = coder
    var fields = base.fields
    fields[places.boxes] = ExampleField("offsets", .f32(anchors.count, 4))
    fields[places.labels] = ExampleField("classes", .i32(anchors.count))
    self.fields = fields
  }

  public var count: Int { base.count }
  public var identity: String { base.identity }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>
  ) throws {
    try fill(targets, with: examples, in: EpochKey())
  }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>, in epoch: EpochKey
  ) throws {
    let most = base.fields[places.boxes].type.shape[0]
    var boxes = try NDArray(checking: .f32(examples.count, most, 4))
    var labels = try NDArray(checking: .i32(examples.count, most))
    try boxes.withUnsafeMutableBytes { boxBytes in
      try labels.withUnsafeMutableBytes { labelBytes in
        var own = targets
        own[places.boxes] = boxBytes
        own[places.labels] = labelBytes
        try base.fill(own, with: examples, in: epoch)
      }
    }
    let classNumbers = targets[places.labels].bindMemory(to: Int32.self)
    let offsets = targets[places.boxes].bindMemory(to: Float.self)
    for (place, example) in examples.enumerated() {
      do {
        let truth = try GroundTruth(
          boxes: boxes[place], labels: labels[place], classes: classes)
        let rows = place * anchors.count..<(place + 1) * anchors.count
        try anchors.write(
          truth, positive, negative, coder, .init(rebasing: classNumbers[rows]),
          .init(rebasing: offsets[4 * rows.lowerBound..<4 * rows.upperBound]))
      } catch let error as ApusError {
        throw error.located(at: "example \(example)")
      }
    }
  }
}
