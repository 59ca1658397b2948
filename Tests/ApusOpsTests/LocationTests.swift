// Mistakes and nodes stand at the user's line, never at one within the library.

import ApusGraph
import ApusOps
import Foundation
import TestSupport
import Testing

/// What a sugar function is tried on: floats of one shape, labels, bools, halves that are promoted.
private struct Operands {
  let x, y, half, labels, flags: Tensor
  let vector: Tensor

  static let types: [TensorType] = [
    .f32(4, 4), .f32(4, 4), .bf16(4, 4), .i32(4), .bool(4, 4), .f32(4),
  ]

  init(_ tensors: [Tensor]) {
    (x, y, half) = (tensors[0], tensors[1], tensors[2])
    (labels, flags, vector) = (tensors[3], tensors[4], tensors[5])
  }
}

private typealias Use = (Operands) -> [Tensor]

/// Every public function of ApusOps that takes a line, by its name.
nonisolated(unsafe) private let uses: [String: [Use]] = {
  var all: [String: [Use]] = [:]
  func unary(_ name: String, _ function: @escaping (Tensor) -> Tensor) {
    all[name, default: []].append { [function($0.x), function($0.half)] }
  }
  func binary(_ name: String, _ function: @escaping (Tensor, Tensor) -> Tensor) {
    all[name, default: []].append { [function($0.x, $0.y), function($0.half, $0.x)] }
  }
  unary("abs") { abs($0) }
  unary("acos") { acos($0) }
  unary("acosh") { acosh($0) }
  unary("asin") { asin($0) }
  unary("asinh") { asinh($0) }
  unary("atan") { atan($0) }
  unary("atanh") { atanh($0) }
  unary("ceil") { ceil($0) }
  unary("cos") { cos($0) }
  unary("cosh") { cosh($0) }
  unary("erf") { erf($0) }
  unary("exp") { exp($0) }
  unary("exp2") { exp2($0) }
  unary("expm1") { expm1($0) }
  unary("floor") { floor($0) }
  unary("gelu") { gelu($0) }
  unary("geluTanh") { geluTanh($0) }
  unary("hardSigmoid") { hardSigmoid($0) }
  unary("hardSwish") { hardSwish($0) }
  unary("hardTanh") { hardTanh($0) }
  unary("isFinite") { isFinite($0) }
  unary("isInfinite") { isInfinite($0) }
  unary("isNaN") { isNaN($0) }
  unary("log") { log($0) }
  unary("log10") { log10($0) }
  unary("log1p") { log1p($0) }
  unary("log2") { log2($0) }
  unary("mish") { mish($0) }
  unary("reciprocal") { reciprocal($0) }
  unary("relu") { relu($0) }
  unary("relu6") { relu6($0) }
  unary("round") { round($0) }
  unary("rsqrt") { rsqrt($0) }
  unary("selu") { selu($0) }
  unary("sigmoid") { sigmoid($0) }
  unary("sign") { sign($0) }
  unary("silu") { silu($0) }
  unary("sin") { sin($0) }
  unary("sinh") { sinh($0) }
  unary("softplus") { softplus($0) }
  unary("softsign") { softsign($0) }
  unary("sqrt") { sqrt($0) }
  unary("square") { square($0) }
  unary("tan") { tan($0) }
  unary("tanh") { tanh($0) }
  unary("trunc") { trunc($0) }
  unary("clamp") { clamp($0, low: 0, high: 1) }
  unary("elu") { elu($0) }
  unary("leakyRelu") { leakyRelu($0) }
  unary("softmax") { softmax($0) }
  unary("softmax") { $0.softmax() }
  unary("logSoftmax") { logSoftmax($0) }
  unary("logSoftmax") { $0.logSoftmax(axis: 0) }
  unary("batchNorm") { batchNorm($0, gamma: $0.sum(axis: 0), beta: $0.sum(axis: 0)).result }
  all["batchNorm"]!.append { [batchNorm($0.x, mean: $0.vector, variance: $0.vector)] }
  unary("groupNorm") { groupNorm($0, groups: 2, gamma: $0.sum(axis: 0)) }
  unary("instanceNorm") { instanceNorm($0.reshaped([1, 4, 4])) }
  unary("interpolate") { interpolate($0.reshaped([1, 4, 4]), size: [7], mode: .cubic) }
  unary("interpolate") { interpolate($0.reshaped([1, 4, 4]), scale: [2]) }
  unary("localResponseNorm") { localResponseNorm($0, size: 3) }
  unary("localResponseNorm") { localResponseNorm($0.reshaped([1, 16]), size: 40) }
  unary("pixelShuffle") { pixelShuffle($0.reshaped([1, 2, 2, 4]), 2) }
  unary("pixelUnshuffle") { pixelUnshuffle($0.reshaped([1, 4, 4, 1]), 2) }
  // x as signals, images and volumes of one example and one channel, and windows of two channels.
  unary("conv1d") {
    let bias = $0.reshaped([16])[0..<2, axis: 0]
    return conv1d($0.reshaped([1, 16, 1]), $0.reshaped([2, 8, 1]), bias: bias)
  }
  unary("conv2d") { conv2d($0.reshaped([1, 4, 4, 1]), $0.reshaped([2, 4, 2, 1]), padding: .same) }
  unary("conv3d") { conv3d($0.reshaped([1, 2, 4, 2, 1]), $0.reshaped([2, 2, 2, 2, 1])) }
  unary("convTranspose1d") { convTranspose1d($0.reshaped([1, 8, 2]), $0.reshaped([2, 8, 1])) }
  unary("convTranspose2d") {
    convTranspose2d(
      $0.reshaped([1, 4, 2, 2]), $0.reshaped([2, 4, 2, 1]), stride: 2, padding: .same)
  }
  unary("convTranspose3d") {
    convTranspose3d($0.reshaped([1, 2, 2, 2, 2]), $0.reshaped([2, 2, 2, 2, 1]))
  }
  unary("maxPool") { maxPool($0.reshaped([1, 4, 4, 1]), 2) }
  unary("maxPoolWithIndices") { maxPoolWithIndices($0.reshaped([1, 4, 4, 1]), 2).values }
  unary("averagePool") { averagePool($0.reshaped([1, 4, 4, 1]), 3, padding: 1) }
  unary("lpPool") { lpPool($0.reshaped([1, 4, 4, 1]), 2, 2) }
  unary("adaptiveAveragePool") { adaptiveAveragePool($0.reshaped([1, 4, 4, 1]), to: 3) }
  unary("adaptiveMaxPool") { adaptiveMaxPool($0.reshaped([1, 4, 4, 1]), to: 3) }
  unary("globalAveragePool") { globalAveragePool($0.reshaped([1, 4, 4, 1])) }
  unary("globalMaxPool") { globalMaxPool($0.reshaped([1, 4, 4, 1]), keepDims: true) }
  unary("maxUnpool") {
    let (y, places) = maxPoolWithIndices($0.reshaped([1, 4, 4, 1]), 2)
    return maxUnpool(y, places, 2)
  }
  for mode in PaddingMode.allCases {
    unary("padded") { $0.padded(low: [1, 0], high: [2, 1], mode: mode) }
  }
  unary("layerNorm") { layerNorm($0) }
  unary("rmsNorm") { rmsNorm($0) }
  unary("dropout") { dropout($0.cast(to: .f32), 0.5) }
  unary("dropout") { $0.cast(to: .f32).dropout(0.5) }
  unary("stopGradient") { $0.stopGradient() }
  unary("magnitudeBound") { magnitudeBound([$0, abs($0)]) }
  unary("momentumStep") {
    momentumStep($0, $0, velocity: $0, rate: $0.sum(), momentum: 0.9, weightDecay: 0.1).parameter
  }
  unary("adamStep") {
    adamStep(
      $0, $0, firstMoment: $0, secondMoment: $0, stepSize: $0.sum(), inverseRootCorrection: $0.sum()
    ).parameter
  }
  unary("sum") { $0.sum(axis: 0) }
  unary("sum") { $0.broadcast(to: [3, 4, 4]).sum(to: [1, 4]) }
  unary("mean") { $0.mean() }
  unary("mean") { $0.mean(axis: 0) }
  unary("max") { $0.max(axis: 0) }
  unary("min") { $0.min(axis: 0) }
  unary("product") { $0.product(axis: 0) }
  unary("any") { $0.any(axis: 0) }
  unary("all") { $0.all(axis: 0) }
  unary("variance") { $0.variance(axis: 0) }
  unary("std") { $0.std(axis: 0) }
  unary("logsumexp") { $0.logsumexp(axis: 0) }
  for order in [1, 2, 3, Double.infinity, -Double.infinity] as [Double] {
    unary("norm") { $0.norm(order: order, axis: 0) }
  }
  unary("reduced") { $0.reduced(by: .mean) }
  unary("reduced") { $0.reduced(by: .sum) }
  unary("argmax") { $0.argmax() }
  unary("argmin") { $0.argmin() }
  unary("sorted") { $0.sorted().values }
  unary("topK") { $0.topK(2).values }
  unary("cumulativeSum") { $0.cumulativeSum() }
  unary("cast") { $0.cast(to: .f64) }
  unary("reshaped") { $0.reshaped([2, -1]) }
  unary("flattened") { $0.flattened() }
  unary("broadcast") { $0.broadcast(to: [2, 4, 4]) }
  unary("squeezed") { $0.reshaped([4, 1, 4]).squeezed(axis: 1) }
  unary("expandingDims") { $0.expandingDims(at: 0) }
  unary("repeated") { $0.repeated(2, axis: 0) }
  unary("tiled") { $0.tiled([2, 1]) }
  unary("lowerTriangle") { $0.lowerTriangle(diagonal: 1) }
  unary("upperTriangle") { $0.upperTriangle() }
  unary("sliced") { $0.sliced(axis: 0, from: 1) }
  unary("sliced") { $0.sliced(starts: [1, 0], stops: [nil, nil]) }
  unary("subscript") { $0[1, axis: 0] }
  unary("subscript") { $0[1..., axis: 0] }
  unary("flipped") { $0.flipped(axis: 0) }
  unary("padded") { $0.padded(low: [1, 0], high: [0, 1]) }
  unary("rolled") { $0.rolled(by: 1, axis: 0) }
  unary("transposed") { $0.transposed() }
  unary("transposed") { $0.transposed([1, 0]) }
  unary("swappingAxes") { $0.swappingAxes(0, 1) }
  unary("movingAxis") { $0.movingAxis(0, to: 1) }
  unary("zerosLike") { $0.zerosLike() }
  unary("onesLike") { $0.onesLike() }
  unary("fullLike") { $0.fullLike(3) }
  all["split"] = [{ $0.x.split([1, 3]) }]
  all["chunked"] = [{ $0.x.chunked(into: 2) }]
  for (name, function) in [
    ("atan2", { atan2($0, $1) }), ("maximum", { maximum($0, $1) }),
    ("minimum", { minimum($0, $1) }), ("pow", { pow($0, $1) }), ("mod", { mod($0, $1) }),
    ("floorDivide", { floorDivide($0, $1) }),
    ("truncatingDivide", { truncatingDivide($0, $1) }), ("gate", { gate($0, $1) }),
    ("equal", { equal($0, $1) }), ("notEqual", { notEqual($0, $1) }), ("less", { less($0, $1) }),
    ("lessOrEqual", { lessOrEqual($0, $1) }), ("greater", { greater($0, $1) }),
    ("greaterOrEqual", { greaterOrEqual($0, $1) }), ("matmul", { matmul($0, $1) }),
    ("matmul", { $0.matmul($1) }),
  ] as [(String, (Tensor, Tensor) -> Tensor)] {
    binary(name, function)
  }
  all["matmul"]!.append { [$0.vector.matmul($0.half), $0.half.matmul($0.vector)] }
  for (name, functions) in [
    ("atan2", [{ atan2($0, 2) }, { atan2(2, $0) }]),
    ("maximum", [{ maximum($0, 2) }, { maximum(2, $0) }]),
    ("minimum", [{ minimum($0, 2) }, { minimum(2, $0) }]),
    ("pow", [{ pow($0, 3) }, { pow($0, -1) }, { pow(2, $0) }]),
    ("mod", [{ mod($0, 2) }, { mod(2, $0) }]),
    ("floorDivide", [{ floorDivide($0, 2) }, { floorDivide(2, $0) }]),
    ("truncatingDivide", [{ truncatingDivide($0, 2) }, { truncatingDivide(2, $0) }]),
    ("equal", [{ equal($0, 2) }, { equal(2, $0) }]),
    ("notEqual", [{ notEqual($0, 2) }, { notEqual(2, $0) }]),
    ("less", [{ less($0, 2) }, { less(2, $0) }]),
    ("lessOrEqual", [{ lessOrEqual($0, 2) }, { lessOrEqual(2, $0) }]),
    ("greater", [{ greater($0, 2) }, { greater(2, $0) }]),
    ("greaterOrEqual", [{ greaterOrEqual($0, 2) }, { greaterOrEqual(2, $0) }]),
  ] as [(String, [(Tensor) -> Tensor])] {
    for function in functions { unary(name, function) }
  }
  all["floorDivide"]!.append { [floorDivide($0.labels, 2)] }
  all["geluDerivative"] = [{ [geluDerivative($0.x)] }]
  all["geluTanhDerivative"] = [{ [geluTanhDerivative($0.x)] }]
  all["siluDerivative"] = [{ [siluDerivative($0.x)] }]
  all["where"] = [
    {
      [`where`($0.flags, $0.x, $0.half), `where`($0.flags, 0, $0.x), `where`($0.flags, $0.x, 0)]
    }
  ]
  all["logicalAnd"] = [{ [logicalAnd($0.flags, $0.flags)] }]
  all["logicalOr"] = [{ [logicalOr($0.flags, $0.flags)] }]
  all["logicalXor"] = [{ [logicalXor($0.flags, $0.flags)] }]
  all["logicalNot"] = [{ [logicalNot($0.flags)] }]
  all["concat"] = [{ [concat([$0.x, $0.half])] }]
  all["stack"] = [{ [stack([$0.x, $0.half])] }]
  all["einsum"] = [
    {
      [
        einsum("ij,jk->ki", $0.half, $0.x), einsum("ii->i", $0.x), einsum("ij,j", $0.x, $0.vector),
        einsum("ij,kl->ikjl", $0.x, $0.y), einsum("ij->", $0.x),
      ]
    }
  ]
  all["take"] = [{ [$0.x.take($0.labels)] }]
  all["takeAlong"] = [{ [$0.x.takeAlong($0.labels.expandingDims(at: 1))] }]
  all["embedding"] = [{ [embedding($0.labels, $0.x)] }]
  all["scatterAdd"] = [{ [$0.x.scatterAdd($0.half, at: $0.labels)] }]
  all["scatterAddAlong"] = [
    {
      [$0.x.scatterAddAlong($0.half[0..<1, axis: 1], at: $0.labels.expandingDims(at: 1))]
    }
  ]
  all["oneHot"] = [{ [$0.labels.oneHot(4)] }]
  all["lengthMask"] = [{ [$0.labels.lengthMask(4)] }]
  unary("rotaryPositions") { rotaryPositions($0.reshaped([1, 4, 1, 4])) }
  unary("scaledDotProductAttention") {
    let x = $0.reshaped([1, 4, 1, 4])
    return scaledDotProductAttention(x, x, x, isCausal: true)
  }
  unary("scan") { x in
    scan(x, from: x.sum(axis: 0)) { sum, row in (carry: sum + row, output: row * 2) }.outputs
  }
  all["alibiSlopes"] = [{ [maximum($0.x, alibiSlopes(heads: 4))] }]
  all["sinusoidalPositions"] = [{ [maximum($0.x, sinusoidalPositions(length: 4, width: 4))] }]
  all["crossEntropy"] = [{ [crossEntropy($0.x, $0.labels), crossEntropy($0.x, $0.half)] }]
  all["withGradient"] = [
    {
      [
        withGradient([$0.x]) {
          square($0[0])
        } gradient: {
          [$0.gradient]
        }
      ]
    }
  ]
  all["full"] = [{ [Tensor.full([2, 3], 4), $0.x.trace.full([2], 1)] }]
  all["zeros"] = [{ _ in [Tensor.zeros([2, 3])] }]
  all["ones"] = [{ _ in [Tensor.ones([2, 3])] }]
  all["arange"] = [{ _ in [abs(Tensor.arange(to: 3))] }]
  all["range"] = [{ [abs($0.x.trace.range(to: 3))] }]
  all["iota"] = [{ _ in [Tensor.iota([2, 3], axis: 1)] }]
  all["eye"] = [{ _ in [Tensor.eye(3)] }]
  all["randomNormal"] = [{ _ in [Tensor.randomNormal([3], mean: 1, deviation: 2, dtype: .bf16)] }]
  all["randomUniform"] = [{ _ in [Tensor.randomUniform([3], in: -1..<2, dtype: .f16)] }]
  all["randomBernoulli"] = [{ _ in [Tensor.randomBernoulli([3])] }]
  all["bernoulli"] = [{ [$0.x.trace.bernoulli([3])] }]
  return all
}()

private let here = "ApusOpsTests/LocationTests.swift:"

@Suite struct LocationTests {
  /// Names of functions with a `file:` parameter, read from the sources.
  @Test func everySugarFunctionIsTried() throws {
    let folder = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../../Sources/ApusOps")
    var names: Set<String> = []
    let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    while let file = files?.nextObject() as? URL {
      guard file.pathExtension == "swift" else { continue }
      let text = try String(contentsOf: file, encoding: .utf8)
      let pattern =
        /public (?:static )?(?:func `?(\w+)`?|(subscript))(?:<[^>]*>)?\((?:[^{}]|\{\s*\})*?\)\s*(?:throws\S* )?->/
      for match in text.matches(of: pattern) where match.0.contains("file: StaticString") {
        names.insert(String(match.1 ?? match.2 ?? ""))
      }
    }
    #expect(names.count > 120)
    #expect(names.subtracting(uses.keys).sorted() == [])
  }

  @Test(arguments: uses.keys.sorted())
  func nodes_standAtTheUsersLine(name: String) throws {
    for use in uses[name] ?? [] {
      let graph = try traced(Operands.types) { use(Operands($0)) }
      #expect(!graph.nodes.isEmpty, "\(name)")
      for node in graph.nodes {
        let location = node.origins.first?.location ?? ""
        #expect(location.hasPrefix(here), "\(name): \(node.op.mnemonic) at '\(location)'")
      }
    }
  }

  /// Every function given an operand of another trace.
  @Test(arguments: uses.keys.sorted())
  func mistakes_standAtTheUsersLine(name: String) throws {
    for use in uses[name] ?? [] {
      let foreign = Trace()
      let strangers = Operands.types.enumerated().map { foreign.input("x\($0)", $1) }
      // The foreign trace is finished: what is wrong there is that its tensors are used here.
      let trace = Trace()
      Trace.$current.withValue(trace) {
        for tensor in use(Operands(strangers)) { trace.output("y", tensor) }
      }
      // Functions of no operand make no such mistake, and what is only handed on has no line.
      guard let error = trace.error, let location = error.location else { continue }
      #expect(location.hasPrefix(here), "\(name): \(error)")
    }
  }

  @Test func wrongShapes_areReportedAtTheUsersLine() throws {
    let mistakes: [(String, (Operands) -> Tensor)] = [
      ("ones", { $0.x + Tensor.ones([5]) }),
      ("ones of -1", { _ in Tensor.ones([-1]) }),
      ("full", { _ in Tensor.full([1 << 61], 0) }),
      ("eye", { _ in Tensor.eye(-1) }),
      ("eye columns", { _ in Tensor.eye(2, columns: -2) }),
      ("iota", { _ in Tensor.iota([2], axis: 1) }),
      ("arange", { _ in Tensor.arange(to: 3, by: 0) }),
      ("std", { $0.x.std(axis: 2) }),
      ("mean of integers", { $0.labels.mean() }),
      ("variance", { $0.labels.variance() }),
      ("norm", { $0.x.norm(order: 0) }),
      ("logsumexp", { $0.x.logsumexp(axis: 5) }),
      ("mod", { mod($0.flags, $0.flags) }),
      ("mish", { mish($0.labels) }),
      ("batchNorm", { batchNorm($0.x, epsilon: -1).result }),
      ("groupNorm", { groupNorm($0.x, groups: 3) }),
      ("interpolate", { interpolate($0.x, size: [2]) }),
      ("layerNorm", { layerNorm($0.x, epsilon: -1) }),
      ("rmsNorm", { rmsNorm($0.x, epsilon: .nan) }),
      ("matmul", { matmul($0.x, $0.vector.reshaped([2, 2])) }),
      ("repeated", { $0.x.repeated(.max, axis: 0) }),
      ("tiled", { $0.x.tiled([.max, 2]) }),
      ("padded", { $0.x.padded(low: [.max, 0], high: [1, 0]) }),
      ("split", { $0.x.split([.max, 3])[0] }),
      ("chunked", { $0.x.chunked(into: 1 << 40)[0] }),
      ("oneHot", { $0.labels.oneHot(.max) }),
      ("randomNormal", { _ in Tensor.randomNormal([3], deviation: -1) }),
      ("randomNormal NaN", { _ in Tensor.randomNormal([3], mean: .nan) }),
      ("randomNormal integers", { _ in Tensor.randomNormal([3], dtype: .i32) }),
      ("randomUniform", { _ in Tensor.randomUniform([3], in: 0..<Double.infinity) }),
      ("randomUniform empty", { _ in Tensor.randomUniform([3], in: 1..<1) }),
      ("randomUniform f16", { _ in Tensor.randomUniform([3], in: 0..<1e6, dtype: .f16) }),
      ("randomUniform shape", { _ in Tensor.randomUniform([-3]) }),
      ("randomBernoulli", { _ in Tensor.randomBernoulli([3], p: 1.5) }),
      ("randomBernoulli NaN", { _ in Tensor.randomBernoulli([3], p: .nan) }),
      ("einsum", { einsum("ij,jk", $0.x, $0.vector) }),
      ("scatterAdd", { $0.x.scatterAdd($0.vector, at: $0.labels) }),
    ]
    for (name, mistake) in mistakes {
      let error = #expect(throws: ApusError.self, "\(name)") {
        try traced(Operands.types) { [mistake(Operands($0))] }
      }
      #expect(error?.location?.hasPrefix(here) == true, "\(name): \(error as Any)")
    }
  }

  /// Inputs and states are made by no node whose line could be inherited.
  @Test func operatorsOnInputsAndStates_standAtTheClosuresLine() throws {
    let operators: [(Tensor, Tensor) -> Tensor] = [
      { x, s in x + s }, { x, _ in x - 1 }, { x, _ in 2 * x }, { _, s in 1 / s }, { x, _ in -x },
      { x, s in x .> s }, { x, _ in x .== 0 }, { x, s in (x * s + 1) / x },
      { x, s in (x .> 0) .& (s .< 0) },
    ]
    for (index, apply) in operators.enumerated() {
      for types in [[TensorType.f32(4), .f32(4)], [.f32(4), .bf16(4)]] {
        let trace = Trace(at: "Closure.swift:7")
        let result = Trace.$current.withValue(trace) {
          apply(trace.input("x", types[0]), trace.state("s", types[1]))
        }
        #expect(!result.isPoisoned && !trace.graph.nodes.isEmpty, "\(index)")
        for node in trace.graph.nodes {
          #expect(node.origins.first?.location == "Closure.swift:7", "\(index) \(node.op.mnemonic)")
        }
      }
      let trace = Trace(at: "Closure.swift:7")
      _ = apply(trace.input("x", .f32(4)), trace.state("s", .f32(3)))
      if let error = trace.error { #expect(error.location == "Closure.swift:7", "\(index)") }
    }
    // A layer's call is nearer than the closure, and so is the line of an operand that has one.
    let trace = Trace(at: "Closure.swift:7")
    let x = trace.input("x", .f32(4))
    trace.withCallLocation("Model.swift:3") { _ = x * 2 }
    _ = tanh(x) * 2
    #expect(trace.graph.nodes[0].origins.first?.location == "Model.swift:3")
    #expect(trace.graph.nodes.last?.origins.first?.location.hasPrefix(here) == true)
  }

  @Test func statesAndInputsThatNoArrayCanBe_areRecordedAsErrors() {
    for type in [TensorType.f32(-1), .f32(2, -3), .f32(1 << 60, 8), .f32(.max, .max)] {
      for make in [{ $0.input("it", $1) }, { $0.state("it", $1) }]
        as [(Trace, TensorType) -> Tensor]
      {
        let trace = Trace()
        _ = make(trace, type)
        #expect(trace.error?.what.contains("'it': \(type)") == true, "\(type)")
      }
    }
  }

  @Test func resultsBeyondMemory_areErrorsOfTheirOp() throws {
    let long = TensorType.f32(1 << 62, 2)
    #expect(throws: ApusError.self) { try traced([long]) { [concat([$0[0], $0[0]])] } }
    let huge = TensorType.f32(1 << 32, 1 << 32)
    for body in [{ $0 + 1 }, { concat([$0, $0]) }, { $0.sum(axis: 0).broadcast(to: $0.shape) }]
      as [(Tensor) -> Tensor]
    {
      let error = #expect(throws: ApusError.self) { try traced([huge]) { [body($0[0])] } }
      #expect(error?.kind == .resource)
    }
    let error = #expect(throws: ApusError.self) {
      try traced([.f32(1 << 31, 4), .f32(4, 1 << 31)]) { [$0[0].matmul($0[1])] }
    }
    #expect(error?.kind == .resource)
  }
}
