// How a detector's numbers mean boxes: offsets from anchors.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Boxes as offsets from anchors, and back: the middles' distance in sizes of the anchor, and the logarithm of the
/// sizes' ratio, each over a variance (Girshick et al. 2014, "Rich feature hierarchies"; the variances are SSD's).
///
///     tx = (x - xa) / wa / centerVariance      tw = log(w / wa) / sizeVariance
///
///     let offsets = try BoxCoder().encode(truth, anchors.boxes)      // f32[480,4] both → f32[480,4]
///     let boxes = try BoxCoder().decode(offsets, anchors.boxes)
///
/// The variances bring the offsets near a deviation of 1. torchvision's `BoxCoder((10, 10, 5, 5))` is this default:
/// its weights are 1 over the variances.
public struct BoxCoder: Sendable, Hashable {
  public var centerVariance: Double
  public var sizeVariance: Double

  public init(centerVariance: Double = 0.1, sizeVariance: Double = 0.2) {
    self.centerVariance = centerVariance
    self.sizeVariance = sizeVariance
  }

  /// The offsets of boxes from anchors, one each: `[n, 4]` both → `f32[n, 4]`.
  ///
  /// - Throws: as ``Boxes``; `shapeMismatch` where there are not as many boxes as anchors; `invalidArgument` for a
  ///   box or an anchor without an area, which has no logarithm, and for variances that are not above 0.
  public func encode(_ boxes: NDArray, _ anchors: NDArray) throws -> NDArray {
    try check()
    let (boxes, anchors) = try paired(
      Boxes.read(boxes, "BoxCoder.encode"), Boxes.read(anchors, "BoxCoder.encode"))
    var values: [Float] = []
    values.reserveCapacity(4 * boxes.count)
    for (index, (box, anchor)) in zip(boxes, anchors).enumerated() {
      guard box.width > 0, box.height > 0, anchor.width > 0, anchor.height > 0 else {
        throw ApusError(
          .invalidArgument, "BoxCoder.encode: box or anchor \(index) has no area",
          expected: "a width and a height above 0")
      }
      values += encode(box, anchor)
    }
    return try NDArray(checking: values, shape: [boxes.count, 4])
  }

  /// The boxes that offsets from anchors mean: `[n, 4]` both → `f32[n, 4]`.
  ///
  /// A box is at most 62.5 times as large as its anchor, as in torchvision: an untrained network does not overflow.
  ///
  /// - Throws: as ``encode(_:_:)``; `nonFinite` naming offsets that are no finite numbers.
  public func decode(_ offsets: NDArray, _ anchors: NDArray) throws -> NDArray {
    try check()
    guard offsets.shape.rank == 2, offsets.shape[1] == 4 else {
      throw ApusError(
        .shapeMismatch, "BoxCoder.decode: the offsets are \(offsets.type)",
        expected: "numbers of shape [n, 4]")
    }
    let values = offsets.doubles
    let anchors = try Boxes.read(anchors, "BoxCoder.decode")
    guard anchors.count == offsets.shape[0] else {
      throw ApusError(
        .shapeMismatch,
        "BoxCoder.decode: \(offsets.shape[0]) offsets from \(anchors.count) anchors",
        expected: "as many offsets as anchors")
    }
    return try Boxes.write(
      anchors.enumerated().map { index, anchor in
        let offset = values[4 * index..<4 * index + 4]
        guard offset.allSatisfy({ $0.isFinite }) else {
          throw ApusError(
            .nonFinite, "BoxCoder.decode: the offsets \(index) are \(Array(offset))",
            expected: "finite numbers")
        }
        let box = decode(offset, anchor)
        guard [box.x0, box.y0, box.x1, box.y1].allSatisfy({ Float($0).isFinite }) else {
          throw ApusError(
            .nonFinite, "BoxCoder.decode: the offsets \(index) are \(Array(offset))",
            expected: "a box with coordinates that f32 holds")
        }
        return box
      })
  }

  func encode(_ box: Box, _ anchor: Box) -> [Float] {
    let x = (box.x0 + box.x1 - anchor.x0 - anchor.x1) / 2 / anchor.width
    let y = (box.y0 + box.y1 - anchor.y0 - anchor.y1) / 2 / anchor.height
    return [
      Float(x / centerVariance), Float(y / centerVariance),
      Float(log(box.width / anchor.width) / sizeVariance),
      Float(log(box.height / anchor.height) / sizeVariance),
    ]
  }

  func decode(_ offset: ArraySlice<Double>, _ anchor: Box) -> Box {
    let t = Array(offset)
    let most = log(1000.0 / 16)
    let x = (anchor.x0 + anchor.x1) / 2 + t[0] * centerVariance * anchor.width
    let y = (anchor.y0 + anchor.y1) / 2 + t[1] * centerVariance * anchor.height
    let width = anchor.width * exp(min(t[2] * sizeVariance, most))
    let height = anchor.height * exp(min(t[3] * sizeVariance, most))
    return Box(x0: x - width / 2, y0: y - height / 2, x1: x + width / 2, y1: y + height / 2)
  }

  /// - Throws: `invalidArgument` for variances that are not above 0.
  package func check() throws {
    guard centerVariance > 0, sizeVariance > 0, centerVariance.isFinite, sizeVariance.isFinite
    else {
      throw ApusError(
        .invalidArgument,
        "a box coder with variances \(centerVariance) and \(sizeVariance)",
        expected: "finite numbers above 0")
    }
  }

  private func paired(_ boxes: [Box], _ anchors: [Box]) throws -> ([Box], [Box]) {
    guard boxes.count == anchors.count else {
      throw ApusError(
        .shapeMismatch, "BoxCoder.encode: \(boxes.count) boxes for \(anchors.count) anchors",
        expected: "a box for each anchor")
    }
    return (boxes, anchors)
  }
}
