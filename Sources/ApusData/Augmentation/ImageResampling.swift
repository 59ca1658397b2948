// Images of other sizes, by linear interpolation between pixels that are squares.
//
// Pixels count by their middles (`align_corners: false`). Where an image becomes smaller, `antialias` widens the filter
// to all pixels that a new one covers, as Pillow and torchvision do.

import ApusGraph

/// Which pixels along an axis make each new one, and with which weights.
struct ResamplingWeights: Sendable {
  /// For each new place, where its weights begin among `weights` and which old place the first one is of.
  private(set) var firsts: [(weight: Int, place: Int)] = []
  private(set) var weights: [Float] = []

  init(from extent: Int, to count: Int, antialias: Bool) {
    let scale = Double(extent) / Double(count)
    let width = antialias ? max(scale, 1) : 1
    for place in 0..<count {
      let middle = (Double(place) + 0.5) * scale
      let first = max(Int((middle - width + 0.5).rounded(.down)), 0)
      let end = min(Int((middle + width + 0.5).rounded(.down)), extent)
      firsts.append((weights.count, first))
      if !antialias {
        // At an end the nearest pixel counts for what would lie outside.
        let at = min(max(middle - 0.5, 0), Double(extent - 1))
        let low = Int(at)
        firsts[place].place = low
        let part = at - Double(low)
        weights += low + 1 < extent ? [Float(1 - part), Float(part)] : [1]
        continue
      }
      let raw = (first..<end).map { max(1 - abs((Double($0) - middle + 0.5) / width), 0) }
      let sum = raw.reduce(0, +)
      weights += raw.map { Float($0 / sum) }
    }
  }

  /// The weights of a new place.
  func range(_ place: Int) -> Range<Int> {
    firsts[place].weight..<(place + 1 < firsts.count ? firsts[place + 1].weight : weights.count)
  }
}

extension ImageValues {
  /// The image with another number of rows and columns.
  func resized(height newHeight: Int, width newWidth: Int, antialias: Bool) -> ImageValues {
    if newHeight == height && newWidth == width { return self }
    let across = ResamplingWeights(from: width, to: newWidth, antialias: antialias)
    let down = ResamplingWeights(from: height, to: newHeight, antialias: antialias)
    // Columns first: each row by itself, then rows as wholes.
    var wide = [Float](repeating: 0, count: height * newWidth * channels)
    values.withUnsafeBufferPointer { source in
      wide.withUnsafeMutableBufferPointer { target in
        for row in 0..<height {
          for column in 0..<newWidth {
            let to = (row * newWidth + column) * channels
            var from = place(row, across.firsts[column].place)
            for weight in across.range(column) {
              for channel in 0..<channels {
                target[to + channel] += across.weights[weight] * source[from + channel]
              }
              from += channels
            }
          }
        }
      }
    }
    let pitch = newWidth * channels
    var result = [Float](repeating: 0, count: newHeight * pitch)
    wide.withUnsafeBufferPointer { source in
      result.withUnsafeMutableBufferPointer { target in
        for row in 0..<newHeight {
          var from = down.firsts[row].place * pitch
          for weight in down.range(row) {
            let part = down.weights[weight]
            for place in 0..<pitch { target[row * pitch + place] += part * source[from + place] }
            from += pitch
          }
        }
      }
    }
    return ImageValues(unchecked: result, newHeight, newWidth, channels)
  }
}

extension ImageValues {
  /// The image with so many rows and columns, with antialiasing.
  ///
  /// - `isCropped`: whether it keeps its proportions, and what stands over is cut off on both sides.
  package func fitted(_ newHeight: Int, _ newWidth: Int, isCropped: Bool) -> ImageValues {
    guard isCropped else { return resized(height: newHeight, width: newWidth, antialias: true) }
    // As much of the middle as has the proportions: then fewer pixels are made that nobody sees.
    let part = Rectangle(middleOf: self, Double(newWidth) / Double(newHeight))
    return cropped(top: part.top, left: part.left, height: part.height, width: part.width)
      .resized(height: newHeight, width: newWidth, antialias: true)
  }
}

extension ImageShape {
  /// An image of the same channels.
  ///
  /// - Throws: `invalidArgument` for extents that are none or more than 2^16, and where there is nothing to resample.
  func resized(_ height: Int, _ width: Int, _ what: String) throws -> ImageShape {
    guard (1...1 << 16).contains(height), (1...1 << 16).contains(width) else {
      throw ApusError(
        .invalidArgument, "\(what): \(height) x \(width) pixels",
        expected: "1 to 65536 on each side")
    }
    guard self.height > 0, self.width > 0 else {
      throw ApusError(.invalidArgument, "\(what): the image is \(self)", expected: "pixels")
    }
    return ImageShape(height: height, width: width, channels: channels)
  }

  /// A rectangle of it.
  ///
  /// - Throws: `invalidArgument` where it does not fit.
  func cropped(_ height: Int, _ width: Int, _ what: String) throws -> ImageShape {
    guard height >= 1, width >= 1, height <= self.height, width <= self.width else {
      throw ApusError(
        .invalidArgument, "\(what): \(height) x \(width) pixels of an image \(self)",
        expected: "a pixel at least, and no more than the image has; padding adds some")
    }
    return ImageShape(height: height, width: width, channels: channels)
  }
}
