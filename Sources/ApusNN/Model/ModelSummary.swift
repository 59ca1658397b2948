// A model as a table: its layers with what they give, hold and compute.

import ApusGraph
import ApusOps

/// The layers of a model for inputs of some types: shapes, parameters, arithmetic and memory.
///
///     print(try model.summary(for: .f32(1, 28, 28, 1)))
///
///     layer        type       output          parameters    FLOPs     bytes
///     0            Conv2d     [1,26,26,8]             80   102752     21632
///     1            ReLU       [1,26,26,8]              0     5408     21632
///     …
public struct ModelSummary: Sendable, Hashable, CustomStringConvertible {
  /// A layer, in the order in which layers are applied.
  public struct Row: Sendable, Hashable {
    /// Its path in the model; empty for what the model does itself.
    public var path: String
    public var type: String
    /// Of what it gives; where it is applied several times, the last time.
    public var output: TensorType?
    /// Elements of its parameters, buffers aside. A tied one counts where it stands first.
    public var parameters: Int
    /// Floating-point operations, where a multiplication and an addition are two.
    public var flops: Double
  }

  public var rows: [Row]
  /// Elements of all parameters.
  public var parameters: Int
  /// Bytes of all parameters and buffers.
  public var parameterBytes: Int
  /// Of all layers and what stands between them.
  public var flops: Double
  /// Bytes of what the layers give, all of it kept: about what training keeps for the way back.
  public var outputBytes: Int

  public var description: String {
    var lines = [["layer", "type", "output", "parameters", "FLOPs", "bytes"]]
    for row in rows {
      lines.append([
        row.path.isEmpty ? "(itself)" : row.path, row.type, row.output?.shape.description ?? "",
        "\(row.parameters)", count(row.flops), "\(row.output?.byteCount ?? 0)",
      ])
    }
    lines.append(["total", "", "", "\(parameters)", count(flops), "\(outputBytes)"])
    let widths = lines[0].indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    let table = lines.map { line in
      line.indices.map { column in
        let space = String(repeating: " ", count: widths[column] - line[column].count)
        return column < 3 ? line[column] + space : space + line[column]
      }.joined(separator: "  ")
    }
    return (table + ["parameters and buffers take \(parameterBytes) bytes"])
      .joined(separator: "\n")
  }

  private func count(_ flops: Double) -> String {
    Int(exactly: flops).map(String.init) ?? "\(flops)"
  }
}

extension Layer {
  /// The layers within this one, for an input of that type. Nothing is run, and nothing needs a value.
  ///
  /// - `input`: with the axis of the batch: `.f32(64, 784)`.
  /// - Throws: mistakes of the layer for such an input, such as `shapeMismatch`, with the module path.
  public func summary(for input: TensorType) throws -> ModelSummary {
    try summary(for: [input]) { [$0($1[0])] }
  }
}

extension Module {
  /// The layers of the model for inputs of those types, in evaluation. Nothing is run, and nothing needs a value.
  ///
  ///     try model.summary(for: [.f32(8, 128), .f32(8, 32)]) { model, inputs in [model(inputs[0], inputs[1])] }
  ///
  /// FLOPs are those of the kernels: of products 2·m·n·k, of convolutions without the taps that lie in the padding, one an
  /// element of what is done element by element, and none of what only moves elements.
  ///
  /// - `function`: how the model is applied.
  /// - Throws: mistakes of the model for such inputs, with the module path; what `function` throws.
  public func summary(
    for inputs: [TensorType], function: (Self, [Tensor]) throws -> [Tensor]
  ) throws -> ModelSummary {
    let tree = ModelTree(self)
    try tree.check()
    tree.name()
    let trace = Trace()
    trace.mode = .evaluation
    let outputs = try Trace.$current.withValue(trace) {
      try ModelState.$isOutlined.withValue(true) {
        let tensors = inputs.enumerated().map { trace.input("input \($0.offset)", $0.element) }
        return try capturingAll(at: "") { try function(self, tensors) }.outputs
      }
    }
    return ModelSummary(tree, outputs, try trace.finish())
  }
}

extension ModelSummary {
  fileprivate init(
    _ tree: ModelTree, _ outputs: [(path: String, tensor: Tensor)], _ graph: Graph
  ) {
    var results: [String: TensorType] = [:]
    var order: [String] = []
    for (path, tensor) in outputs where !path.isEmpty {
      if results[path] == nil { order.append(path) }
      results[path] = tensor.type
    }
    // Those that hold others are told by these.
    let leaves = order.filter { path in !order.contains { $0.hasPrefix(path + ".") } }
    func leaf(_ path: String) -> String {
      leaves.first { path == $0 || path.hasPrefix($0 + ".") } ?? ""
    }
    var arithmetic: [String: Double] = [:]
    for node in graph.nodes {
      arithmetic[leaf(node.origins.first?.scope ?? ""), default: 0] += Self.flops(of: node, graph)
    }
    var held: [String: Int] = [:]
    let parameters = tree.states.compactMap { path, state in
      (state as? Parameter).map { (path, $0) }
    }
    for (path, parameter) in parameters { held[leaf(path), default: 0] += parameter.type.count }
    let types = Dictionary(
      tree.modules.map { ($0.path, "\(type(of: $0.module))") }, uniquingKeysWith: { a, _ in a })
    rows = leaves.map {
      Row(
        path: $0, type: types[$0] ?? "", output: results[$0], parameters: held[$0] ?? 0,
        flops: arithmetic[$0] ?? 0)
    }
    if (held[""] ?? 0) > 0 || (arithmetic[""] ?? 0) > 0 || leaves.isEmpty {
      rows.append(
        Row(
          path: "", type: types[""] ?? "", output: nil, parameters: held[""] ?? 0,
          flops: arithmetic[""] ?? 0))
    }
    self.parameters = total(of: parameters.lazy.map(\.1.type.count))
    parameterBytes = total(of: tree.states.lazy.map(\.state.type.byteCount))
    flops = rows.reduce(0) { $0 + $1.flops }
    outputBytes = total(of: rows.lazy.map { $0.output?.byteCount ?? 0 })
  }

  private static func flops(of node: Node, _ graph: Graph) -> Double {
    if node.op is any RenamingOp { return 0 }
    if let scan = node.op as? Scan {
      return scan.body.nodes.reduce(0) { $0 + flops(of: $1, scan.body) } * Double(scan.length)
    }
    let operands = node.operands.map { graph.type(of: $0.value) }
    let results = node.results.map { graph.type(of: $0) }
    let site = LoweringSite(
      operands: operands, views: node.operands.map(\.view), results: results, isa: .ref)
    if let call = try? node.op.lower(site) { return call.flops }
    // What has no kernel of its own runs in loops.
    return node.op is any ElementwiseOp ? Double(results.first?.count ?? 0) : 0
  }
}
