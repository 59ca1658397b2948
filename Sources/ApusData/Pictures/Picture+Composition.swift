// Pictures made of pictures: grids, enlargements, heat maps laid over images.

import ApusGraph

extension Picture {
  /// Pictures beside and below each other, row by row, each in a cell of the size of the largest.
  ///
  ///     try Picture.grid([image, heat, overlay], columns: 3)
  ///
  /// It is grey where all pictures and the background are.
  ///
  /// - `columns`: nil for a grid as square as can be.
  /// - `gap`: pixels between the cells.
  /// - `background`: of gaps, and of places that no picture takes.
  /// - Throws: `invalidArgument` for no pictures, columns below 1, a negative gap, or more than 2^28 bytes.
  public static func grid(
    _ pictures: [Picture], columns: Int? = nil, gap: Int = 1, background: Color = .white
  ) throws -> Picture {
    guard let cellWidth = pictures.map(\.width).max(),
      let cellHeight = pictures.map(\.height).max()
    else {
      throw ApusError(.invalidArgument, "a grid of no pictures", expected: "at least one")
    }
    guard columns ?? 1 > 0, gap >= 0 else {
      throw ApusError(
        .invalidArgument, "a grid of \(columns ?? 1) columns and gaps of \(gap)",
        expected: "at least 1 column, and gaps of 0 or more")
    }
    let square = Int(Double(pictures.count).squareRoot().rounded(.up))
    let across = min(columns ?? square, pictures.count)
    let down = (pictures.count + across - 1) / across
    func extent(_ cells: Int, _ cell: Int) throws -> Int {
      try Shape.sum([Shape.product(cells, cell), Shape.product(cells - 1, gap)])
    }
    let (width, height) = (try extent(across, cellWidth), try extent(down, cellHeight))
    let isGray = pictures.allSatisfy { $0.channels == 1 } && background.isGray
    let channels = isGray ? 1 : 3
    let count = try byteCount(width, height, channels)
    var pixels =
      isGray
      ? [UInt8](repeating: background.red, count: count)
      : (0..<width * height).flatMap { _ in background.bytes }
    for (index, picture) in pictures.enumerated() {
      let source = isGray ? picture : picture.colored
      let left = (index % across) * (cellWidth + gap)
      let top = (index / across) * (cellHeight + gap)
      let pitch = source.width * channels
      for row in 0..<source.height {
        let start = ((top + row) * width + left) * channels
        pixels.replaceSubrange(
          start..<start + pitch, with: source.pixels[row * pitch..<(row + 1) * pitch])
      }
    }
    return Picture(width, height, channels, pixels)
  }

  /// The picture with each pixel as a square of `factor` pixels: small images for people.
  ///
  /// - Throws: `invalidArgument` for a factor below 1, and for more than 2^28 bytes.
  public func enlarged(by factor: Int) throws -> Picture {
    guard factor >= 1 else {
      throw ApusError(.invalidArgument, "a picture enlarged by \(factor)", expected: "1 or more")
    }
    let (wide, high) = (Shape.product(width, factor), Shape.product(height, factor))
    let count = try Picture.byteCount(wide, high, channels)
    var result: [UInt8] = []
    result.reserveCapacity(count)
    for row in 0..<height {
      var line: [UInt8] = []
      for column in 0..<width {
        let start = (row * width + column) * channels
        for _ in 0..<factor { line += pixels[start..<start + channels] }
      }
      for _ in 0..<factor { result += line }
    }
    return Picture(wide, high, channels, result)
  }

  /// The picture with a heat map over it, which is brought to the picture's size (bilinear, pixels as squares).
  ///
  ///     let heat = try explainer.gradCAM(image)                     // [1, h', w', 1]
  ///     try Picture(image).overlaid(with: heat).write(png: "why.png")
  ///
  /// - `heat`: `[h, w]`, `[h, w, 1]` or `[1, h, w, 1]`; for several images lay each over its own.
  /// - `map`: its colours, from its least to its greatest number; see `scale`.
  /// - `opacity`: how much of the picture it hides, from 0 to 1.
  /// - `undefined`: the colour of a NaN.
  /// - Throws: `shapeMismatch` for another heat map; `invalidArgument` for an opacity outside 0 to 1, or a range
  ///   that is none.
  public func overlaid(
    with heat: NDArray, map: ColorMap = .viridis, scale: Scale = .wholeArray,
    opacity: Double = 0.5, undefined: Color = .magenta
  ) throws -> Picture {
    var shape = heat.shape.dimensions
    if shape.count == 4, shape[0] == 1 { shape.removeFirst() }
    if shape.count == 3, shape[2] == 1 { shape.removeLast() }
    guard shape.count == 2 else {
      throw ApusError(
        .shapeMismatch, "a heat map of \(heat.type)",
        expected: "[h, w], [h, w, 1] or [1, h, w, 1]: that of one image")
    }
    guard (0...1).contains(opacity) else {
      throw ApusError(
        .invalidArgument, "a heat map of opacity \(opacity)", expected: "0 to 1")
    }
    guard heat.count > 0 else {
      throw ApusError(
        .shapeMismatch, "a heat map of \(heat.type), which is empty", expected: "at least one place"
      )
    }
    let values = Picture.resized(heat.doubles, shape[0], shape[1], to: height, width)
    let fitted = try NDArray(checking: values, type: TensorType(.f64, Shape([height, width])))
    let over = try Picture(fitted, scale: scale, map: map, undefined: undefined)
    let mixed = zip(colored.pixels, over.pixels).map { below, above in
      UInt8((Double(below) + (Double(above) - Double(below)) * opacity).rounded())
    }
    return Picture(width, height, 3, mixed)
  }

  /// Bilinear, with half-pixel centres, as `interpolate` does without `alignCorners`.
  private static func resized(
    _ values: [Double], _ rows: Int, _ columns: Int, to height: Int, _ width: Int
  ) -> [Double] {
    if rows == height && columns == width { return values }
    /// For each place of the result the two before and after it, and the share of the second.
    func taps(_ from: Int, _ to: Int) -> [(Int, Int, Double)] {
      (0..<to).map { place in
        let center = max((Double(place) + 0.5) * Double(from) / Double(to) - 0.5, 0)
        let first = min(Int(center), from - 1)
        return (first, min(first + 1, from - 1), center - Double(first))
      }
    }
    let across = taps(columns, width)
    return taps(rows, height).flatMap { above, below, down in
      across.map { left, right, along in
        func mixed(_ row: Int) -> Double {
          let (a, b) = (values[row * columns + left], values[row * columns + right])
          return along == 0 ? a : a + (b - a) * along
        }
        let upper = mixed(above)
        return down == 0 ? upper : upper + (mixed(below) - upper) * down
      }
    }
  }
}
