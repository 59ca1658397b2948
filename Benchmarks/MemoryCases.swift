// Operations that are limited by memory: elementwise chains, reductions, normalisations, softmax and
// losses, updates. Each is a line of a table; Benchmarks/peers has the same names.

import Apus

/// The families of memory-bound operations.
package enum MemoryFamily: String, Sendable, CaseIterable {
  case eltwise, reduce, norm, softmax, pool, optimizer

  /// The operations of this family.
  package var operations: [MemoryOperation] {
    MemoryOperation.all.filter { $0.family == self }
  }

  /// The operation of that name.
  ///
  /// - Throws: `missing`, with the names there are.
  package func operation(_ name: String) throws -> MemoryOperation {
    guard let found = operations.first(where: { $0.name == name }) else {
      throw ApusError(
        .missing, "'\(name)' is no operation of \(rawValue)",
        expected: operations.map(\.name).joined(separator: ", "))
    }
    return found
  }

  /// Sizes that fit the first, second and third cache, and one that does not.
  package var usualShapes: [Shape] {
    switch self {
    case .eltwise: [[4096], [65_536], [1 << 20], [1 << 25]]
    // As above, and a network's parameters.
    case .optimizer: [[4096], [65_536], [1 << 20], [1 << 25], [200, 100_000]]
    case .pool: [[1, 56, 56, 16], [2, 112, 112, 64], [16, 7, 7, 2048], [16, 112, 112, 64]]
    case .reduce, .norm, .softmax: [[4, 1024], [64, 1024], [1024, 1024], [32_768, 1024]]
    }
  }

  /// A shape of this family: `ROWSxCOLUMNS`, or one number of elements where rows do not matter, or images
  /// `NxHxWxC`, of 2 x 2 elements at least. Of updates, `TENSORSxELEMENTS`: so many parameters of so many elements.
  ///
  /// - Throws: `invalidArgument` for anything else, and for more than 2^30 elements.
  package func shape(_ text: String) throws -> Shape {
    let numbers = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    let extents = numbers.compactMap { $0 }
    let ranks: ClosedRange<Int>
    switch self {
    case .eltwise, .optimizer: ranks = 1...2
    case .reduce, .norm, .softmax: ranks = 2...2
    case .pool: ranks = 4...4
    }
    let limit = 1 << 30
    guard extents.count == numbers.count, ranks.contains(extents.count),
      extents.allSatisfy({ $0 >= 1 }), Shape(extents).count <= limit,
      self != .pool || extents[1...2].allSatisfy({ $0 >= 2 }),
      self != .optimizer || extents.count == 1 || extents[0] <= 1000
    else {
      throw ApusError(
        .invalidArgument, "shape '\(text)'",
        expected: self == .pool
          ? "NxHxWxC, as in 16x112x112x64, at most \(limit) elements"
          : ranks.lowerBound == 1
            ? "a number of elements from 1 to \(limit), or "
              + (self == .optimizer ? "TENSORSxELEMENTS with 1000 tensors at most" : "ROWSxCOLUMNS")
            : "ROWSxCOLUMNS, as in 1024x768, at most \(limit) elements")
    }
    return Shape(extents)
  }
}

/// An operation on arrays of any size.
package struct MemoryOperation: Sendable {
  package let family: MemoryFamily
  package let name: String
  /// Operations for each element of the shape, a transcendental function counted as one.
  let flops: Double
  /// How many of the first operands take the first results as their new values.
  let updated: @Sendable (Shape) -> Int
  let operands: @Sendable (Shape) -> [Operand]
  let body: @Sendable ([Tensor]) -> [Tensor]

  init(
    _ family: MemoryFamily, _ name: String, flops: Double,
    updated: @escaping @Sendable (Shape) -> Int = { _ in 0 },
    _ operands: @escaping @Sendable (Shape) -> [Operand],
    _ body: @escaping @Sendable ([Tensor]) -> [Tensor]
  ) {
    self.family = family
    self.name = name
    self.flops = flops
    self.updated = updated
    self.operands = operands
    self.body = body
  }

  private static func same(_ count: Int) -> @Sendable (Shape) -> [Operand] {
    { shape in [Operand](repeating: Operand(shape), count: count) }
  }

  /// A row of as many numbers as the shape has columns.
  private static func row(_ shape: Shape) -> Operand { Operand([shape[shape.rank - 1]]) }

  /// All operations, by family.
  package static let all = elementwise + reductions + norms + softmaxes + pools + updates

  private static let elementwise = [
    MemoryOperation(.eltwise, "scale", flops: 1, same(1)) { [$0[0] * 1.5] },
    MemoryOperation(.eltwise, "add", flops: 1, same(2)) { [$0[0] + $0[1]] },
    MemoryOperation(.eltwise, "multiply_add_relu", flops: 3, same(3)) {
      [relu($0[0] * $0[1] + $0[2])]
    },
    MemoryOperation(.eltwise, "exp", flops: 1, same(1)) { [exp($0[0])] },
    MemoryOperation(.eltwise, "tanh", flops: 1, same(1)) { [tanh($0[0])] },
    MemoryOperation(.eltwise, "sigmoid", flops: 1, same(1)) { [sigmoid($0[0])] },
    MemoryOperation(.eltwise, "silu", flops: 1, same(1)) { [silu($0[0])] },
    MemoryOperation(.eltwise, "softplus", flops: 1, same(1)) { [softplus($0[0])] },
    MemoryOperation(.eltwise, "gelu", flops: 1, same(1)) { [gelu($0[0])] },
    MemoryOperation(.eltwise, "gelu_tanh", flops: 1, same(1)) { [geluTanh($0[0])] },
    MemoryOperation(.eltwise, "bias_gelu", flops: 2, { [Operand($0), row($0)] }) {
      [gelu($0[0] + $0[1])]
    },
    MemoryOperation(.eltwise, "dropout", flops: 2, same(1)) { [$0[0].dropout(0.1)] },
    activation("tanh_gradient", tanh),
    activation("sigmoid_gradient", sigmoid),
    activation("silu_gradient", silu),
    activation("softplus_gradient", softplus),
    activation("gelu_gradient", gelu),
    activation("gelu_tanh_gradient", geluTanh),
  ]

  /// The function's value and its gradient, of a number and what arrives from above.
  private static func activation(
    _ name: String,
    _ function: @escaping @Sendable (Tensor, StaticString, UInt) -> Tensor
  ) -> MemoryOperation {
    MemoryOperation(.eltwise, name, flops: 3, same(2)) {
      let y = function($0[0], #fileID, #line)
      return [y] + gradients(of: y, withRespectTo: [$0[0]], seed: $0[1])
    }
  }

  private static let reductions = [
    MemoryOperation(.reduce, "sum", flops: 1, same(1)) { [$0[0].sum()] },
    MemoryOperation(.reduce, "row_sum", flops: 1, same(1)) { [$0[0].sum(axes: [1])] },
    MemoryOperation(.reduce, "column_sum", flops: 1, same(1)) { [$0[0].sum(axes: [0])] },
    MemoryOperation(.reduce, "row_max", flops: 1, same(1)) { [$0[0].max(axes: [1])] },
    MemoryOperation(.reduce, "row_square_sum", flops: 2, same(1)) {
      [($0[0] * $0[0]).sum(axes: [1])]
    },
  ]

  private static let norms = [
    MemoryOperation(.norm, "layer_norm", flops: 7, { [Operand($0), row($0), row($0)] }) {
      [layerNorm($0[0], gamma: $0[1], beta: $0[2])]
    },
    MemoryOperation(
      .norm, "layer_norm_gradient", flops: 18, { [Operand($0), row($0), row($0), Operand($0)] }
    ) {
      let y = layerNorm($0[0], gamma: $0[1], beta: $0[2])
      return gradients(of: y, withRespectTo: Array($0[0...2]), seed: $0[3])
    },
    MemoryOperation(.norm, "rms_norm", flops: 4, { [Operand($0), row($0)] }) {
      [rmsNorm($0[0], gamma: $0[1])]
    },
    MemoryOperation(
      .norm, "rms_norm_gradient", flops: 12, { [Operand($0), row($0), Operand($0)] }
    ) {
      let y = rmsNorm($0[0], gamma: $0[1])
      return gradients(of: y, withRespectTo: Array($0[0...1]), seed: $0[2])
    },
  ]

  private static func logits(_ shape: Shape) -> [Operand] {
    [Operand(shape), Operand([shape[0]], .labels(shape[1]))]
  }

  private static let softmaxes = [
    MemoryOperation(.softmax, "softmax", flops: 5, same(1)) { [softmax($0[0])] },
    MemoryOperation(.softmax, "softmax_gradient", flops: 9, same(2)) {
      gradients(of: softmax($0[0]), withRespectTo: [$0[0]], seed: $0[1])
    },
    MemoryOperation(.softmax, "log_softmax", flops: 5, same(1)) { [logSoftmax($0[0])] },
    MemoryOperation(.softmax, "cross_entropy", flops: 4, logits) { [crossEntropy($0[0], $0[1])] },
    MemoryOperation(.softmax, "cross_entropy_gradient", flops: 7, logits) {
      let loss = crossEntropy($0[0], $0[1])
      return [loss] + gradients(of: loss, withRespectTo: [$0[0]])
    },
  ]
}

extension BenchmarkCase {
  /// A memory-bound operation at a shape of its family.
  ///
  /// - Throws: the first mistake in recording the operation.
  package static func memory(_ operation: MemoryOperation, _ shape: Shape) throws -> BenchmarkCase {
    let operands = operation.operands(shape)
    let trace = Trace()
    trace.mode = .training
    let results = try Trace.$current.withValue(trace) {
      let results = operation.body(
        operands.indices.map { trace.input("x\($0)", operands[$0].type) })
      try trace.check()
      return results
    }
    let moved = operands.map(\.type.byteCount) + results.map(\.type.byteCount)
    let extents = shape.dimensions
    return BenchmarkCase(
      bench: operation.family.rawValue,
      name: "\(operation.name) \(extents.map(String.init).joined(separator: "x"))",
      flops: operation.flops * Double(shape.count), bytes: Double(moved.reduce(0, +)),
      settings: [],
      peerCase: .object([
        ("family", .string(operation.family.rawValue)), ("operation", .string(operation.name)),
        ("shape", .array(extents.map(JSON.integer))),
      ])
    ) { options in
      try GraphSide(operands, updated: operation.updated(shape), options, operation.body)
    }
  }
}
