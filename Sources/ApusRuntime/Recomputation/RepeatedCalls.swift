// Calls that are made a second time: the copy that a later part of the plan reads in place of the original.

import ApusGraph

extension LoweredGraph {
  /// Some calls that are to run again, in an order in which they can, before the one at `place`.
  struct Repetition {
    var calls: [Int]
    var place: Int
  }

  /// Puts copies of calls into the order. The calls behind them read what the copies make, and so do copies.
  ///
  /// A copy is the same kernel with the same arguments on the same numbers, so it makes the same bits. Nothing
  /// that writes a state may be among them: it would write twice.
  ///
  /// - `repetitions`: their calls stand before all of their places.
  /// - Returns: by new place, the number that the call, or that of which it is a copy, had.
  mutating func repeatCalls(_ repetitions: [Repetition]) -> [Int] {
    var renaming = Renaming()
    var result: [Call] = [], numbers: [Int] = []
    result.reserveCapacity(calls.count + repetitions.reduce(0) { $0 + $1.calls.count })
    var waiting = repetitions.sorted { $0.place < $1.place }[...]
    for place in calls.indices {
      while let next = waiting.first, next.place == place {
        waiting.removeFirst()
        for number in next.calls {
          result.append(renaming.copy(of: calls[number], in: &self))
          numbers.append(number)
        }
      }
      result.append(renaming.renamed(calls[place], in: &self))
      numbers.append(place)
    }
    calls = result
    return numbers
  }

  /// What stands for values behind the copies of the calls that make them.
  private struct Renaming {
    /// For a root what its copy makes, for another name of its bytes the same name of those.
    private var names: [ValueID: ValueID] = [:]

    /// The call, as it reads copies.
    mutating func renamed(_ call: Call, in graph: inout LoweredGraph) -> Call {
      guard !names.isEmpty,
        call.operands.contains(where: { names[graph.roots[$0.value.index].value] != nil })
      else { return call }
      var call = call
      for index in call.operands.indices {
        call.operands[index].value = name(of: call.operands[index].value, in: &graph)
      }
      return call
    }

    /// A copy of the call. What reads its results from now on reads those of the copy.
    mutating func copy(of call: Call, in graph: inout LoweredGraph) -> Call {
      var call = renamed(call, in: &graph)
      for (index, result) in call.results.enumerated() {
        let value = graph.addCopy(of: result) { ($0, 0) }
        if names.updateValue(value, forKey: result) != nil {
          // Made again once more: other names that have been given are of the copy before.
          names = names.filter { $0.key == result || graph.roots[$0.key.index].value != result }
        }
        call.results[index] = value
      }
      call.isRepeated = true
      // Bad indices have been found by the first call. Nothing that is watched may be made late.
      if call.role == .watched { call.role = .needed }
      return call
    }

    private mutating func name(of value: ValueID, in graph: inout LoweredGraph) -> ValueID {
      let (root, offset) = graph.roots[value.index]
      guard let base = names[root] else { return value }
      if let known = names[value] { return known }
      let name = graph.addCopy(of: value) { _ in (base, offset) }
      names[value] = name
      return name
    }
  }

  /// A value like another one, of no node.
  private mutating func addCopy(
    of value: ValueID, root: (ValueID) -> (value: ValueID, offset: Int)
  ) -> ValueID {
    let copy = graph.addValue(graph.type(of: value))
    roots.append(root(copy))
    sources[copy] = value
    return copy
  }
}
