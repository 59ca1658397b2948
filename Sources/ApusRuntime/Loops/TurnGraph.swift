// What one turn of a scan does, as a graph that a plan can be made of.
//
// Carries and stacks become states. That is what they are to a turn: a carry is read, and has another value
// afterwards; what is stacked is written where this turn's part of the stack lies. So a turn's plan computes them
// in place by the same rules as a step's plan does weights, and copies where it cannot.

import ApusGraph
import ApusOps

/// A scan's body as a graph with states, and what its inputs and states stand for.
struct TurnGraph {
  /// What an input or a state of the graph is, of the scan's operands and results.
  enum Role: Hashable {
    /// The same in each turn.
    case constant(operand: Int)
    /// An element of a sequence.
    case slice(operand: Int)
    /// A carry that lies where the scan's result does.
    case carry(Int)
    /// A carry that every turn also stacks: it is read where the turn before has put it.
    case stackedCarry(Int, stack: Int)
    /// An element of a result that is stacked.
    case stack(result: Int)
  }

  var graph: Graph
  /// By input.
  let inputs: [Role]
  /// By state.
  let states: [Role]

  init(_ scan: Scan) {
    var graph = scan.body
    var inputs: [Role] = []
    var states: [Role] = []
    let outputs = graph.outputs
    let taken = graph.inputs
    graph.inputs = []
    graph.outputs = []
    for (index, input) in taken.enumerated() {
      if index < scan.carries {
        if let stack = scan.stack(ofCarry: index) {
          graph.inputs.append(input)
          inputs.append(.stackedCarry(index, stack: stack))
        } else {
          graph.states.append(GraphState(name: input.name, value: input.value))
          states.append(.carry(index))
          graph.assignments.append(
            GraphAssignment(state: input.value, operand: outputs[index].operand))
        }
      } else {
        graph.inputs.append(input)
        inputs.append(
          index < scan.carries + scan.slices ? .slice(operand: index) : .constant(operand: index))
      }
    }
    for index in scan.carries..<outputs.count {
      let state = graph.addState(
        outputs[index].name, graph.type(of: outputs[index].operand))
      states.append(.stack(result: index))
      graph.assignments.append(
        GraphAssignment(state: state, operand: outputs[index].operand))
    }
    graph.compact()
    self.graph = graph
    self.inputs = inputs
    self.states = states
  }
}

extension Scan {
  /// The result that stacks the carry's value after each turn, if one does.
  func stack(ofCarry index: Int) -> Int? {
    let next = body.outputs[index].operand
    guard length > 0, next.view == nil else { return nil }
    return (carries..<body.outputs.count).first { body.outputs[$0].operand == next }
  }
}

extension Graph {
  /// The same graph with the constants of its scans' bodies as operands of the scans: a turn's plan has no memory
  /// of its own that would outlast the loop.
  func liftingConstantsOfLoops() -> Graph {
    guard nodes.contains(where: { $0.op is Scan }) else { return self }
    var graph = self
    for index in graph.nodes.indices {
      guard let scan = graph.nodes[index].op as? Scan else { continue }
      var body = scan.body.liftingConstantsOfLoops()
      let constants = body.constants
      body.constants = []
      for (number, constant) in constants.enumerated() {
        body.inputs.append(GraphInput(name: "lifted\(number)", value: constant.value))
        graph.nodes[index].operands.append(Operand(graph.addConstant(constant.array)))
      }
      body.compact()
      graph.nodes[index].op = scan.replacingRegions([body])
    }
    return graph
  }
}
