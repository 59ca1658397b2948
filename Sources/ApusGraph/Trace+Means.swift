// What means were divided by, so that means over several batches can be put together.

extension Trace {
  /// Notes that `mean` is a sum divided by a weight that depends on the data, such as the number of labels
  /// that are not ignored.
  ///
  /// - `weight`: records the divisor, a scalar, where somebody wants it.
  package func noteMean(_ mean: Tensor, weight: @escaping () -> Tensor) {
    if let value = mean.value { meanWeights[value] = weight }
  }

  /// The divisor of the one mean that `tensor` is made of by operations on single numbers; nil where it is
  /// made of none, or of several.
  package func weight(ofMean tensor: Tensor) -> Tensor? {
    guard !meanWeights.isEmpty, let start = tensor.value else { return nil }
    var makers: [ValueID: Int] = [:]
    for (index, node) in graph.nodes.enumerated() {
      for result in node.results where graph.type(of: result).count == 1 { makers[result] = index }
    }
    var found: Set<ValueID> = []
    var open = [start], seen: Set<ValueID> = [start]
    while let value = open.popLast() {
      if meanWeights[value] != nil {
        found.insert(value)
        continue
      }
      guard let maker = makers[value] else { continue }
      for operand in graph.nodes[maker].operands where graph.type(of: operand.value).count == 1 {
        if seen.insert(operand.value).inserted { open.append(operand.value) }
      }
    }
    guard found.count == 1, let mean = found.first else { return nil }
    return meanWeights[mean]?()
  }
}
