// What parts of a model give while it is applied: inner activations, by the parts' paths.

import ApusGraph

extension Module {
  /// What parts of this model give while `body` applies it: feature maps, hidden states.
  ///
  ///     let look = try Predictor(model) { model, inputs in
  ///       let (logits, maps) = try model.capturing(["conv1", "layer2.0"]) { model(inputs[0]) }
  ///       return [logits] + maps
  ///     }
  ///
  /// They are tensors of the graph that is being recorded like all others: they may be computed with,
  /// differentiated by, and returned. Every ``Layer`` can be captured, and every module whose function records
  /// under its path (`scoped { … }`). Of a part that is applied several times the last result counts.
  ///
  /// - `paths`: of parts of this model, as in the names of its parameters: `layer1.0.conv1`.
  /// - Returns: what `body` gave, and a tensor for each path.
  /// - Throws: `missing` for a path of no part, with those that look like it, and for a part that `body` does not
  ///   apply; `invalidArgument` outside of a closure that is being recorded; what `body` throws.
  public func capturing<R>(
    _ paths: [String], file: StaticString = #fileID, line: UInt = #line, _ body: () throws -> R
  ) throws -> (result: R, outputs: [Tensor]) {
    try capturing(paths, at: sourceLocation(file, line), body)
  }

  /// As ``capturing(_:file:line:_:)``, for a function that stands between the user and the model.
  package func capturing<R>(
    _ paths: [String], at location: String, _ body: () throws -> R
  ) throws -> (result: R, outputs: [Tensor]) {
    try checkParts(paths, at: location)
    let (result, outputs) = try capturingAll(at: location, body)
    let tensors = try paths.map { path in
      if let found = outputs.last(where: { $0.path == path }) { return found.tensor }
      let seen = outputs.map(\.path).nearest(to: path)
      throw ApusError(
        .missing, "'\(path)' gave no tensor: it was not applied, or does not record under its path",
        at: location,
        expected: "a Layer that is applied, or a function in scoped { … }"
          + (seen.isEmpty ? "" : ", such as \(seen.joined(separator: ", "))"))
    }
    return (result, tensors)
  }

  /// - Throws: `missing` for a path of no part, with those that look like it.
  package func checkParts(_ paths: [String], at location: String) throws {
    let known = ModelTree(self).modules.map(\.path)
    guard let unknown = paths.first(where: { !known.contains($0) }) else { return }
    throw ApusError(
      .missing, "\(Self.self) has no part '\(unknown)'", at: location,
      expected: known.count > 1
        ? "one of its parts, such as "
          + known.dropFirst().nearest(to: unknown).joined(separator: ", ")
        : "a model of several parts")
  }

  /// What all parts of this model give while `body` applies it, in the order in which they end.
  ///
  /// - `location`: the user's line.
  /// - Throws: as ``capturing(_:file:line:_:)``; the first mistake that has been recorded.
  package func capturingAll<R>(
    at location: String, _ body: () throws -> R
  ) throws -> (result: R, outputs: [(path: String, tensor: Tensor)]) {
    guard let trace = Trace.current else {
      throw ApusError(
        .invalidArgument, "parts of \(Self.self) are captured outside of a recorded closure",
        at: location, expected: "a Predictor's function, compile, or a step")
    }
    // Modules record under the names that the model gave them which was named last.
    var paths: [String: String] = [:]
    for (path, module) in ModelTree(self).modules {
      if let label = module.boundPath, paths[label] == nil { paths[label] = path }
    }
    let outer = trace.moduleResults
    trace.moduleResults = []
    defer { trace.moduleResults = outer.map { $0 + (trace.moduleResults ?? []) } }
    let result = try body()
    try trace.check()
    let outputs = (trace.moduleResults ?? []).compactMap { label, tensor in
      paths[label].map { (path: $0, tensor: tensor) }
    }
    return (result, outputs)
  }
}
