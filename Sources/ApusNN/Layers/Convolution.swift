// The convolution layers.

import ApusGraph
import ApusOps

/// What a convolution layer is told besides its channels and its window.
struct ConvolutionSettings: Sendable {
  var stride: PerAxis
  var padding: Padding
  var dilation: PerAxis
  var groups: Int
  /// What the padding is made of.
  var mode = PaddingMode.zeros

  /// Channels of one group; all of them where the groups do not divide them, which is reported when the layer
  /// is applied.
  func channels(_ all: Int) -> Int {
    groups > 0 && all % groups == 0 ? all / groups : all
  }

  /// The images as the convolution takes them, and the padding that is left to it: all of it where that is
  /// zeros, else none.
  ///
  /// - `name`: of the convolution, for errors.
  func padded(_ x: Tensor, _ weight: Parameter, _ name: String) -> (x: Tensor, padding: Padding) {
    // Another rank is reported by the convolution.
    guard mode != .zeros, !x.isPoisoned, x.rank == weight.shape.rank else { return (x, padding) }
    func inner(_ shape: Shape) -> [Int] { Array(shape.dimensions.dropFirst().dropLast()) }
    let sizes = inner(weight.shape)
    do {
      let window = try padding.window(
        sizes, strides: stride.numbers(sizes.count), dilations: dilation.numbers(sizes.count),
        over: inner(x.shape), name)
      try window.check(name)
      let padded = x.padded(
        low: [0] + window.before + [0], high: [0] + window.after + [0], mode: mode)
      return (padded, .valid)
    } catch {
      let error = asApusError(error)
      return (.poisoned(error, like: x), .valid)
    }
  }
}

/// A convolution of signals `[n, length, inputs]` → `[n, length', outputs]`.
///
/// The weight is `[outputs, size, inputs / groups]`. Everything else as ``Conv2d``.
public struct Conv1d: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter
  public let bias: Parameter?
  let settings: ConvolutionSettings

  public init(
    _ inputs: Int, _ outputs: Int, _ size: Int, stride: PerAxis = 1, padding: Padding = .valid,
    dilation: PerAxis = 1, groups: Int = 1, bias: Bool = true, paddingMode: PaddingMode = .zeros,
    initializer: Initializer = .fanInUniform()
  ) {
    settings = ConvolutionSettings(
      stride: stride, padding: padding, dilation: dilation, groups: groups, mode: paddingMode)
    let channels = settings.channels(inputs)
    weight = Parameter(Shape([outputs, size, channels]), initializer)
    self.bias =
      bias ? Parameter([outputs], .fanInUniform(fanIn: fanIn([size], channels))) : nil
  }

  public func forward(_ x: Tensor) -> Tensor {
    let (x, padding) = settings.padded(x, weight, "conv1d")
    return conv1d(
      x, weight.tensor, bias: bias?.tensor, stride: settings.stride, padding: padding,
      dilation: settings.dilation, groups: settings.groups)
  }
}

/// A convolution of images `[n, h, w, inputs]` → `[n, h', w', outputs]`.
///
///     Conv2d(3, 16, 3, padding: 1)                       // 3x3, the same size
///     Conv2d(16, 32, 3, stride: 2, padding: .same)       // half the size
///     Conv2d(32, 32, [1, 7], groups: 32, bias: false)    // depthwise
///     Conv2d(3, 16, 3, padding: 1, paddingMode: .reflect)
///
/// The weight is `[outputs, h, w, inputs / groups]`: PyTorch's with the second axis at the end. Weight and bias
/// start in U(±1/√fanIn), as in PyTorch. Mistakes as ``conv2d(_:_:bias:stride:padding:dilation:groups:file:line:)``
/// reports them, with the layer's path.
public struct Conv2d: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter
  public let bias: Parameter?
  let settings: ConvolutionSettings

  /// - `size`: of the window: one number, or `[height, width]`.
  /// - `paddingMode`: what the padding is made of. Other modes than zeros take it from the image: fewer elements
  ///   than the extent to reflect, no more than the extent to go round.
  public init(
    _ inputs: Int, _ outputs: Int, _ size: PerAxis, stride: PerAxis = 1, padding: Padding = .valid,
    dilation: PerAxis = 1, groups: Int = 1, bias: Bool = true, paddingMode: PaddingMode = .zeros,
    initializer: Initializer = .fanInUniform()
  ) {
    settings = ConvolutionSettings(
      stride: stride, padding: padding, dilation: dilation, groups: groups, mode: paddingMode)
    let channels = settings.channels(inputs)
    let sizes = size.numbers(2)
    weight = Parameter(Shape([outputs] + sizes + [channels]), initializer)
    self.bias = bias ? Parameter([outputs], .fanInUniform(fanIn: fanIn(sizes, channels))) : nil
  }

  public func forward(_ x: Tensor) -> Tensor {
    let (x, padding) = settings.padded(x, weight, "conv2d")
    return conv2d(
      x, weight.tensor, bias: bias?.tensor, stride: settings.stride, padding: padding,
      dilation: settings.dilation, groups: settings.groups)
  }
}

/// A convolution of volumes `[n, d, h, w, inputs]` → `[n, d', h', w', outputs]`.
///
/// The weight is `[outputs, d, h, w, inputs / groups]`. Everything else as ``Conv2d``.
public struct Conv3d: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter
  public let bias: Parameter?
  let settings: ConvolutionSettings

  /// - `size`: of the window: one number, or `[depth, height, width]`.
  public init(
    _ inputs: Int, _ outputs: Int, _ size: PerAxis, stride: PerAxis = 1, padding: Padding = .valid,
    dilation: PerAxis = 1, groups: Int = 1, bias: Bool = true, paddingMode: PaddingMode = .zeros,
    initializer: Initializer = .fanInUniform()
  ) {
    settings = ConvolutionSettings(
      stride: stride, padding: padding, dilation: dilation, groups: groups, mode: paddingMode)
    let channels = settings.channels(inputs)
    let sizes = size.numbers(3)
    weight = Parameter(Shape([outputs] + sizes + [channels]), initializer)
    self.bias = bias ? Parameter([outputs], .fanInUniform(fanIn: fanIn(sizes, channels))) : nil
  }

  public func forward(_ x: Tensor) -> Tensor {
    let (x, padding) = settings.padded(x, weight, "conv3d")
    return conv3d(
      x, weight.tensor, bias: bias?.tensor, stride: settings.stride, padding: padding,
      dilation: settings.dilation, groups: settings.groups)
  }
}

/// A transposed convolution of images `[n, h, w, inputs]` → `[n, h', w', outputs]`, larger by the stride.
///
///     ConvTranspose2d(64, 32, 4, stride: 2, padding: 1)   // [n, 7, 7, 64] → [n, 14, 14, 32]
///
/// The weight is `[inputs, h, w, outputs / groups]`: PyTorch's with the second axis at the end. Weight and bias
/// start as in PyTorch.
public struct ConvTranspose2d: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter
  public let bias: Parameter?
  let settings: ConvolutionSettings
  let outputPadding: PerAxis

  /// - `size`: of the window: one number, or `[height, width]`.
  /// - `outputPadding`: how much larger the result is than the smallest that fits; below the stride.
  public init(
    _ inputs: Int, _ outputs: Int, _ size: PerAxis, stride: PerAxis = 1, padding: Padding = .valid,
    outputPadding: PerAxis = 0, dilation: PerAxis = 1, groups: Int = 1, bias: Bool = true,
    initializer: Initializer = .fanInUniform()
  ) {
    settings = ConvolutionSettings(
      stride: stride, padding: padding, dilation: dilation, groups: groups)
    self.outputPadding = outputPadding
    let channels = settings.channels(outputs)
    let sizes = size.numbers(2)
    weight = Parameter(Shape([inputs] + sizes + [channels]), initializer)
    self.bias = bias ? Parameter([outputs], .fanInUniform(fanIn: fanIn(sizes, channels))) : nil
  }

  public func forward(_ x: Tensor) -> Tensor {
    convTranspose2d(
      x, weight.tensor, bias: bias?.tensor, stride: settings.stride, padding: settings.padding,
      outputPadding: outputPadding, dilation: settings.dilation, groups: settings.groups)
  }
}

/// A transposed convolution of volumes `[n, d, h, w, inputs]` → `[n, d', h', w', outputs]`.
///
/// The weight is `[inputs, d, h, w, outputs / groups]`. Everything else as ``ConvTranspose2d``.
public struct ConvTranspose3d: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter
  public let bias: Parameter?
  let settings: ConvolutionSettings
  let outputPadding: PerAxis

  /// - `size`: of the window: one number, or `[depth, height, width]`.
  public init(
    _ inputs: Int, _ outputs: Int, _ size: PerAxis, stride: PerAxis = 1, padding: Padding = .valid,
    outputPadding: PerAxis = 0, dilation: PerAxis = 1, groups: Int = 1, bias: Bool = true,
    initializer: Initializer = .fanInUniform()
  ) {
    settings = ConvolutionSettings(
      stride: stride, padding: padding, dilation: dilation, groups: groups)
    self.outputPadding = outputPadding
    let channels = settings.channels(outputs)
    let sizes = size.numbers(3)
    weight = Parameter(Shape([inputs] + sizes + [channels]), initializer)
    self.bias = bias ? Parameter([outputs], .fanInUniform(fanIn: fanIn(sizes, channels))) : nil
  }

  public func forward(_ x: Tensor) -> Tensor {
    convTranspose3d(
      x, weight.tensor, bias: bias?.tensor, stride: settings.stride, padding: settings.padding,
      outputPadding: outputPadding, dilation: settings.dilation, groups: settings.groups)
  }
}

/// A transposed convolution of signals `[n, length, inputs]` → `[n, length', outputs]`.
///
/// The weight is `[inputs, size, outputs / groups]`. Everything else as ``ConvTranspose2d``.
public struct ConvTranspose1d: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter
  public let bias: Parameter?
  let settings: ConvolutionSettings
  let outputPadding: PerAxis

  public init(
    _ inputs: Int, _ outputs: Int, _ size: Int, stride: PerAxis = 1, padding: Padding = .valid,
    outputPadding: PerAxis = 0, dilation: PerAxis = 1, groups: Int = 1, bias: Bool = true,
    initializer: Initializer = .fanInUniform()
  ) {
    settings = ConvolutionSettings(
      stride: stride, padding: padding, dilation: dilation, groups: groups)
    self.outputPadding = outputPadding
    let channels = settings.channels(outputs)
    weight = Parameter(Shape([inputs, size, channels]), initializer)
    self.bias = bias ? Parameter([outputs], .fanInUniform(fanIn: fanIn([size], channels))) : nil
  }

  public func forward(_ x: Tensor) -> Tensor {
    convTranspose1d(
      x, weight.tensor, bias: bias?.tensor, stride: settings.stride, padding: settings.padding,
      outputPadding: outputPadding, dilation: settings.dilation, groups: settings.groups)
  }
}

/// Terms of one sum of a convolution.
private func fanIn(_ sizes: [Int], _ channels: Int) -> Int {
  sizes.reduce(channels) { Shape.product($0, $1) }
}
