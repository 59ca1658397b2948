// What a convolution and its two gradients have in common: shapes, checks, the reference.

import ApusGraph
import CKernels

/// How a convolution's window moves, and in how many groups channels meet.
package struct ConvolutionGeometry: Sendable, Hashable {
  /// Its sizes are the kernel's.
  package let window: Window
  package let groups: Int

  package init(_ window: Window, groups: Int = 1) {
    self.window = window
    self.groups = groups
  }

  package init(attributes: AttributeReader) throws {
    self.init(try Window(attributes: attributes), groups: try attributes.int("groups"))
  }

  package var attributes: [Attribute] {
    window.attributes + [Attribute("groups", .int(groups))]
  }
}

/// A convolution or one of its gradients: three ops that are each other's derivatives.
///
/// They share one trilinear form: with an image `x` of `[n, spatial…, c]`, a kernel `w` of
/// `[m, sizes…, c / groups]` and a result `y` of `[n, outputs…, m]`,
///
///     Σ y[n, o, m] · x[n, o · stride - before + t · dilation, c] · w[m, t, c]
///
/// over all places `o`, taps `t` whose element lies within the image, and channels of one group. Each op
/// is its derivative by one of the three.
///
/// Sums are f32. Where operands have different float types, `result` says what they are rounded to.
package protocol ConvolutionOp: NarrowableOp {
  var geometry: ConvolutionGeometry { get }
  /// The result's element type; nil for that of the operands, which is then one.
  var result: DType? { get }
  /// The same op with a result of that type.
  func giving(_ result: DType?) -> Self
  /// Which of the kernel's three it is.
  static var kind: ck_conv_op { get }
  /// The types of x, w and y, of which two are operands and one is the result.
  ///
  /// - Throws: as `resultTypes` does.
  func types(_ operands: [TensorType]) throws -> (x: TensorType, w: TensorType, y: TensorType)
  /// Which of x, w, y are the operands, in order, and which the result.
  static var roles: (operands: [ConvolutionRole], result: ConvolutionRole) { get }
}

/// An array of the trilinear form.
package enum ConvolutionRole: Sendable { case image, kernel, result }

extension ConvolutionOp {
  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    let (x, w, y) = try types(operands)
    switch Self.roles.result {
    case .image: return [x]
    case .kernel: return [w]
    case .result: return [y]
    }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  // MARK: Storage

  /// The kernel reads both arrays that are as large as images, and makes such ones, where it multiplies
  /// pairs; the weights are packed once and stay as they are.
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    Self.roles.operands[index] != .kernel
      && ConvolutionLowering.takesNarrow(self, Array(node.operands.prefix(2)))
  }

  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool {
    Self.roles.result != .kernel
      && ConvolutionLowering.takesNarrow(self, Array(node.operands.prefix(2)))
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    giving(results[0])
  }

  // MARK: Types

  /// Two operands of float types, of one where the result's is not given.
  func expectFloats(_ operands: [TensorType]) throws {
    try expect(2, operands)
    let (a, b) = (operands[0].dtype, operands[1].dtype)
    guard a.isFloat, b.isFloat, result != nil || a == b, result?.isFloat ?? true else {
      throw ApusError(
        .dtypeMismatch,
        "\(mnemonic): operands have types \(operands[0]) and \(operands[1])"
          + (result.map { ", the result \($0)" } ?? ""),
        expected: result == nil ? "one floating-point type" : "floating-point types")
    }
  }

  /// Throws where an array is not `[n, spatial…, channels]`.
  func expectImage(_ type: TensorType, _ what: String) throws {
    let rank = geometry.window.rank
    guard (1...3).contains(rank), type.rank == rank + 2 else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): \(what) \(type) for a window of \(rank) axes",
        expected: "[n, \(rank) spatial axes, channels], from 1 to 3 of them")
    }
  }

  /// The groups that so many channels fall into.
  func expectGroups(_ channels: Int, _ what: String) throws {
    let groups = geometry.groups
    guard groups >= 1, channels % groups == 0 else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): \(channels) \(what) in \(groups) groups",
        expected: "a number of channels that the groups divide")
    }
  }

  /// The kernel's type checked against channels of the image and the window's sizes.
  func expectKernel(_ w: TensorType, image x: TensorType) throws {
    let (window, groups) = (geometry.window, geometry.groups)
    guard w.rank == window.rank + 2,
      Array(w.shape.dimensions.dropFirst().dropLast()) == window.sizes
    else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): a kernel \(w) for a window of \(window.sizes)",
        expected: "[outputs, window, inputs / groups]")
    }
    try expectGroups(w.shape[0], "output channels")
    try expectGroups(x.shape[-1], "input channels")
    let (channels, taken) = (x.shape[-1], Shape.product(w.shape[-1], groups))
    guard channels == taken else {
      // The likeliest reason by far.
      let isOther = x.rank > 1 && x.shape[1] == taken
      let advice =
        isOther
        ? "; axis 1 has \(taken): if that is where the channels are, bring it to the end"
          + " (x.transposed(0, \((2..<x.rank).map(String.init).joined(separator: ", ")), 1))"
        : ""
      throw ApusError(
        .shapeMismatch,
        "\(mnemonic): \(x) has \(channels) channels, its last axis, but the kernel \(w) takes "
          + "\(taken)" + (groups == 1 ? "" : " in \(groups) groups") + advice,
        expected: "[n, spatial…, \(taken)]")
    }
  }

  /// `[n, outputs…, channels]` over an image.
  func outputType(over x: TensorType, channels: Int) throws -> TensorType {
    let outputs = try geometry.window.outputs(
      Array(x.shape.dimensions.dropFirst().dropLast()), mnemonic)
    return try x.with(Shape([x.shape[0]] + outputs + [channels])).checked(mnemonic)
  }

  /// The type of the gradient for an operand, where it must be said.
  func gradientType(_ operand: Tensor) -> DType? { result.map { _ in operand.dtype } }

  // MARK: Reference

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (x, _, y) = try types(operands.map(\.type))
    let walk = TapWalk(geometry.window, image: x.shape, output: y.shape)
    let groups = geometry.groups
    let (inputs, outputs, taps) = (x.shape[-1], y.shape[-1], walk.taps)
    let (c, m) = (inputs / groups, outputs / groups)
    var values: [ConvolutionRole: [Double]] = [:]
    for (role, operand) in zip(Self.roles.operands, operands) { values[role] = operand.doubles }
    let result = Self.roles.result
    var sums = [Double](repeating: 0, count: results[0].count)
    let image = values[.image] ?? [], kernel = values[.kernel] ?? [], given = values[.result] ?? []
    for n in 0..<x.shape[0] {
      for (o, t, i) in walk.meetings {
        let (atX, atY) = ((n * walk.pixels + i) * inputs, (n * walk.places + o) * outputs)
        for group in 0..<groups {
          for j in group * m..<(group + 1) * m {
            let (fromX, fromW) = (atX + group * c, (j * taps + t) * c)
            switch result {
            case .result:
              for k in 0..<c { sums[atY + j] += image[fromX + k] * kernel[fromW + k] }
            case .image:
              for k in 0..<c { sums[fromX + k] += given[atY + j] * kernel[fromW + k] }
            case .kernel:
              for k in 0..<c { sums[fromW + k] += given[atY + j] * image[fromX + k] }
            }
          }
        }
      }
    }
    return [NDArray(doubles: sums, type: results[0])]
  }
}

/// Where a window meets an image: the places of the output, the taps and the pixels, flat.
private struct TapWalk {
  let pixels: Int
  let places: Int
  let taps: Int
  var meetings: [(place: Int, tap: Int, pixel: Int)] = []

  init(_ window: Window, image: Shape, output: Shape) {
    let extents = Array(image.dimensions.dropFirst().dropLast())
    let outputs = Array(output.dimensions.dropFirst().dropLast())
    pixels = extents.reduce(1, *)
    places = outputs.reduce(1, *)
    taps = window.count
    guard image.count > 0, output.count > 0 else { return }
    for place in 0..<places {
      // The meetings of the axes so far, and the place's index along each axis.
      var found = [(tap: 0, pixel: 0)]
      var rest = place
      var index = [Int](repeating: 0, count: window.rank)
      for axis in (0..<window.rank).reversed() {
        index[axis] = rest % outputs[axis]
        rest /= outputs[axis]
      }
      for axis in 0..<window.rank {
        let start = index[axis] * window.strides[axis] - window.before[axis]
        found = found.flatMap { tap, pixel in
          window.steps(index[axis], extents[axis], axis: axis).map {
            (
              tap * window.sizes[axis] + $0,
              pixel * extents[axis] + start + $0 * window.dilations[axis]
            )
          }
        }
      }
      meetings += found.map { (place, $0.tap, $0.pixel) }
    }
  }
}
