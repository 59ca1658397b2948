// Operands and attributes that make no sense: an op must refuse them by throwing, never trap.
//
// There is nothing to compare with: a trap ends the test run, which is the failure.

import ApusGraph
import ApusOps

extension OpSpec {
  /// Tries random operand types, and random damage to the op's attributes. Where the type rule takes
  /// them, the reference must give what it promises (or throw).
  package func problemsOfJunk() -> [String] {
    var random = SplitMix("\(description) junk")
    var problems: [String] = []
    for _ in 0..<150 {
      problems += problemsOfReference(on: Self.junkTypes(&random))
    }
    for _ in 0..<60 {
      var attributes = op.attributes
      guard !attributes.isEmpty else { break }
      let index = Int.random(in: 0..<attributes.count, using: &random)
      attributes[index].value = Self.damaged(attributes[index].value, &random)
      let reader = AttributeReader(mnemonic: op.mnemonic, attributes)
      do {
        var damaged = self
        damaged.op = try type(of: op).init(attributes: reader)
        for types in cases.prefix(4) { problems += damaged.problemsOfReference(on: types) }
        problems += damaged.problemsOfReference(on: Self.junkTypes(&random))
      } catch is ApusError {
      } catch {
        problems.append("\(attributes): \(error)")
      }
    }
    return problems
  }

  private func problemsOfReference(on types: [TensorType]) -> [String] {
    do {
      _ = try Self.resultTypes(op, types)
      let wide = widened(types)
      let wanted = widened(try Self.resultTypes(op, wide))
      // The interpreter makes whole whatever a graph describes: nothing absurd gets that far.
      guard wanted.allSatisfy({ $0.count <= 10_000 }), !op.attributes.contains(where: Self.isAbsurd)
      else { return [] }
      let results = try op.reference(operands(wide), results: wanted)
      return results.map(\.type) == wanted
        ? [] : ["\(op) on \(types) gives \(results.map(\.type)), not \(wanted)"]
    } catch is ApusError {
      return []
    } catch {
      return ["\(op) on \(types) throws \(error)"]
    }
  }

  /// The types by way of a graph, as everybody gets them.
  private static func resultTypes(_ op: any Op, _ types: [TensorType]) throws -> [TensorType] {
    var graph = Graph()
    let operands = types.indices.map { Operand(graph.addInput("\($0)", types[$0])) }
    return try graph.addNode(op, operands, origins: []).map { graph.type(of: $0) }
  }

  private static func isAbsurd(_ attribute: Attribute) -> Bool {
    func isAbsurd(_ value: AttributeValue) -> Bool {
      switch value {
      case .int(let number): number.magnitude > 10_000
      case .list(let values): values.contains(where: isAbsurd)
      default: false
      }
    }
    return isAbsurd(attribute.value)
  }

  private static func junkTypes(_ random: inout SplitMix) -> [TensorType] {
    let common = TensorType(DType.allCases.randomElement(using: &random)!, junkShape(&random))
    return (0..<Int.random(in: 0...4, using: &random)).map { _ in
      // Often alike, so that rules are passed that compare operands.
      let dtype =
        Bool.random(using: &random)
        ? common.dtype : DType.allCases.randomElement(using: &random)!
      return TensorType(dtype, Bool.random(using: &random) ? common.shape : junkShape(&random))
    }
  }

  private static func junkShape(_ random: inout SplitMix) -> Shape {
    Shape(
      (0..<Int.random(in: 0...4, using: &random)).map { _ in
        [0, 1, 1, 2, 3, 5].randomElement(using: &random)!
      })
  }

  private static func damaged(
    _ value: AttributeValue, _ random: inout SplitMix
  ) -> AttributeValue {
    switch value {
    case .int: return .int(junkInteger(&random))
    case .double:
      return .double([0, -1, .nan, .infinity, -.infinity, 1e300].randomElement(using: &random)!)
    case .bool(let flag): return .bool(!flag)
    case .string: return .string(["", "x", "é", "a,b"].randomElement(using: &random)!)
    case .dtype: return .dtype(DType.allCases.randomElement(using: &random)!)
    case .list(var list):
      switch Int.random(in: 0...2, using: &random) {
      case 0 where !list.isEmpty:
        let index = Int.random(in: 0..<list.count, using: &random)
        list[index] = damaged(list[index], &random)
      case 1 where !list.isEmpty: list.removeLast()
      default: list.append(.int(junkInteger(&random)))
      }
      return .list(list)
    case .graph(var graph):
      switch Int.random(in: 0...2, using: &random) {
      case 0: graph.outputs.append(contentsOf: graph.outputs.prefix(1))
      case 1: graph.outputs = Array(graph.outputs.dropLast())
      default: graph.inputs = graph.inputs.reversed()
      }
      return .graph(graph)
    }
  }

  private static func junkInteger(_ random: inout SplitMix) -> Int {
    [-1, 0, 1, 2, 7, -9, 1 << 40, .max, .min].randomElement(using: &random)!
  }
}
