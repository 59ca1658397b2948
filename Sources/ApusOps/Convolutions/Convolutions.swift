// The functions that convolve: what users call.

import ApusGraph

/// The convolution of signals: x `[n, length, c]`, weight `[m, size, c / groups]` → `[n, length', m]`.
///
/// As ``conv2d(_:_:bias:stride:padding:dilation:groups:file:line:)`` with one spatial axis.
public func conv1d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: PerAxis = 1,
  padding: Padding = .valid, dilation: PerAxis = 1, groups: Int = 1,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.convolved("conv1d", 1, weight, bias, stride, padding, dilation, groups, file, line)
}

/// The convolution of images: x `[n, h, w, c]`, weight `[m, kh, kw, c / groups]`, bias `[m]` →
/// `[n, h', w', m]`, with `h' = ⌊(h + before + after - dilation · (kh - 1) - 1) / stride⌋ + 1`.
///
///     y[n, i, j, m] = bias[m] + Σ x[n, i·stride - before + p·dilation, …, c] · weight[m, p, q, c]
///
///     conv2d(images, weight, padding: 1)   // f32[8,32,32,3], f32[16,3,3,3] → f32[8,32,32,16]
///
/// PyTorch's arrays are `[n, c, h, w]` and `[m, c / groups, kh, kw]`: move channels to the end.
///
/// A mistake is reported when the graph is compiled: `shapeMismatch` for arrays of another rank, channels that
/// do not fit, or a window larger than the padded image; `invalidArgument` for strides, dilations or paddings
/// that no window has, and for groups that do not divide the channels.
public func conv2d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: PerAxis = 1,
  padding: Padding = .valid, dilation: PerAxis = 1, groups: Int = 1,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.convolved("conv2d", 2, weight, bias, stride, padding, dilation, groups, file, line)
}

/// The convolution of volumes: x `[n, d, h, w, c]`, weight `[m, kd, kh, kw, c / groups]` →
/// `[n, d', h', w', m]`.
///
/// As ``conv2d(_:_:bias:stride:padding:dilation:groups:file:line:)`` with three spatial axes.
public func conv3d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: PerAxis = 1,
  padding: Padding = .valid, dilation: PerAxis = 1, groups: Int = 1,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.convolved("conv3d", 3, weight, bias, stride, padding, dilation, groups, file, line)
}

/// The transposed convolution of signals: x `[n, length, m]`, weight `[m, size, c / groups]` →
/// `[n, length', c]`.
///
/// As ``convTranspose2d(_:_:bias:stride:padding:outputPadding:dilation:groups:file:line:)`` with one spatial
/// axis.
public func convTranspose1d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: PerAxis = 1,
  padding: Padding = .valid, outputPadding: PerAxis = 0, dilation: PerAxis = 1, groups: Int = 1,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.convolvedBack(
    "convTranspose1d", 1, weight, bias, stride, padding, outputPadding, dilation, groups, file, line
  )
}

/// The transposed convolution of images, which is the gradient of ``conv2d(_:_:bias:stride:padding:dilation:groups:file:line:)``
/// by its image: x `[n, h, w, m]`, weight `[m, kh, kw, c / groups]`, bias `[c]` → `[n, h', w', c]`, with
/// `h' = (h - 1) · stride - before - after + dilation · (kh - 1) + 1 + outputPadding`.
///
///     convTranspose2d(x, weight, stride: 2, padding: 1)   // f32[8,7,7,64], f32[64,4,4,32] → f32[8,14,14,32]
///
/// `outputPadding`, below the stride, chooses between the sizes of image that a convolution brings to the same
/// size. The padding ``Padding/same`` gives an image of `stride` times the size.
///
/// PyTorch's weight is `[m, c / groups, kh, kw]`. Mistakes as for a convolution.
public func convTranspose2d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: PerAxis = 1,
  padding: Padding = .valid, outputPadding: PerAxis = 0, dilation: PerAxis = 1, groups: Int = 1,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.convolvedBack(
    "convTranspose2d", 2, weight, bias, stride, padding, outputPadding, dilation, groups, file, line
  )
}

/// The transposed convolution of volumes: x `[n, d, h, w, m]`, weight `[m, kd, kh, kw, c / groups]` →
/// `[n, d', h', w', c]`.
///
/// As ``convTranspose2d(_:_:bias:stride:padding:outputPadding:dilation:groups:file:line:)`` with three spatial
/// axes.
public func convTranspose3d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: PerAxis = 1,
  padding: Padding = .valid, outputPadding: PerAxis = 0, dilation: PerAxis = 1, groups: Int = 1,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.convolvedBack(
    "convTranspose3d", 3, weight, bias, stride, padding, outputPadding, dilation, groups, file, line
  )
}

extension Tensor {
  fileprivate func convolved(
    _ name: String, _ rank: Int, _ weight: Tensor, _ bias: Tensor?, _ stride: PerAxis,
    _ padding: Padding, _ dilation: PerAxis, _ groups: Int, _ file: StaticString, _ line: UInt
  ) -> Tensor {
    located(file, line) {
      let image = try spatial(name, weight, rank)
      let window = try padding.window(
        weight.spatial, strides: stride.numbers(rank), dilations: dilation.numbers(rank),
        over: image,
        name)
      let op = Convolution(window, groups: groups)
      return try applied(op, weight, bias, name, file, line)
    }
  }

  fileprivate func convolvedBack(
    _ name: String, _ rank: Int, _ weight: Tensor, _ bias: Tensor?, _ stride: PerAxis,
    _ padding: Padding, _ outputPadding: PerAxis, _ dilation: PerAxis, _ groups: Int,
    _ file: StaticString, _ line: UInt
  ) -> Tensor {
    located(file, line) {
      let outputs = try spatial(name, weight, rank)
      let strides = stride.numbers(rank)
      let further = outputPadding.numbers(rank)
      let bare = Window(weight.spatial, strides: strides, dilations: dilation.numbers(rank))
      try bare.check(name)
      guard further.count == rank, zip(further, strides).allSatisfy({ (0..<$1).contains($0) })
      else {
        throw ApusError(
          .invalidArgument,
          "\(name): an output padding of \(outputPadding) with strides \(strides)",
          expected: "one number an axis, from 0 to below the stride")
      }
      // The image that `same` pads; of any other padding only the numbers count.
      let scaled = zip(outputs, strides).map { Shape.product($0, $1) }
      let window = try padding.window(
        weight.spatial, strides: strides, dilations: bare.dilations, over: scaled, name)
      try window.check(name)
      let image = try (0..<rank).map { axis in
        let reach = try Shape.sum([
          Shape.product(outputs[axis] - 1, strides[axis]), window.span(axis), further[axis],
        ])
        let extent = reach - window.before[axis] - window.after[axis]
        guard outputs[axis] > 0, extent > 0 else {
          throw ApusError(
            .shapeMismatch,
            "\(name): \(type) with a padding of \(padding) leaves no image along axis \(axis)",
            expected: "at least one element, and less padding than the window reaches")
        }
        return extent
      }
      let op = ConvolutionDataGradient(ConvolutionGeometry(window, groups: groups), image: image)
      return try applied(op, weight, bias, name, file, line)
    }
  }

  /// Everything between the first and the last axis.
  private var spatial: [Int] { Array(shape.dimensions.dropFirst().dropLast()) }

  /// The image's spatial extents.
  private func spatial(_ name: String, _ weight: Tensor, _ rank: Int) throws -> [Int] {
    guard self.rank == rank + 2, weight.rank == rank + 2 else {
      throw ApusError(
        .shapeMismatch, "\(name): an image \(type) and a weight \(weight.type)",
        expected:
          "[n, \(rank) spatial axes, channels] and [outputs, \(rank) sizes, inputs / groups]")
    }
    return spatial
  }

  private func applied(
    _ op: some Op, _ weight: Tensor, _ bias: Tensor?, _ name: String, _ file: StaticString,
    _ line: UInt
  ) throws -> Tensor {
    let location = sourceLocation(file, line)
    let dtype = DType.promoted(self.dtype, weight.dtype)
    guard dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "\(name): an image \(type) and a weight \(weight.type)",
        expected: "floating-point types")
    }
    // Sums are carried in f32 at least.
    let arithmetic: DType = dtype == .f64 ? .f64 : .f32
    let y = Tensor.apply(
      op, to: cast(to: arithmetic, file: file, line: line),
      weight.cast(to: arithmetic, file: file, line: line), location: location)
    guard let bias, !y.isPoisoned else { return y.cast(to: dtype, file: file, line: line) }
    guard bias.shape == [y.shape[-1]] else {
      throw ApusError(
        .shapeMismatch, "\(name): a bias \(bias.type) for \(y.shape[-1]) channels",
        expected: "[\(y.shape[-1])]")
    }
    return (y + bias.cast(to: arithmetic, file: file, line: line)).cast(
      to: dtype, file: file, line: line)
  }
}
