// Scenes composed of labelled images: what segmentation and detection learn where nobody has drawn masks.

import ApusGraph

/// Scenes of several items on a noisy ground, with the class of each pixel and the box of each item, known by
/// construction.
///
///     let data = try FashionMNIST()
///     let scenes = try ComposedScenes(data.train, count: 8000, seed: 1)
///     let batches = try scenes.batched(32)      // images f32[32,64,64,1], masks i32[32,64,64]
///
/// A scene is made when it is asked for, of its number and the seed alone: equal ones are equal, in whatever order
/// and on whatever thread. It has 1 to 4 items (`objects`). Each is drawn from the set, made smaller or
/// larger by a factor out of `scales`, and put at a random place where its square overlaps no earlier one by more than
/// `maximumOverlap` of the smaller; after twenty places that do not fit it is left out. Pixels of an item are those
/// of ``itemThreshold`` or more; they cover what earlier items have there. What belongs to no item is noise.
///
/// Batches have `images`, f32[n, height, width, channels], under the scale of the items, and what `contents` names:
///
/// - ``Content/masks``: `masks`, i32[n, height, width]: 0 for ground, `c + 1` for an item of class c.
/// - ``Content/boxes``: `boxes`, f32[n, most items, 4], x0, y0, x1, y1 in pixels around what is to be seen of each item,
///   and `labels`, i32[n, most items]: its class, or -1 where there is none.
public struct ComposedScenes: Dataset {
  /// What batches have beside the images.
  public enum Content: String, Sendable, Hashable, CaseIterable {
    case masks
    case boxes
  }

  /// The least byte that is a pixel of an item and not of the ground around it.
  public static let itemThreshold = 16

  public let items: LabeledImages
  public let count: Int
  public let height: Int
  public let width: Int
  public let objects: ClosedRange<Int>
  public let scales: ClosedRange<Double>
  public let maximumOverlap: Double
  /// The ground's bytes are uniform in `0...noise`.
  public let noise: Int
  public let contents: [Content]
  public let seed: UInt64
  public let fields: [ExampleField]
  private let sides: ClosedRange<Int>

  /// - `items`: of any classes; scenes of training images and of test images have no item in common.
  /// - `count`: scenes of the set.
  /// - Throws: `invalidArgument` for negative counts, more than 64 items, images of no pixel or more than 4096 on a
  ///   side, scales that are not above 0, an item that is larger than the scene or smaller than a pixel, an overlap
  ///   outside 0 to 1, noise outside 0 to 255, contents named twice, and for no items to compose of.
  public init(
    _ items: LabeledImages, count: Int, height: Int = 64, width: Int = 64,
    objects: ClosedRange<Int> = 1...4, scales: ClosedRange<Double> = 0.75...1.25,
    maximumOverlap: Double = 0.25, noise: Int = 48, contents: [Content] = [.masks],
    seed: UInt64 = 0
  ) throws {
    func expect(
      _ holds: Bool, _ what: @autoclosure () -> String, _ expected: String
    ) throws {
      if !holds { throw ApusError(.invalidArgument, "scenes with \(what())", expected: expected) }
    }
    try expect(count >= 0, "a count of \(count)", "0 or more")
    try expect(
      (1...4096).contains(height) && (1...4096).contains(width), "\(height) x \(width) pixels",
      "1 to 4096 on each side")
    try expect(
      objects.lowerBound >= 0 && objects.upperBound <= 64, "\(objects) items", "0 to 64")
    try expect(
      items.count > 0 || objects.upperBound == 0, "items out of a set of none",
      "at least one image, or objects: 0...0")
    try expect(
      (0...1).contains(maximumOverlap), "overlaps up to \(maximumOverlap)", "0 to 1")
    try expect((0...255).contains(noise), "noise up to \(noise)", "0 to 255")
    try expect(Set(contents).count == contents.count, "contents \(contents)", "each once")
    let image = items.fields[0].type.shape
    try expect(
      image.dimensions.allSatisfy { $0 >= 1 }, "items of shape \(image)", "pixels and a channel")
    let side = Double(max(image[0], image[1]))
    try expect(
      scales.lowerBound > 0 && scales.upperBound * side <= Double(min(height, width))
        && scales.lowerBound * side >= 1, "items of \(image) scaled by \(scales)",
      "factors above 0, by which items have a pixel and fit into \(height) x \(width)")
    self.items = items
    self.count = count
    self.height = height
    self.width = width
    self.objects = objects
    self.scales = scales
    self.maximumOverlap = maximumOverlap
    self.noise = noise
    self.contents = contents
    self.seed = seed
    let least = Int((scales.lowerBound * side).rounded())
    sides = least...max(least, Int((scales.upperBound * side).rounded()))
    fields =
      [ExampleField("images", .f32(height, width, image[2]))]
      + contents.flatMap { content in
        switch content {
        case .masks: [ExampleField("masks", .i32(height, width))]
        case .boxes:
          [
            ExampleField("boxes", .f32(objects.upperBound, 4)),
            ExampleField("labels", .i32(objects.upperBound)),
          ]
        }
      }
  }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>
  ) {
    for (place, example) in examples.enumerated() {
      var field = 1
      let scene = Scene(self, example)
      scene.bytes.withUnsafeBufferPointer { bytes in
        let image = targets[0].bindMemory(to: Float.self).baseAddress! + place * bytes.count
        items.scale.apply(image, bytes.baseAddress!, bytes.count)
      }
      for content in contents {
        switch content {
        case .masks:
          let masks = targets[field].bindMemory(to: Int32.self)
          for (pixel, owner) in scene.owners.enumerated() {
            masks[place * scene.owners.count + pixel] =
              owner < 0 ? 0 : Int32(scene.labels[owner] + 1)
          }
          field += 1
        case .boxes:
          write(scene, place, targets[field], targets[field + 1])
          field += 2
        }
      }
    }
  }

  /// The boxes of a scene, then rows that are none.
  private func write(
    _ scene: Scene, _ place: Int, _ boxes: UnsafeMutableRawBufferPointer,
    _ labels: UnsafeMutableRawBufferPointer
  ) {
    let most = objects.upperBound
    let (boxes, labels) = (boxes.bindMemory(to: Float.self), labels.bindMemory(to: Int32.self))
    let there = scene.boxes(width: width)
    for row in 0..<most {
      let isThere = row < there.count
      labels[place * most + row] = isThere ? Int32(there[row].label) : -1
      for k in 0..<4 {
        boxes[(place * most + row) * 4 + k] = isThere ? Float(there[row].corners[k]) : 0
      }
    }
  }
}

extension ComposedScenes {
  /// One scene.
  private struct Scene {
    var bytes: [UInt8]
    /// The item that each pixel belongs to; -1 for the ground.
    var owners: [Int]
    /// The class of each item.
    var labels: [Int] = []

    init(_ scenes: ComposedScenes, _ index: Int) {
      // "scen"
      var words = PhiloxWords(seed: scenes.seed, purpose: 0x7363_656e, number: index)
      let channels = scenes.fields[0].type.shape[2]
      let (height, width) = (scenes.height, scenes.width)
      let count =
        scenes.objects.lowerBound
        + words.next(below: scenes.objects.upperBound - scenes.objects.lowerBound + 1)
      owners = Array(repeating: -1, count: height * width)
      bytes = []
      bytes.reserveCapacity(height * width * channels)
      let levels = UInt64(scenes.noise + 1)
      while bytes.count < height * width * channels {
        var bits = words.next()
        for _ in 0..<min(4, height * width * channels - bytes.count) {
          bytes.append(UInt8(((bits & 0xff) * levels) >> 8))
          bits >>= 8
        }
      }
      var squares: [(x: Int, y: Int, side: Int)] = []
      for _ in 0..<count {
        let example = words.next(below: scenes.items.count)
        let side = scenes.sides.lowerBound + words.next(below: scenes.sides.count)
        for _ in 0..<20 {
          let x = words.next(below: width - side + 1), y = words.next(below: height - side + 1)
          let fits = squares.allSatisfy { other in
            let w = min(x + side, other.x + other.side) - max(x, other.x)
            let h = min(y + side, other.y + other.side) - max(y, other.y)
            let smaller = min(side, other.side)
            let overlap = Double(max(w, 0) * max(h, 0))
            return overlap <= scenes.maximumOverlap * Double(smaller * smaller)
          }
          guard fits else { continue }
          squares.append((x, y, side))
          paint(scenes, example, x, y, side)
          break
        }
      }
    }

    /// An item over what is there: resampled bilinearly, pixels being squares whose middles count.
    private mutating func paint(
      _ scenes: ComposedScenes, _ example: Int, _ x: Int, _ y: Int, _ side: Int
    ) {
      let shape = scenes.items.fields[0].type.shape
      let (rows, columns, channels) = (shape[0], shape[1], shape[2])
      let owner = labels.count
      let step = Float(max(rows, columns)) / Float(side)
      // The longer side of the item is the square's.
      let height = max(1, side * rows / max(rows, columns))
      let width = max(1, side * columns / max(rows, columns))
      /// Where a pixel reads: two neighbours and the second one's weight.
      func neighbours(_ place: Int, _ extent: Int) -> (first: Int, second: Int, weight: Float) {
        let at = max((Float(place) + 0.5) * step - 0.5, 0)
        let first = min(Int(at), extent - 1)
        return (first, min(first + 1, extent - 1), min(at - Float(first), 1))
      }
      var colours: [UInt8] = Array(repeating: 0, count: channels)
      let across = (0..<width).map { neighbours($0, columns) }
      labels.append(scenes.items.label(of: example))
      scenes.items.pixels.withUnsafeBytes { pixels in
        let item = pixels[(example * rows * columns * channels)...].prefix(
          rows * columns * channels)
        func pixel(_ row: Int, _ column: Int, _ channel: Int) -> Float {
          Float(item[item.startIndex + (row * columns + column) * channels + channel])
        }
        for row in 0..<height {
          let down = neighbours(row, rows)
          for (column, side) in across.enumerated() {
            let place = (y + row) * scenes.width + x + column
            var isItem = false
            for channel in 0..<channels {
              func line(_ row: Int) -> Float {
                pixel(row, side.first, channel) * (1 - side.weight)
                  + pixel(row, side.second, channel) * side.weight
              }
              let value = line(down.first) * (1 - down.weight) + line(down.second) * down.weight
              let byte = UInt8(min(value + 0.5, 255))
              isItem = isItem || byte >= ComposedScenes.itemThreshold
              colours[channel] = byte
            }
            guard isItem else { continue }
            owners[place] = owner
            for (channel, byte) in colours.enumerated() { bytes[place * channels + channel] = byte }
          }
        }
      }
    }

    /// Around what is to be seen of each item, in the order in which they were put; an item that others cover has none.
    func boxes(width: Int) -> [(label: Int, corners: [Int])] {
      var corners = Array(repeating: [Int.max, .max, -1, -1], count: labels.count)
      for (pixel, owner) in owners.enumerated() where owner >= 0 {
        let (x, y) = (pixel % width, pixel / width)
        corners[owner] = [
          min(corners[owner][0], x), min(corners[owner][1], y), max(corners[owner][2], x + 1),
          max(corners[owner][3], y + 1),
        ]
      }
      return zip(labels, corners).compactMap { $1[2] < 0 ? nil : ($0, $1) }
    }
  }
}
