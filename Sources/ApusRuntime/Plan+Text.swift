// A plan for people and for other programs: text, JSON, DOT.

import ApusGraph
import Foundation

/// A plan and its schedule in the form that is written as JSON.
///
/// The schema, which readers may rely on: every field below under its own name; bytes as numbers;
/// `space` is `arena`, `input`, `state`, `constant` or `packed`, with `number` saying which (0 for the
/// arena).
package struct PlanDescription: Sendable, Codable {
  /// A value as a step reads or writes it, and where it lies.
  package struct Access: Sendable, Codable {
    package var name: String
    package var type: String
    package var space: String
    package var number: Int
    package var offset: Int
    package var bytes: Int
  }
  /// One kernel call.
  package struct Step: Sendable, Codable {
    package var index: Int
    package var op: String
    package var kernel: String
    /// The C function that is called.
    package var symbol: String
    /// The level that the kernel was written for.
    package var isa: String
    /// What its innermost code makes at a time, as in `14x32`; nil where there is none to speak of.
    package var tile: String?
    package var threads: Int
    /// The thread that runs the step by itself; nil where all do.
    package var member: Int?
    /// Whether all threads wait for each other after the step.
    package var barrier: Bool
    /// Why they do.
    package var barrierReason: String?
    /// Whether they do before it.
    package var followsBarrier: Bool
    package var predictedNanoseconds: Double
    package var flops: Double
    package var bytes: Double
    package var operands: [Access]
    package var results: [Access]
    package var workspaceBytes: Int
    package var origins: [String]
    /// Whether it makes again what was not kept, for the limit's sake.
    package var isRepeated: Bool
    /// The plan of a turn, where the step is a loop; else empty.
    package var turn: [PlanDescription]
  }

  package var isa: String
  package var threads: Int
  package var barriers: Int
  package var memory: MemoryReport
  package var steps: [Step]
}

extension Plan {
  /// The plan on a team of `threads`.
  package func description(_ schedule: Schedule) -> PlanDescription {
    PlanDescription(
      isa: isa.name, threads: schedule.threads, barriers: schedule.barrierCount, memory: memory,
      steps: steps.indices.map { index in
        let step = steps[index], entry = schedule.entries[index]
        return PlanDescription.Step(
          index: index, op: step.mnemonic, kernel: step.call.name,
          symbol: step.call.entry.symbol,
          isa: (step.call.isa ?? isa).name, tile: step.call.tile?.description,
          threads: entry.isAlone ? 1 : schedule.threads, member: entry.member,
          barrier: entry.barrier != nil, barrierReason: entry.barrier?.description,
          followsBarrier: index > 0 && schedule.entries[index - 1].barrier != nil,
          predictedNanoseconds: entry.predictedNanoseconds.rounded(), flops: step.call.flops,
          bytes: step.call.bytes, operands: step.operands.map(\.description),
          results: step.results.map(\.description), workspaceBytes: step.call.workspaceBytes,
          origins: step.origins.map(\.description).filter { !$0.isEmpty },
          isRepeated: step.isRepeated,
          turn: step.loop.map { [$0.plan.description($0.schedule)] } ?? [])
      })
  }

  /// One line a step, under a head with the memory.
  ///
  ///     plan for avx512, 2 threads: 14 steps, 5 barriers
  ///     arena 196608 bytes (at least 196608), states 407080, constants 0, inputs 200960
  ///       0  gemm 64x128x784  avx512 14x32  threads 2  107.6 µs  %5@arena+0 = matmul(x@input0+0, …)
  ///          ---- barrier: step 1 reads %5, which other threads write in step 0
  package func text(_ schedule: Schedule) -> String {
    let described = description(schedule)
    var lines = [
      "plan for \(isa.name), \(schedule.threads) threads: \(steps.count) steps, "
        + "\(described.barriers) barriers",
      "arena \(memory.arena) bytes (at least \(memory.lowerBound); \(memory.values) without reuse), "
        + "states \(memory.states), packed \(memory.packed), constants \(memory.constants), inputs \(memory.inputs), "
        + "scratch \(memory.scratchPerThread) a thread",
    ]
    if memory.unlimitedArena != memory.arena {
      lines.append(
        "computed again \(memory.recomputed) bytes in \(steps.count(where: \.isRepeated)) steps; "
          + "without a limit the arena would be \(memory.unlimitedArena)")
    }
    for step in described.steps {
      if let condition, step.index == schedule.conditionStep {
        lines.append("      ---- \(condition.description)")
      }
      var line = String(repeating: " ", count: max(0, 4 - "\(step.index)".count)) + "\(step.index)"
      line += "  \(step.kernel)  \(step.isa)\(step.tile.map { " \($0)" } ?? "")"
      line += step.member.map { "  thread \($0) alone" } ?? "  threads \(step.threads)"
      line += String(format: "  %.1f µs", step.predictedNanoseconds / 1000)
      line += "  \(step.results.map(\.text).joined(separator: ", "))"
      line += " = \(step.op)(\(step.operands.map(\.text).joined(separator: ", ")))"
      if step.workspaceBytes > 0 { line += "  workspace \(step.workspaceBytes)" }
      if step.isRepeated { line += "  again" }
      if !step.origins.isEmpty { line += "  from \(step.origins.joined(separator: ", "))" }
      lines.append(line)
      if let loop = steps[step.index].loop {
        lines.append(
          "      turn of \(loop.length)\(loop.isReversed ? ", the last first" : ""): "
            + loop.plan.text(loop.schedule).split(separator: "\n").joined(separator: "\n      "))
      }
      if let reason = step.barrierReason { lines.append("      ---- barrier: \(reason)") }
    }
    return lines.map { $0 + "\n" }.joined()
  }

  /// The plan as JSON; see ``PlanDescription`` for the schema.
  ///
  /// - Throws: what encoding throws; it does not for a valid plan.
  package func json(_ schedule: Schedule) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(description(schedule))
  }

  /// The plan as a Graphviz digraph: a box a step, an edge for every value that one step hands another.
  package func dot(_ schedule: Schedule) -> String {
    let described = description(schedule)
    func escaped(_ text: String) -> String {
      text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"")
    }
    var lines = [
      "digraph plan {", "  rankdir=TB;", "  node [shape=box, fontname=\"monospace\"];",
    ]
    for (index, port) in inputs.enumerated() {
      lines.append(
        "  input\(index) [shape=ellipse, label=\"\(escaped(port.name))\\n\(port.type)\"];")
    }
    for (index, port) in states.enumerated() {
      lines.append(
        "  state\(index) [shape=cylinder, label=\"\(escaped(port.name))\\n\(port.type)\"];")
    }
    /// The step that wrote each name last.
    var writers: [String: Int] = [:]
    for step in described.steps {
      let head =
        [step.op, step.kernel] + (step.isRepeated ? ["again"] : [])
        + step.turn.flatMap { $0.steps.map { "· \($0.kernel)" } }
      let label = (head + step.origins).map(escaped).joined(separator: "\\n")
      lines.append("  step\(step.index) [label=\"\(label)\"];")
      for operand in step.operands {
        let source: String? =
          switch operand.space {
          case "input": "input\(operand.number)"
          case "arena": writers[operand.name].map { "step\($0)" }
          case "state": writers[operand.name].map { "step\($0)" } ?? "state\(operand.number)"
          default: nil
          }
        guard let source else { continue }
        lines.append(
          "  \(source) -> step\(step.index) [label=\"\(escaped(operand.name)) \(operand.type)\"];")
      }
      for result in step.results {
        writers[result.name] = step.index
        if result.space == "state" {
          lines.append("  step\(step.index) -> state\(result.number) [style=dashed];")
        }
      }
    }
    for (index, port) in outputs.enumerated() {
      lines.append(
        "  output\(index) [shape=ellipse, label=\"\(escaped(port.name))\\n\(port.type)\"];")
      let writer = steps.lastIndex { $0.results.contains { $0.place == port.place } }
      if let writer { lines.append("  step\(writer) -> output\(index);") }
    }
    lines.append("}")
    return lines.map { $0 + "\n" }.joined()
  }
}

extension Plan.Access {
  fileprivate var description: PlanDescription.Access {
    let (space, number) =
      switch place.space {
      case .arena: ("arena", 0)
      case .input(let index): ("input", index)
      case .state(let index): ("state", index)
      case .constant(let index): ("constant", index)
      case .packed(let index): ("packed", index)
      }
    return PlanDescription.Access(
      name: name, type: type.description, space: space, number: number, offset: place.offset,
      bytes: type.byteCount)
  }
}

extension PlanDescription.Access {
  fileprivate var text: String {
    "\(name)@\(space)\(space == "arena" ? "" : "\(number)")+\(offset)"
  }
}
