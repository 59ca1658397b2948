// Boxes in images, on the host: how large they are, how far they overlap, their other notations.
//
// The names are torchvision's (`torchvision.ops.box_iou`). Everything is computed in double.

import ApusGraph

/// A box by its corners, in pixels: what arrays of boxes are read as.
struct Box: Sendable, Hashable {
  var x0, y0, x1, y1: Double

  var width: Double { x1 - x0 }
  var height: Double { y1 - y0 }
  var area: Double { width * height }

  func intersection(_ other: Box) -> Double {
    let width = min(x1, other.x1) - max(x0, other.x0)
    let height = min(y1, other.y1) - max(y0, other.y0)
    return width > 0 && height > 0 ? width * height : 0
  }

  /// 0 of two boxes without an area.
  func iou(_ other: Box) -> Double {
    let both = intersection(other)
    let union = area + other.area - both
    return union > 0 ? both / union : 0
  }
}

/// What is done with boxes: arrays `[n, 4]` of `x0, y0, x1, y1`, x to the right and y down, in pixels.
///
///     let overlaps = try Boxes.iou(found, truth)        // f32[5,4], f32[3,4] → f32[5,3]
///     let corners = try Boxes.converted(boxes, from: .centerSize, to: .corners)
///
/// Every function throws `shapeMismatch` for an array that is not `[n, 4]`, `nonFinite` naming a box with a coordinate
/// that is no finite number, and `invalidArgument` naming a box that ends before it begins. A box without an area
/// is a box; no boxes at all, `[0, 4]`, are allowed everywhere.
public enum Boxes {
  /// What the four numbers of a box are.
  public enum Notation: String, Sendable, Hashable, CaseIterable {
    /// `x0, y0, x1, y1`: torchvision's `xyxy`.
    case corners
    /// `x0, y0, width, height`: `xywh`, as COCO's files have it.
    case cornerSize
    /// The middle's `x, y`, then `width, height`: `cxcywh`.
    case centerSize
  }

  /// The areas of boxes: `[n, 4]` → `f32[n]`.
  public static func area(_ boxes: NDArray) throws -> NDArray {
    let boxes = try read(boxes, "Boxes.area")
    return try NDArray(checking: boxes.map { Float($0.area) }, shape: [boxes.count])
  }

  /// The intersection over the union of each box with each other one: `[n, 4]`, `[m, 4]` → `f32[n, m]`, from 0 to 1.
  ///
  /// Two boxes without an area have 0 (torchvision: NaN).
  public static func iou(_ boxes: NDArray, _ others: NDArray) throws -> NDArray {
    try pairs(boxes, others, "Boxes.iou") { $0.iou($1) }
  }

  /// The generalised intersection over union (Rezatofighi et al. 2019): the usual one, less the share of the smallest
  /// box around both that belongs to neither; from -1 to 1, so that boxes far apart differ too.
  public static func generalizedIoU(_ boxes: NDArray, _ others: NDArray) throws -> NDArray {
    try pairs(boxes, others, "Boxes.generalizedIoU") { a, b in
      let around = Box(
        x0: min(a.x0, b.x0), y0: min(a.y0, b.y0), x1: max(a.x1, b.x1), y1: max(a.y1, b.y1)
      ).area
      guard around > 0 else { return a.iou(b) }
      let union = a.area + b.area - a.intersection(b)
      return a.iou(b) - (around - union) / around
    }
  }

  /// The boxes cut at the edges of an image: coordinates held in `0...width` and `0...height`.
  ///
  /// - Throws: `invalidArgument` for negative extents.
  public static func clipped(_ boxes: NDArray, height: Int, width: Int) throws -> NDArray {
    guard height >= 0, width >= 0 else {
      throw ApusError(
        .invalidArgument, "Boxes.clipped: an image of \(height) x \(width) pixels",
        expected: "extents of 0 or more")
    }
    return try write(
      read(boxes, "Boxes.clipped").map { $0.clipped(height: height, width: width) })
  }

  /// The same boxes in another notation.
  ///
  ///     try Boxes.converted(boxes, from: .cornerSize, to: .corners)
  public static func converted(
    _ boxes: NDArray, from: Notation, to: Notation
  ) throws -> NDArray {
    let boxes = try read(boxes, "Boxes.converted", from)
    let rows = boxes.map { box -> [Double] in
      switch to {
      case .corners: [box.x0, box.y0, box.x1, box.y1]
      case .cornerSize: [box.x0, box.y0, box.width, box.height]
      case .centerSize:
        [box.x0 + box.width / 2, box.y0 + box.height / 2, box.width, box.height]
      }
    }
    return try NDArray(checking: rows.joined().map { Float($0) }, shape: [boxes.count, 4])
  }

  /// The boxes of an array.
  ///
  /// - Throws: as the type's description says; `name` is the function's.
  static func read(
    _ array: NDArray, _ name: String, _ notation: Notation = .corners
  ) throws -> [Box] {
    guard array.shape.rank == 2, array.shape[1] == 4, array.dtype != .bool else {
      throw ApusError(
        .shapeMismatch, "\(name): the boxes are \(array.type)", expected: "numbers of shape [n, 4]")
    }
    let values = array.doubles
    return try (0..<array.shape[0]).map { index in
      let v = values[4 * index..<4 * index + 4].map { $0 }
      guard v.allSatisfy({ $0.isFinite }) else {
        throw ApusError(
          .nonFinite, "\(name): box \(index) is \(v)", expected: "finite coordinates")
      }
      let box =
        switch notation {
        case .corners: Box(x0: v[0], y0: v[1], x1: v[2], y1: v[3])
        case .cornerSize: Box(x0: v[0], y0: v[1], x1: v[0] + v[2], y1: v[1] + v[3])
        case .centerSize:
          Box(
            x0: v[0] - v[2] / 2, y0: v[1] - v[3] / 2, x1: v[0] + v[2] / 2, y1: v[1] + v[3] / 2)
        }
      guard box.width >= 0, box.height >= 0 else {
        throw ApusError(
          .invalidArgument, "\(name): box \(index) is \(v), \(box.width) x \(box.height) pixels",
          expected: notation == .corners
            ? "x0, y0, x1, y1 with x0 ≤ x1 and y0 ≤ y1"
            : "a width and a height of 0 or more")
      }
      return box
    }
  }

  static func write(_ boxes: [Box]) throws -> NDArray {
    var values: [Float] = []
    values.reserveCapacity(4 * boxes.count)
    for box in boxes { values += [Float(box.x0), Float(box.y0), Float(box.x1), Float(box.y1)] }
    return try NDArray(checking: values, shape: [boxes.count, 4])
  }

  private static func pairs(
    _ boxes: NDArray, _ others: NDArray, _ name: String, _ value: (Box, Box) -> Double
  ) throws -> NDArray {
    let (rows, columns) = (try read(boxes, name), try read(others, name))
    var result: [Float] = []
    result.reserveCapacity(Shape.product(rows.count, columns.count))
    for a in rows { for b in columns { result.append(Float(value(a, b))) } }
    return try NDArray(checking: result, shape: [rows.count, columns.count])
  }
}

extension Box {
  func clipped(height: Int, width: Int) -> Box {
    func held(_ x: Double, _ most: Int) -> Double { min(max(x, 0), Double(most)) }
    return Box(x0: held(x0, width), y0: held(y0, height), x1: held(x1, width), y1: held(y1, height))
  }
}
