// Normalisations, resampling, shuffles and padding of images do what PyTorch's do (data by
// Tests/reference/images.py).

import Apus
import Foundation
import TestSupport
import Testing

private struct Reference: Decodable {
  struct Input: Decodable {
    var shape: [Int]
    var values: [Double]
  }
  struct Case: Decodable {
    var image: String
    var shape: [Int]
    var result: [Double]
    var gradients: [[Double]]
  }
  var inputs: [String: Input]
  var cases: [String: Case]

  static let file: Reference = {
    let url = Bundle.module.url(
      forResource: "images", withExtension: "json", subdirectory: "Reference")!
    return try! JSONDecoder().decode(Reference.self, from: Data(contentsOf: url))
  }()
}

/// Each case's name in the file, and what Apus computes of the image and the parameters.
private let functions: [String: @Sendable ([Tensor]) -> Tensor] = {
  var all: [String: @Sendable ([Tensor]) -> Tensor] = [
    "groupNorm plain": { groupNorm($0[0], groups: 3) },
    "instanceNorm": { instanceNorm($0[0], gamma: $0[1], beta: $0[2]) },
    "instanceNorm line": { instanceNorm($0[0]) },
    "localResponseNorm 3": { localResponseNorm($0[0], size: 3, alpha: 0.5, k: 2) },
    "localResponseNorm 2": { localResponseNorm($0[0], size: 2, alpha: 0.5) },
    "localResponseNorm 18": { localResponseNorm($0[0], size: 18, alpha: 0.5) },
    "bilinear near scale": { interpolate($0[0], scale: [1.1], mode: .bilinear) },
    "bilinear half near scale": { interpolate($0[0], scale: [1.1, 2], mode: .bilinear) },
    "nearest-exact near scale": {
      interpolate($0[0], scale: [1.15, 0.5], mode: .nearestExact)
    },
    "pixelShuffle": { pixelShuffle($0[0], 2) },
    "pixelShuffle deep": { pixelShuffle($0[0].sliced(axis: -1, from: 0, to: 18), 3) },
    "pixelUnshuffle": { pixelUnshuffle($0[0], 2) },
  ]
  for groups in [1, 2, 4] {
    all["groupNorm \(groups)"] = {
      groupNorm($0[0], groups: groups, gamma: $0[1], beta: $0[2], epsilon: 1e-3)
    }
  }
  let nearest: [(String, Interpolation)] = [
    ("nearest", .nearest), ("nearest-exact", .nearestExact),
  ]
  for (name, mode) in nearest {
    all["\(name) size"] = { interpolate($0[0], size: [7, 3], mode: mode) }
    all["\(name) scale"] = { interpolate($0[0], scale: [2], mode: mode) }
    all["\(name) odd scale"] = { interpolate($0[0], scale: [1.7, 0.6], mode: mode) }
    all["\(name) line"] = { interpolate($0[0], size: [8], mode: mode) }
    all["\(name) volume"] = { interpolate($0[0], size: [3, 2, 4], mode: mode) }
  }
  for aligned in [false, true] {
    let end = aligned ? " aligned" : ""
    for (name, mode) in [("bilinear", Interpolation.bilinear), ("bicubic", .bicubic)] {
      all["\(name) size\(end)"] = {
        interpolate($0[0], size: [7, 3], mode: mode, alignCorners: aligned)
      }
      all["\(name) scale\(end)"] = {
        interpolate($0[0], scale: [2], mode: mode, alignCorners: aligned)
      }
      all["\(name) odd scale\(end)"] = {
        interpolate($0[0], scale: [1.7, 0.6], mode: mode, alignCorners: aligned)
      }
      all["\(name) one\(end)"] = {
        interpolate($0[0], size: [1], mode: mode, alignCorners: aligned)
      }
    }
    all["linear\(end)"] = { interpolate($0[0], size: [9], mode: .linear, alignCorners: aligned) }
    all["trilinear\(end)"] = {
      interpolate($0[0], size: [3, 2, 5], mode: .trilinear, alignCorners: aligned)
    }
  }
  // Zeros are another op, which has specs of its own.
  for mode in PaddingMode.allCases where mode != .zeros {
    all["pad \(mode)"] = { $0[0].padded(low: [0, 1, 2, 0], high: [0, 2, 3, 0], mode: mode) }
    all["pad \(mode) line"] = { $0[0].padded(low: [0, 0, 0], high: [0, 4, 0], mode: mode) }
  }
  return all
}()

@Suite struct ImageTests {
  private func operands(_ name: String) throws -> (arrays: [NDArray], expected: Reference.Case) {
    let expected = try #require(Reference.file.cases[name])
    let image = try #require(Reference.file.inputs[expected.image])
    let x = NDArray(doubles: image.values, type: TensorType(.f64, Shape(image.shape)))
    let channels = try #require(image.shape.last)
    func line(_ from: Double, _ to: Double) -> NDArray {
      NDArray(
        doubles: (0..<channels).map { from + (to - from) * Double($0) / Double(channels - 1) },
        type: .f64(channels))
    }
    let parameters = [line(0.5, 1.5), line(-1, 1)].prefix(expected.gradients.count - 1)
    return ([x] + parameters, expected)
  }

  private func expectClose(
    _ found: [Double], _ expected: [Double], _ what: String, tolerance: Double = 1e-7
  ) {
    #expect(found.count == expected.count, "\(what)")
    for (a, b) in zip(found, expected) {
      #expect(Swift.abs(a - b) <= tolerance * Swift.max(1, Swift.abs(b)), "\(what): \(a), not \(b)")
    }
  }

  private func results(_ function: ([Tensor]) -> Tensor, _ inputs: [Tensor]) -> [Tensor] {
    let y = function(inputs)
    let places = Tensor.arange(from: 0, to: Double(y.type.count), by: 1, y.dtype)
    let weights = cos(places).reshaped(y.shape)
    return [y] + gradients(of: (y * weights).sum(), withRespectTo: inputs)
  }

  @Test func everyCaseOfTheReferenceIsTested() {
    #expect(Set(Reference.file.cases.keys) == Set(functions.keys))
    #expect(functions.count > 40)
  }

  @Test(arguments: functions.keys.sorted())
  func valuesAndGradients_arePyTorchs(name: String) throws {
    let (arrays, expected) = try operands(name)
    let function = try #require(functions[name])
    let graph = try traced(arrays.map(\.type)) { results(function, $0) }
    let found = try graph.interpret(inputs: arrays).outputs
    #expect(found[0].shape == Shape(expected.shape), "\(name)")
    expectClose(found[0].doubles, expected.result, name)
    for (index, gradient) in expected.gradients.enumerated() {
      expectClose(found[index + 1].doubles, gradient, "\(name): gradient \(index)")
    }
    // And so it is compiled.
    let narrow = arrays.map { $0.cast(to: .f32) }
    let compiled = try compile(narrow.map(\.type)) { results(function, $0) }
    for (index, array) in try compiled.executable.run(narrow).enumerated() {
      expectClose(
        array.doubles, found[index].doubles, "\(name), compiled: result \(index)", tolerance: 2e-5)
    }
  }

  @Test(arguments: functions.keys.sorted())
  func gradients_areThoseOfDifferences_twice(name: String) throws {
    let (arrays, _) = try operands(name)
    let function = try #require(functions[name])
    try checkGradients(arrays, order: 2) { square(function($0)) }
  }

  // MARK: Layers and mistakes

  @Test func layers_doWhatTheFunctionsDo() throws {
    struct Model: Module {
      let group = GroupNorm(2, 4)
      let instance = InstanceNorm(4, affine: true)
      let up = Upsample(scale: 2, mode: .bilinear)
      let sized = Upsample(size: [3, 7], mode: .bicubic, alignCorners: true)
      let shuffle = PixelShuffle(2)
      let unshuffle = PixelUnshuffle(2)
      let pad = Pad(.sides(before: [1, 0], after: [0, 2]), mode: .replicate)
      let zeros = Pad(1, value: 3)
    }
    let model = Model()
    try model.initialize()
    #expect(
      model.parameters.map(\.path) == [
        "group.weight", "group.bias", "instance.weight", "instance.bias",
      ])
    let x = try operands("instanceNorm").arrays[0].cast(to: .f32)
    let both = try compile([x.type]) { inputs in
      let x = inputs[0]
      return [
        model.group(x), groupNorm(x, groups: 2), model.instance(x), instanceNorm(x), model.up(x),
        interpolate(x, scale: [2], mode: .linear), model.sized(x),
        interpolate(x, size: [3, 7], mode: .cubic, alignCorners: true), model.shuffle(x),
        pixelShuffle(x, 2), model.unshuffle(model.shuffle(x)), x, model.pad(x),
        x.padded(low: [0, 1, 0, 0], high: [0, 0, 2, 0], mode: .replicate), model.zeros(x),
        x.padded(low: [0, 1, 1, 0], high: [0, 1, 1, 0], value: 3),
      ]
    }
    let found = try both.executable.run([x])
    for index in stride(from: 0, to: found.count, by: 2) {
      #expect(found[index].shape == found[index + 1].shape)
      expectClose(
        found[index].doubles, found[index + 1].doubles, "pair \(index / 2)", tolerance: 1e-6)
    }
  }

  @Test func instanceNorm_keepsEstimatesAsPyTorchDoes() throws {
    // Two examples with means 1 and 4, unbiased variances 2 and 8; a step of a tenth.
    let norm = InstanceNorm(1, tracksStatistics: true)
    try norm.initialize()
    #expect(norm.buffers.map(\.path) == ["running_mean", "running_var", "num_batches_tracked"])
    let x = NDArray([0, 2, 2, 6], shape: [2, 2, 1])
    let training = try compile([x.type]) { [norm($0[0])] }
    let _: [NDArray] = try training(x)
    #expect(abs(try norm.runningMean!.value().doubles[0] - 0.25) < 1e-6)
    #expect(abs(try norm.runningVariance!.value().doubles[0] - 1.4) < 1e-6)
    let evaluation = try compile([x.type], mode: .evaluation) { [norm($0[0])] }
    let found: [NDArray] = try evaluation(x)
    expectClose(
      found[0].doubles, x.doubles.map { ($0 - 0.25) / 1.4.squareRoot() }, "evaluation",
      tolerance: 1e-4)
  }

  @Test func equalNumbers_are0_whateverTheGroups() throws {
    let type = TensorType.f32(2, 7, 9, 12)
    let function = try compile([type]) { inputs in
      [1, 2, 4, 12].map { groupNorm(inputs[0], groups: $0, epsilon: 0) }
    }
    for value in [0.1, 1e6, -3.3e-5] as [Float] {
      let found = try function.executable.run([
        NDArray(repeating: NDArray(value), shape: type.shape)
      ])
      for array in found { #expect(array.floats.filter { $0 != 0 }.isEmpty, "\(value)") }
    }
  }

  @Test func emptyBatches_andImagesOfOnePixel_work() throws {
    for shape in [[0, 4, 4, 4], [2, 1, 1, 4]] as [Shape] {
      let function = try compile([TensorType(.f32, shape)]) { inputs in
        let x = inputs[0]
        return [
          groupNorm(x, groups: 2), interpolate(x, scale: [2], mode: .bicubic),
          interpolate(x, size: [3, 1], mode: .bilinear, alignCorners: true), pixelShuffle(x, 2),
          x.padded(low: [0, 1, 1, 0], high: [0, 1, 1, 0], mode: .circular),
          localResponseNorm(x, size: 5),
        ]
      }
      let found = try function.executable.run([NDArray(repeating: NDArray(Float(2)), shape: shape)])
      #expect(found.allSatisfy { $0.shape[0] == shape[0] && $0.isFinite })
    }
  }

  private func failure(_ shape: Shape, _ body: (Tensor) -> Tensor) -> String {
    do {
      _ = try traced([TensorType(.f32, shape)]) { [body($0[0])] }
      return ""
    } catch {
      return "\(error)"
    }
  }

  @Test func mistakes_haveNumbersAndTheUsersLine() {
    let image: Shape = [2, 4, 5, 4]
    let mistakes: [(Shape, String, (Tensor) -> Tensor)] = [
      (image, "3 groups of 4 channels", { groupNorm($0, groups: 3) }),
      ([4], "[n, …, channels]", { instanceNorm($0) }),
      (image, "beta without gamma", { groupNorm($0, groups: 2, beta: $0) }),
      (image, "size 0", { localResponseNorm($0, size: 0) }),
      ([4, 4], "no image", { interpolate($0, size: [2]) }),
      ([4, 0, 4], "no image", { interpolate($0, size: [2]) }),
      (image, "one a spatial axis", { interpolate($0, size: [2, 2, 2]) }),
      (image, "scaled by 0.1", { interpolate($0, scale: [0.1]) }),
      (image, "scaled by nan", { interpolate($0, scale: [.nan]) }),
      (image, "1 to 1048576", { interpolate($0, size: [.max]) }),
      (image, "nearest", { interpolate($0, size: [2], alignCorners: true) }),
      (image, "by 3", { pixelShuffle($0, 3) }),
      (image, "by 2", { pixelUnshuffle($0, 2) }),
      (image, "at most 3", { $0.padded(low: [0, 4, 0, 0], high: [0, 0, 0, 0], mode: .reflect) }),
      (image, "at most 4", { $0.padded(low: [0, 0, 0, 0], high: [0, 5, 0, 0], mode: .circular) }),
      (image, "one number an axis", { $0.padded(low: [1], high: [1], mode: .circular) }),
      (image, "one number an axis", { Pad(.each([1, 1, 1]))($0) }),
      (image, "8 channels", { GroupNorm(2, 8)($0) }),
      ([2, 1, 4], "one place", { InstanceNorm(4)($0) }),
    ]
    for (shape, part, body) in mistakes {
      let error = failure(shape, body)
      #expect(error.contains(part) && error.contains("ImageTests.swift:"), "\(part): '\(error)'")
    }
  }
}
