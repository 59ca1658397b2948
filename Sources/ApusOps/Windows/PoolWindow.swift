// The windows that pooling moves over an image: of one size, or as many as there are places, whatever the
// extents.

import ApusGraph

/// Which elements each place of a pooled `[n, outputs…, c]` is made of.
package enum PoolWindow: Sendable, Hashable {
  /// A window that moves by its strides. `roundsUp`: whether the last one may reach beyond the padding
  /// (PyTorch's `ceil_mode`).
  case sliding(Window, roundsUp: Bool)
  /// Along each axis so many windows: of `n` elements and `m` places, place `o` is
  /// `⌊o n / m⌋ ..< ⌈(o + 1) n / m⌉`, as in PyTorch.
  case adaptive(to: [Int])

  package init(attributes: AttributeReader) throws {
    self =
      attributes.has("to")
      ? .adaptive(to: try attributes.ints("to"))
      : .sliding(
        try Window(attributes: attributes), roundsUp: try attributes.bool("roundsUp"))
  }

  package var attributes: [Attribute] {
    switch self {
    case .sliding(let window, let roundsUp):
      window.attributes + [Attribute("roundsUp", .bool(roundsUp))]
    case .adaptive(let outputs): [Attribute("to", .ints(outputs))]
    }
  }

  /// Spatial axes.
  package var rank: Int {
    switch self {
    case .sliding(let window, _): window.rank
    case .adaptive(let outputs): outputs.count
    }
  }

  /// The steps of a window along each axis over such an image: the most of any place, by which steps are
  /// counted.
  package func sizes(_ image: [Int]) -> [Int] {
    switch self {
    case .sliding(let window, _): window.sizes
    case .adaptive(let outputs):
      zip(image, outputs).map { $0 % $1 == 0 ? $0 / $1 : $0 / $1 + 2 }
    }
  }

  /// The type that holds every step of a window, counted in row-major order.
  package func indexType(_ image: [Int]) -> DType {
    sizes(image).reduce(1, Shape.product) <= 256 ? .u8 : .i32
  }

  /// The extents of the result of pooling `[n, image…, c]`.
  ///
  /// - Throws: `shapeMismatch` where that is no image of this rank, or is smaller than the window;
  ///   `invalidArgument` for numbers that no window has.
  package func outputs(_ name: String, of type: TensorType) throws -> [Int] {
    guard (1...3).contains(rank) else {
      throw ApusError(
        .invalidArgument, "\(name): a window of \(rank) axes", expected: "1 to 3 spatial axes")
    }
    guard type.rank == rank + 2 else {
      throw ApusError(
        .shapeMismatch, "\(name): a window of \(rank) axes over \(type)",
        expected: "[n, \(rank) spatial axes, channels]")
    }
    let image = Array(type.shape.dimensions[1...rank])
    guard image.allSatisfy({ $0 > 0 }) else {
      throw ApusError(
        .shapeMismatch, "\(name): the images of \(type) have no elements",
        expected: "extents above 0; only n and the channels may be 0")
    }
    switch self {
    case .sliding(let window, let roundsUp):
      try window.check(name)
      for (axis, padding) in zip(0..., zip(window.before, window.after)) {
        // Where padding is more than half a window, some windows have nothing else.
        guard max(padding.0, padding.1) <= window.span(axis) / 2 else {
          throw ApusError(
            .invalidArgument,
            "\(name): a padding of \(max(padding.0, padding.1)) along axis \(axis) of a window that "
              + "spans \(window.span(axis))", expected: "at most half of what the window spans")
        }
      }
      guard window.count <= Int(Int32.max) else {
        throw ApusError(
          .invalidArgument, "\(name): a window of \(window.sizes)",
          expected: "less than 2^31 elements")
      }
      return try window.outputs(of: type, roundsUp: roundsUp, name)
    case .adaptive(let outputs):
      let most = 1 << 30
      guard outputs.allSatisfy({ (1...most).contains($0) }), image.allSatisfy({ $0 <= most }) else {
        throw ApusError(
          .invalidArgument, "\(name): \(type) to \(outputs)", expected: "extents from 1 to \(most)")
      }
      guard sizes(image).reduce(1, Shape.product) <= Int(Int32.max) else {
        throw ApusError(
          .invalidArgument, "\(name): \(type) to \(outputs), by windows of \(sizes(image))",
          expected: "windows of less than 2^31 elements")
      }
      return outputs
    }
  }

  // MARK: Places, of a window that has been checked

  /// The steps of place `output` along an axis that meet the image, and where its first step would be.
  func steps(_ output: Int, _ image: [Int], axis: Int) -> (start: Int, steps: Range<Int>) {
    switch self {
    case .sliding(let window, _):
      return (
        output * window.strides[axis] - window.before[axis],
        window.steps(output, image[axis], axis: axis)
      )
    case .adaptive(let outputs):
      let (n, m) = (image[axis], outputs[axis])
      let start = output * n / m
      return (start, 0..<((output + 1) * n + m - 1) / m - start)
    }
  }

  /// The elements of an image that a place of the window meets, and the number of the step that does, in
  /// the order of the steps. Both counted in row-major order.
  func elements(_ place: [Int], _ image: [Int]) -> [(element: Int, step: Int)] {
    let sizes = sizes(image)
    var found = [(element: 0, step: 0)]
    for axis in 0..<rank {
      let (start, steps) = steps(place[axis], image, axis: axis)
      var dilation = 1
      if case .sliding(let window, _) = self { dilation = window.dilations[axis] }
      found = found.flatMap { outer in
        steps.map {
          (
            outer.element * image[axis] + start + $0 * dilation, outer.step * sizes[axis] + $0
          )
        }
      }
    }
    return found
  }

  /// How many steps of a place an average counts: those within the image, or within the padded image.
  func count(_ place: [Int], _ image: [Int], countsPadding: Bool) -> Int {
    (0..<rank).reduce(1) { count, axis in
      let (start, steps) = steps(place[axis], image, axis: axis)
      guard case .sliding(let window, _) = self, countsPadding else { return count * steps.count }
      let d = window.dilations[axis]
      let room = image[axis] + window.after[axis] - start
      return count * min((room + d - 1) / d, window.sizes[axis])
    }
  }
}

extension Window {
  /// The extents of the result over images `[n, spatial…, channels]`. Where the window is too large, the
  /// error has both ways to read the shape.
  ///
  /// - Throws: as `outputs` of an image's extents does.
  package func outputs(
    of type: TensorType, roundsUp: Bool = false, _ name: String
  ) throws -> [Int] {
    let dimensions = type.shape.dimensions
    let image = Array(dimensions[1..<dimensions.count - 1])
    do {
      return try outputs(image, roundsUp: roundsUp, name)
    } catch let error as ApusError {
      let turned = Array(dimensions[2...])
      guard error.kind == .shapeMismatch, image.count == rank else { throw error }
      func text(_ image: [Int]) -> String { image.map(String.init).joined(separator: " x ") }
      let axes = ["d", "h", "w"].suffix(rank).joined(separator: ", ")
      var expected = error.expected ?? ""
      // Channels first: would it fit then?
      if (try? outputs(turned, roundsUp: roundsUp, name)) != nil {
        expected +=
          "; as [n, c, \(axes)] it would be \(text(turned)) with \(dimensions[1]) channels: "
          + "transpose to [n, \(axes), c]"
      }
      throw ApusError(
        error.kind,
        "\(error.what); \(type) as [n, \(axes), c] is \(text(image)) with \(dimensions.last!) channels",
        expected: expected)
    }
  }
}
