// Pooling does what PyTorch's does (data by Tests/reference/pooling.py), and refuses what makes no window.

import Apus
import Foundation
import TestSupport
import Testing

/// A case as the reference file has it.
private struct PoolCase: Decodable, Sendable {
  var kind: String
  var image: [Int]
  var shape: [Int]
  var y: [Double]
  var gradient: [Double]
  var size: [Int]
  var stride: [Int]?
  var padding: [Int]?
  var dilation: [Int]?
  var ceilMode: Bool?
  var countsPadding: Bool?
  var divisor: Double?
  /// Infinity is written as -1.
  var order: Double?
  var to: [Int]?

  func apply(_ x: Tensor) -> Tensor {
    let size = PerAxis(size), stride = stride.map { PerAxis($0) }
    let padding = padding.map { Padding.each($0) } ?? .valid
    let dilation = dilation.map { PerAxis($0) } ?? 1, ceilMode = ceilMode ?? false
    switch kind {
    case "max":
      return maxPool(
        x, size, stride: stride, padding: padding, dilation: dilation, ceilMode: ceilMode)
    case "average":
      return averagePool(
        x, size, stride: stride, padding: padding, ceilMode: ceilMode,
        countsPadding: countsPadding!, divisor: divisor)
    case "adaptiveMax": return adaptiveMaxPool(x, to: size)
    case "adaptiveAverage": return adaptiveAveragePool(x, to: size)
    case "lp": return lpPool(x, order! < 0 ? .infinity : order!, size, stride: stride)
    default:
      let (y, places) = maxPoolWithIndices(x, size, stride: stride, padding: padding)
      return maxUnpool(y, places, size, stride: stride, padding: padding, to: to)
    }
  }
}

/// `(37 i mod modulus - middle) / scale`, as in the script.
private func numbered(
  _ shape: [Int], _ modulus: Int, _ middle: Double, _ scale: Double
) -> NDArray {
  let values = (0..<shape.reduce(1, *)).map { (Double(37 * $0 % modulus) - middle) / scale }
  return NDArray(doubles: values, type: TensorType(.f64, Shape(shape)))
}

private let reference: [String: PoolCase] = {
  let url = Bundle.module.url(
    forResource: "pooling", withExtension: "json", subdirectory: "Reference")!
  return try! JSONDecoder().decode([String: PoolCase].self, from: Data(contentsOf: url))
}()

private func failure(_ types: [TensorType], _ body: ([Tensor]) -> Tensor) -> ApusError? {
  do {
    _ = try traced(types) { [body($0)] }
    return nil
  } catch {
    return error as? ApusError
  }
}

@Suite struct PoolingTests {
  @Test func poolingAndItsGradients_areAsInPyTorch() throws {
    #expect(reference.count > 60)
    for (name, test) in reference {
      let x = numbered(test.image, 127, 63.25, 8), weights = numbered(test.shape, 17, 8, 1)
      let wanted = zip([weights.type, x.type], [test.y, test.gradient]).map {
        NDArray(doubles: $1, type: $0)
      }
      let graph = try traced([x.type, weights.type]) { t in
        let y = test.apply(t[0])
        return [y] + gradients(of: (y * t[1]).sum(), withRespectTo: [t[0]])
      }
      let found = try graph.interpret(inputs: [x, weights]).outputs
      for (got, want) in zip(found, wanted) {
        let problem = OpSpec.difference(got, want, relative: 1e-8, absolute: 1e-8)
        #expect(problem == nil, "\(name): \(problem ?? "")")
      }
      // And compiled, in f32.
      let narrow = [x, weights].map { $0.cast(to: .f32) }
      let compiled = try traced(narrow.map(\.type)) { t in
        let y = test.apply(t[0])
        return [y] + gradients(of: (y * t[1]).sum(), withRespectTo: [t[0]])
      }
      for (got, want) in zip(try Executable(compiled).run(narrow), wanted) {
        let problem = OpSpec.difference(got, want, relative: 1e-5, absolute: 1e-5)
        #expect(problem == nil, "\(name), compiled: \(problem ?? "")")
      }
    }
  }

  @Test func aWindowLargerThanTheImage_isRefusedWithBothReadings() {
    let error = failure([.f32(8, 3, 32, 32)]) { maxPool($0[0], 5) }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.what.contains("as [n, h, w, c] is 3 x 32 with 32 channels") == true)
    #expect(
      error?.expected?.contains(
        "as [n, c, h, w] it would be 32 x 32 with 3 channels: transpose to [n, h, w, c]") == true)
    // Where channels first would not fit either, nothing is said of them.
    let small = failure([.f32(8, 3, 3, 3)]) { averagePool($0[0], 5) }
    #expect(small?.kind == .shapeMismatch && small?.expected?.contains("transpose") == false)
  }

  @Test func numbersThatMakeNoWindow_areRefused() {
    let image = [TensorType.f32(2, 8, 8, 3)]
    let mistakes: [(String, ApusError.Kind, ([Tensor]) -> Tensor)] = [
      ("padding of more than half", .invalidArgument, { maxPool($0[0], 3, padding: 2) }),
      ("padding of more than half", .invalidArgument, { averagePool($0[0], 2, padding: 2) }),
      ("size 0", .invalidArgument, { maxPool($0[0], 0) }),
      ("stride 0", .invalidArgument, { maxPool($0[0], 2, stride: 0) }),
      ("dilation 0", .invalidArgument, { maxPool($0[0], 2, dilation: 0) }),
      ("padding below 0", .invalidArgument, { maxPool($0[0], 2, padding: -1) }),
      ("three sizes", .invalidArgument, { maxPool($0[0], [2, 2, 2]) }),
      ("three strides", .invalidArgument, { averagePool($0[0], 2, stride: [1, 1, 1]) }),
      ("no size", .invalidArgument, { averagePool($0[0], []) }),
      ("divisor 0", .invalidArgument, { averagePool($0[0], 2, divisor: 0) }),
      ("order 0", .invalidArgument, { lpPool($0[0], 0, 2) }),
      ("order NaN", .invalidArgument, { lpPool($0[0], .nan, 2) }),
      ("extent 0", .invalidArgument, { adaptiveMaxPool($0[0], to: 0) }),
      ("two extents of three", .invalidArgument, { adaptiveAveragePool($0[0], to: [1, 2, 3]) }),
      ("an absurd extent", .resource, { adaptiveMaxPool($0[0], to: 1_073_741_824) }),
      ("a matrix", .shapeMismatch, { globalAveragePool($0[0].reshaped([16, 24])) }),
      ("integers", .dtypeMismatch, { maxPool($0[0].cast(to: .i32), 2) }),
      ("other images", .shapeMismatch, { MaxPool1d(2)($0[0]) }),
      (
        "indices of another window", .shapeMismatch,
        { maxUnpool($0[0], maxPoolWithIndices($0[0], 2).indices, 2) }
      ),
    ]
    for (name, kind, body) in mistakes {
      let error = failure(image, body)
      #expect(error?.kind == kind, "\(name): \(error.map { "\($0)" } ?? "no error")")
      #expect(error?.location?.contains("PoolingTests.swift") == true, "\(name)")
    }
    let empty = failure([.f32(2, 0, 8, 3)]) { maxPool($0[0], 2, padding: 1) }
    #expect(empty?.kind == .shapeMismatch)
  }

  @Test func sixteenBitFloats_arePooledInTheirOwnType() throws {
    let x = NDArray(
      doubles: (0..<64).map { Double(($0 * 29) % 64) / 4 }, type: TensorType(.f32, [1, 4, 4, 4]))
    for dtype in [DType.f16, .bf16] {
      let graph = try traced([TensorType(dtype, [1, 4, 4, 4])]) {
        let (y, places) = maxPoolWithIndices($0[0], 2)
        return [y, averagePool($0[0], 2), lpPool($0[0], 2, 2), maxUnpool(y, places, 2)]
      }
      let found = try Executable(graph).run([x.cast(to: dtype)])
      let wanted = try graph.interpret(inputs: [x.cast(to: dtype)]).outputs
      for (got, want) in zip(found, wanted) {
        #expect(got.dtype == dtype)
        #expect(OpSpec.difference(got, want, relative: 1e-2, absolute: 1e-2) == nil)
      }
    }
  }

  @Test func unpooling_whereWindowsOverlap_putsEveryNumberBackOnce() throws {
    var values = [Double](repeating: 0, count: 49)
    for (place, value) in [(8, 5.0), (12, 3), (36, 9), (40, 7)] { values[place] = value }
    let graph = try traced([.f64(1, 7, 7, 1)]) {
      let (y, places) = maxPoolWithIndices($0[0], 3, stride: 2, padding: 1)
      return [maxUnpool(y, places, 3, stride: 2, padding: 1, to: [7, 7])]
    }
    let x = NDArray(doubles: values, type: .f64(1, 7, 7, 1))
    #expect(try graph.interpret(inputs: [x]).outputs[0] == x)
  }

  @Test func samePadding_goesWithUnpooling() throws {
    let graph = try traced([.f32(1, 8, 6, 2)]) {
      let (y, places) = maxPoolWithIndices($0[0], 3, stride: 2, padding: .same)
      return [maxUnpool(y, places, 3, stride: 2, padding: .same)]
    }
    #expect(graph.type(of: graph.outputs[0].operand).shape == [1, 8, 6, 2])
  }

  @Test func layers_areTheFunctions() throws {
    let (line, image, volume) = (Shape([2, 12, 3]), Shape([2, 12, 9, 3]), Shape([1, 4, 6, 8, 2]))
    let layers: [(any Layer, Shape, Shape)] = [
      (MaxPool1d(2), line, [2, 6, 3]), (MaxPool2d(3, stride: 2, padding: 1), image, [2, 6, 5, 3]),
      (MaxPool3d([1, 2, 2]), volume, [1, 4, 3, 4, 2]),
      (MaxPool2d(2, ceilMode: true), image, [2, 6, 5, 3]),
      (AvgPool1d(3, stride: 1, padding: .same), line, line), (AvgPool2d(2), image, [2, 6, 4, 3]),
      (AvgPool3d(2), volume, [1, 2, 3, 4, 2]),
      (LPPool(2, 3), image, [2, 4, 3, 3]), (AdaptiveAvgPool1d(5), line, [2, 5, 3]),
      (AdaptiveAvgPool2d([4, 2]), image, [2, 4, 2, 3]),
      (AdaptiveAvgPool3d(1), volume, [1, 1, 1, 1, 2]),
      (AdaptiveMaxPool1d(5), line, [2, 5, 3]), (AdaptiveMaxPool2d(4), image, [2, 4, 4, 3]),
      (AdaptiveMaxPool3d(2), volume, [1, 2, 2, 2, 2]), (GlobalAveragePool(), image, [2, 3]),
      (GlobalMaxPool(), volume, [1, 2]),
    ]
    for (layer, shape, wanted) in layers {
      let graph = try traced([TensorType(.f32, shape)]) { [layer($0[0])] }
      #expect(graph.type(of: graph.outputs[0].operand).shape == wanted, "\(layer)")
    }
    let graph = try traced([.f32(2, 13, 9, 3)]) {
      let (y, places) = maxPoolWithIndices($0[0], 2)
      return [MaxUnpool(2)(y, places), MaxUnpool(2)(y, places, to: [13, 9])]
    }
    #expect(
      graph.outputs.map { graph.type(of: $0.operand).shape } == [[2, 12, 8, 3], [2, 13, 9, 3]])
  }
}
