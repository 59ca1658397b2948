// The rules that every graph keeps, checked after every pass.

extension Graph {
  /// Checks that every value is defined once and before it is read, that nodes have results, of the types of
  /// their op's rule, that views stay within their values, that names are unique and that assignments
  /// go to states, once each, with the state's type.
  ///
  /// - Throws: `invalidGraph` naming the line that breaks a rule.
  package func verify() throws {
    var isDefined = [Bool](repeating: false, count: types.count)
    func fail(_ what: String, _ place: String, expected: String) -> ApusError {
      ApusError(.invalidGraph, what, at: place, expected: expected)
    }
    func define(_ value: ValueID, _ place: String) throws {
      guard types.indices.contains(value.index), !isDefined[value.index] else {
        throw fail("\(value) is defined twice or does not exist", place, expected: "one definition")
      }
      isDefined[value.index] = true
    }
    func read(_ operand: Operand, _ place: String) throws {
      guard types.indices.contains(operand.value.index), isDefined[operand.value.index] else {
        throw fail("\(operand.value) is read but not defined", place, expected: "an earlier value")
      }
      guard let view = operand.view else { return }
      guard view.strides.count == view.shape.rank, view.shape.dimensions.allSatisfy({ $0 >= 0 })
      else {
        throw fail(
          "a view of \(operand.value) has \(view.strides.count) strides for shape \(view.shape)",
          place,
          expected: "a stride an axis")
      }
      let count = type(of: operand.value).count
      if let extent = view.extent, extent.lowerBound < 0 || extent.upperBound >= count {
        throw fail(
          "a view of \(operand.value) reads elements \(extent) of \(count)", place,
          expected: "elements within the value")
      }
    }
    for (names, kind) in [(inputs.map(\.name), "input"), (states.map(\.name), "state")] {
      var seen = Set<String>()
      if let twice = names.first(where: { !seen.insert($0).inserted }) {
        throw fail("\(kind) '\(twice)' exists twice", "the head", expected: "unique names")
      }
    }
    for input in inputs { try define(input.value, "input \(input.name)") }
    for state in states { try define(state.value, "state \(state.name)") }
    for constant in constants {
      try define(constant.value, "constant \(constant.value)")
      guard constant.array.type == type(of: constant.value) else {
        throw fail(
          "a constant of type \(constant.array.type) stands for \(type(of: constant.value))",
          "constant \(constant.value)", expected: "equal types")
      }
    }
    for index in nodes.indices {
      // Only what is asked for is taken out: copying every node would be half the work.
      let (op, operands, results) = (nodes[index].op, nodes[index].operands, nodes[index].results)
      // The line is built only for an error: printing every node would cost more than checking it.
      do {
        guard !results.isEmpty else {
          throw fail("\(op.mnemonic) has no results", "", expected: "one or more")
        }
        for operand in operands { try read(operand, "") }
        let types = operands.map { type(of: $0) }
        if let op = op as? any RegionOp {
          for region in op.regions { try region.verifyRegion() }
        }
        let wanted = try op.resultTypes(types)
        for result in results { try define(result, "") }
        guard wanted.elementsEqual(results.lazy.map { self.types[$0.index] }) else {
          throw fail(
            "the results of \(op.mnemonic) are \(results.map { type(of: $0) })", "",
            expected: "\(wanted), by its rule")
        }
        for (place, operand) in operands.enumerated() {
          guard let view = operand.view else { continue }
          guard op.accepts(view, at: place, of: types) else {
            throw fail(
              "\(op.mnemonic) cannot read operand \(place) through a view", "",
              expected: "a dense operand")
          }
        }
      } catch var error as ApusError {
        error.kind = .invalidGraph
        // Of a region the line within says most.
        if !(op is any RegionOp) || error.location == nil {
          error.location = text(nodes[index], origins: true)
        }
        throw error
      }
    }
    for output in outputs {
      try read(output.operand, "output \(output.name)")
      if output.isRequired,
        type(of: output.operand).with([]) != .f32() || type(of: output.operand).count != 1
      {
        throw ApusError(
          .invalidGraph,
          "output '\(output.name)' is to be finite and is \(type(of: output.operand))",
          expected: "one f32")
      }
    }
    let isState = Set(states.map(\.value))
    var assigned = Set<ValueID>()
    for assignment in assignments {
      let place = "assign \(assignment.state)"
      guard isState.contains(assignment.state) else {
        throw fail("\(assignment.state) is assigned", place, expected: "a state")
      }
      guard assigned.insert(assignment.state).inserted else {
        throw fail(
          "\(assignment.state) is assigned twice", place, expected: "one assignment a state")
      }
      try read(assignment.operand, place)
      guard type(of: assignment.operand) == type(of: assignment.state) else {
        throw fail(
          "a \(type(of: assignment.operand)) is assigned to a \(type(of: assignment.state))", place,
          expected: "equal types")
      }
    }
    for (index, isDefined) in isDefined.enumerated() where !isDefined {
      throw fail("\(ValueID(index)) is never defined", "the graph", expected: "a definition")
    }
  }
}
