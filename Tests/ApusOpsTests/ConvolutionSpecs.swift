// Specs of the convolutions: one to three axes, strides, dilations, uneven padding, groups, empty batches,
// images of one pixel.

import ApusGraph
import ApusOps
import TestSupport

/// A window and the arrays it is tried on: an image, channels of the result, groups.
private struct Case {
  var window: Window
  var images: [[Int]]
  var outputs: Int
  var groups = 1

  func types(_ image: [Int]) throws -> (x: TensorType, w: TensorType, y: TensorType) {
    let x = TensorType(.f32, Shape(image))
    let w = TensorType(.f32, Shape([outputs] + window.sizes + [image.last! / groups]))
    return (x, w, try Convolution(window, groups: groups).resultTypes([x, w])[0])
  }

  /// The three ops on each image; convolutions of one geometry differ in the images' extents.
  func specs() -> [OpSpec] {
    let all = images.compactMap { image in (try? types(image)).map { (image, $0) } }
    precondition(all.count == images.count, "a window that does not fit its image")
    let geometry = ConvolutionGeometry(window, groups: groups)
    let x = TensorType(.f32, Shape(images[0]))
    let wrong = x.with(Shape(images[0].dropLast() + [images[0].last! + 1]))
    return [
      OpSpec(
        Convolution(window, groups: groups), on: all.map { [$1.x, $1.w] },
        rejects: [[wrong, all[0].1.w], [x.with(.i32), all[0].1.w], [all[0].1.w.with([3])]],
        relativeTolerance: 1e-5, absoluteTolerance: 1e-5),
      OpSpec(
        ConvolutionWeightGradient(geometry), on: all.map { [$1.x, $1.y] },
        rejects: [[all[0].1.y.with([2]), all[0].1.y]], relativeTolerance: 1e-5,
        absoluteTolerance: 1e-5),
    ]
      + all.map { image, types in
        OpSpec(
          ConvolutionDataGradient(geometry, image: Array(image.dropFirst().dropLast())),
          on: [[types.y, types.w]], rejects: [[types.y, types.x.with([2, 2])]],
          relativeTolerance: 1e-5, absoluteTolerance: 1e-5)
      }
  }
}

private let cases = [
  Case(window: Window([3]), images: [[2, 9, 2], [0, 9, 2]], outputs: 3),
  Case(
    window: Window([3, 3], before: [1, 1]),
    images: [[2, 5, 6, 3], [1, 1, 1, 3], [0, 4, 4, 3]], outputs: 5),
  Case(window: Window([3, 3], before: [1, 1]), images: [[1, 9, 17, 20]], outputs: 33),
  Case(window: Window([1, 1]), images: [[2, 3, 4, 5]], outputs: 2),
  Case(
    window: Window([1, 1], strides: [2, 2]), images: [[1, 5, 5, 33]], outputs: 17),
  Case(
    window: Window([3, 2], strides: [2, 3], before: [0, 1], after: [1, 0]),
    images: [[2, 7, 8, 2]], outputs: 3),
  Case(
    window: Window([2, 3], strides: [1, 2], dilations: [3, 2], before: [2, 3], after: [1, 0]),
    images: [[1, 5, 8, 4]], outputs: 6, groups: 2),
  Case(
    window: Window([3, 3], before: [1, 1]), images: [[1, 5, 4, 3]], outputs: 3, groups: 3),
  // Strides beyond the image: of its phases few have elements.
  Case(window: Window([2, 1], strides: [100_000, 90_000]), images: [[1, 3, 2, 2]], outputs: 2),
  // Depthwise: kernels of their own where each channel has one result.
  Case(
    window: Window([3, 3], strides: [2, 2], before: [1, 1]),
    images: [[2, 7, 9, 17], [0, 4, 4, 17], [1, 1, 1, 17]], outputs: 17, groups: 17),
  Case(
    window: Window([5, 5], before: [2, 2]), images: [[1, 6, 15, 33]], outputs: 33, groups: 33),
  Case(
    window: Window([5, 3], strides: [2, 1], before: [2, 1], after: [1, 1]),
    images: [[1, 8, 8, 2]], outputs: 2, groups: 2),
  Case(
    window: Window([3, 3], dilations: [2, 3], before: [2, 3]),
    images: [[1, 6, 9, 18]], outputs: 18, groups: 18),
  Case(
    window: Window([7], strides: [3], before: [4], after: [5]), images: [[2, 19, 3]], outputs: 3,
    groups: 3),
  Case(
    window: Window([2, 3, 3], strides: [1, 2, 2], before: [1, 1, 1], after: [0, 1, 1]),
    images: [[1, 3, 4, 5, 5]], outputs: 5, groups: 5),
  // One channel, and two results of each channel: as any convolution.
  Case(window: Window([3, 3], before: [1, 1]), images: [[1, 5, 4, 1]], outputs: 1),
  Case(
    window: Window([3, 3], strides: [2, 2], before: [1, 1]),
    images: [[1, 5, 6, 3]], outputs: 6, groups: 3),
  // Padding beyond the window: places that meet no element.
  Case(window: Window([2, 2], before: [3, 3]), images: [[1, 2, 2, 2]], outputs: 2),
  Case(
    window: Window([2, 3, 2], strides: [2, 1, 1], before: [1, 1, 0]),
    images: [[1, 3, 4, 3, 2]], outputs: 3),
]

/// `relu(convolution + bias)` and `convolution + residual`, in registers; a program of its own.
private let fused: [OpSpec] = {
  let window = Window([3, 3], before: [1, 1])
  let image = TensorType.f32(2, 5, 6, 3)
  let kernel = TensorType.f32(5, 3, 3, 3)
  let result = TensorType.f32(2, 5, 6, 5)
  let biasAndRelu = LoopProgram(
    [.init(.apply(Add()), [.operand(0), .operand(1)]), .init(.apply(Relu()), [.value(0)])],
    outputs: [1])
  let gate = LoopProgram(
    [.init(.apply(Gate()), [.operand(1), .operand(0)])], outputs: [0])
  let scaled = LoopProgram(
    [
      .init(.apply(Multiply()), [.operand(0), .operand(1)]),
      .init(.apply(Tanh()), [.value(0)]),
      .init(.apply(Add()), [.value(1), .operand(2)]),
    ], outputs: [0, 2])
  let residual = LoopProgram(
    [.init(.apply(Add()), [.operand(0), .operand(1)])], outputs: [0])
  let maskedResidual = LoopProgram(
    [
      .init(.apply(Add()), [.operand(0), .operand(2)]),
      .init(.apply(Gate()), [.operand(1), .value(0)]),
    ], outputs: [1])
  return [
    OpSpec(
      Fused(
        ConvolutionDataGradient(ConvolutionGeometry(window), image: [5, 6]),
        program: maskedResidual),
      on: [[result, kernel, image, image]], smoothness: .unchecked, relativeTolerance: 1e-5,
      absoluteTolerance: 1e-5),
    OpSpec(
      Fused(Convolution(window), program: biasAndRelu), on: [[image, kernel, .f32(5)]],
      rejects: [[image, kernel, .f32(4)]], smoothness: .unchecked, relativeTolerance: 1e-5,
      absoluteTolerance: 1e-5),
    OpSpec(
      Fused(Convolution(window), program: gate), on: [[image, kernel, result]],
      smoothness: .unchecked, relativeTolerance: 1e-5, absoluteTolerance: 1e-5),
    OpSpec(
      Fused(Convolution(window, groups: 1), program: scaled),
      on: [
        [image, kernel, .f32(5), result], [.f32(0, 4, 4, 3), kernel, .f32(5), .f32(0, 4, 4, 5)],
      ],
      smoothness: .unchecked, relativeTolerance: 1e-5, absoluteTolerance: 1e-5),
    OpSpec(
      Fused(Convolution(window, groups: 19), program: biasAndRelu),
      on: [[.f32(2, 5, 9, 19), .f32(19, 3, 3, 1), .f32(19)]], smoothness: .unchecked,
      relativeTolerance: 1e-5, absoluteTolerance: 1e-5),
    OpSpec(
      Fused(Convolution(window, groups: 19), program: scaled),
      on: [[.f32(2, 5, 9, 19), .f32(19, 3, 3, 1), .f32(19), .f32(2, 5, 9, 19)]],
      smoothness: .unchecked, relativeTolerance: 1e-5, absoluteTolerance: 1e-5),
    OpSpec(
      Fused(
        ConvolutionDataGradient(ConvolutionGeometry(window, groups: 19), image: [5, 9]),
        program: scaled),
      on: [[.f32(2, 5, 9, 19), .f32(19, 3, 3, 1), .f32(19), .f32(2, 5, 9, 19)]],
      smoothness: .unchecked, relativeTolerance: 1e-5, absoluteTolerance: 1e-5),
    OpSpec(
      Fused(
        ConvolutionDataGradient(ConvolutionGeometry(window), image: [5, 6]), program: residual),
      on: [[result, kernel, image]], smoothness: .unchecked, relativeTolerance: 1e-5,
      absoluteTolerance: 1e-5),
    OpSpec(
      Fused(
        ConvolutionDataGradient(ConvolutionGeometry(window), image: [5, 6]), program: scaled),
      on: [[result, kernel, .f32(3), image]], smoothness: .unchecked, relativeTolerance: 1e-5,
      absoluteTolerance: 1e-5),
  ]
}()

/// With arrays of other types than the sums': what `NarrowStorage` makes of the three.
private let narrow: [OpSpec] = {
  let window = Window([3, 3], before: [1, 1])
  let geometry = ConvolutionGeometry(window)
  let image = TensorType.bf16(2, 5, 6, 4)
  let kernel = TensorType.f32(6, 3, 3, 4)
  let result = TensorType.bf16(2, 5, 6, 6)
  /// `round(relu(sum + widened))`.
  let residual = LoopProgram(
    [
      .init(.apply(Cast(to: .f32)), [.operand(1)]),
      .init(.apply(Add()), [.operand(0), .value(0)]), .init(.apply(Relu()), [.value(1)]),
      .init(.apply(Cast(to: .bf16)), [.value(2)]),
    ], outputs: [3])
  /// `round(gate(widened, sum + widened))`.
  let masked = LoopProgram(
    [
      .init(.apply(Cast(to: .f32)), [.operand(1)]), .init(.apply(Cast(to: .f32)), [.operand(2)]),
      .init(.apply(Add()), [.operand(0), .value(1)]),
      .init(.apply(Gate()), [.value(0), .value(2)]),
      .init(.apply(Cast(to: .bf16)), [.value(3)]),
    ], outputs: [4])
  func spec(_ op: any Op, _ operands: [TensorType], rejects: [[TensorType]] = []) -> OpSpec {
    OpSpec(
      op, on: [operands], rejects: rejects, smoothness: .unchecked, relativeTolerance: 1e-2,
      absoluteTolerance: 2e-2, isConsistent: false)
  }
  return [
    spec(
      Convolution(window, result: .f32), [image, kernel],
      rejects: [[.i32(2, 5, 6, 4), kernel], [image, .f32(6, 3, 3, 3)]]),
    spec(
      Convolution(window, result: .bf16), [image, kernel], rejects: [[image, .i32(6, 3, 3, 4)]]),
    spec(Convolution(window, result: .bf16), [.f32(2, 5, 6, 3), .f32(6, 3, 3, 3)]),
    spec(Convolution(window, groups: 2, result: .bf16), [image, .f32(6, 3, 3, 2)]),
    spec(ConvolutionDataGradient(geometry, image: [5, 6], result: .bf16), [result, kernel]),
    spec(
      ConvolutionWeightGradient(geometry, result: .f32), [image, result],
      rejects: [[image, .bf16(2, 5, 5, 6)]]),
    spec(ConvolutionWeightGradient(geometry, result: .f32), [.f32(2, 5, 6, 4), result]),
    spec(
      Fused(Convolution(window, result: .f32), program: residual), [image, kernel, result]),
    spec(
      Fused(ConvolutionDataGradient(geometry, image: [5, 6], result: .f32), program: masked),
      [result, kernel, image, image]),
  ]
}()

let convolutionSpecs: [OpSpec] = cases.flatMap { $0.specs() } + fused + narrow
