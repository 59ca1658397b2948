// What a loop means, in plain loops and double precision: every slot is an array over the whole
// domain, every instruction one pass over it. Nothing here knows tiles, lanes or phases' order.

import CKernels
import Foundation
import Testing

/// The model's results: the whole memory of each operand that is stored to.
struct LoopModel {
  let program: LoopProgram
  /// For each operand, the element that each point of the domain sees.
  private var elements: [[Int]] = []
  /// For each point, the number of its group: of points that differ in reduced indices alone.
  private var groups: [Int] = []
  private var groupCount = 0

  init(_ program: LoopProgram) {
    self.program = program
    elements = program.operands.map { operand in
      places(program.extents, operand.strides, operand.origin)
    }
    var strides = [Int](repeating: 0, count: program.extents.count)
    groupCount = 1
    for d in program.extents.indices.reversed() where !program.reduced.contains(d) {
      strides[d] = groupCount
      groupCount *= program.extents[d]
    }
    groups = places(program.extents, strides, 0)
  }

  func outputs() -> [Int: [Number]] {
    var slots: [UInt8: [Number]] = [:]
    var memory = program.operands.map { $0.indexStart == nil ? $0.numbers : [] }
    for instruction in program.code {
      switch Int32(instruction.op) {
      case CK_OP_load.number:
        slots[instruction.dst] = load(Int(instruction.a), memory)
      case CK_OP_store.number:
        let operand = Int(instruction.b)
        let place = program.operands[operand].sharedWith ?? operand
        let dtype = program.operands[operand].dtype
        for (element, number) in zip(elements[operand], slots[instruction.a]!) {
          memory[place][element] = dtype.rounded(number)
        }
        memory[operand] = memory[place]
      default:
        let info = ck_op_describe(Int32(instruction.op)).pointee
        let op = LoopOp(String(cString: info.name))
        let read = [instruction.a, instruction.b, instruction.c].prefix(Int(info.arity)).map {
          slots[$0]!
        }
        slots[instruction.dst] =
          info.reduces ? reduce(op, read[0]) : map(op, read, instruction.imm)
      }
    }
    return Dictionary(
      program.outputs.map { ($0, memory[$0]) }, uniquingKeysWith: { _, last in last })
  }

  private func load(_ operand: Int, _ memory: [[Number]]) -> [Number] {
    let described = program.operands[operand]
    guard let start = described.indexStart else {
      let memory = memory[described.sharedWith ?? operand]
      return elements[operand].map { memory[$0] }
    }
    return elements[operand].map { described.dtype.rounded(.whole(Int64(start + $0))) }
  }

  // Plain counting loops from here on: in a debug build anything finer takes ten times as long.

  private func map(_ op: LoopOp, _ read: [[Number]], _ immediates: (Float, Float)) -> [Number] {
    var results: [Number] = []
    results.reserveCapacity(groups.count)
    var operands = [Number](repeating: .whole(0), count: read.count)
    var point = 0
    while point < groups.count {
      var k = 0
      while k < read.count {
        operands[k] = read[k][point]
        k += 1
      }
      let result = op.result(operands, immediates.0, immediates.1)
      if case .real(let x) = result {
        // A slot holds a float.
        results.append(.real(flushed(Double(Float(x)))))
      } else {
        results.append(result)
      }
      point += 1
    }
    return results
  }

  private func reduce(_ op: LoopOp, _ numbers: [Number]) -> [Number] {
    var totals = [Number](repeating: op.identity, count: groupCount)
    let combined = op.combined
    var point = 0
    while point < numbers.count {
      totals[groups[point]] = combined(totals[groups[point]], numbers[point])
      point += 1
    }
    return groups.map { totals[$0] }
  }
}

/// The sum of index x stride for each point of the domain, in row-major order.
func places(_ extents: [Int], _ strides: [Int], _ origin: Int) -> [Int] {
  var places = [origin]
  for (extent, stride) in zip(extents, strides) {
    var finer: [Int] = []
    finer.reserveCapacity(places.count * extent)
    for place in places {
      var index = 0
      while index < extent {
        finer.append(place + index * stride)
        index += 1
      }
    }
    places = finer
  }
  return places
}

/// How far a float may be from what it should be.
struct Tolerance {
  /// In units in the last place; 0: the rounded number itself.
  var ulp = 0.0
  var absolute = 0.0
  /// Whether a zero's sign counts.
  var signedZeros = true

  static let exact = Tolerance()

  /// - Returns: Whether a result that was computed in f32 is near enough. Numbers below the least
  ///   normal one may have been flushed to a zero of their sign.
  func accepts(_ got: Double, for expected: Double) -> Bool {
    if got == expected && got != 0 { return true }
    if expected.isNaN { return got.isNaN }
    if abs(expected) < Double(Float.leastNormalMagnitude) + absolute {
      let isSmall = abs(got) <= Double(Float.leastNormalMagnitude) + absolute
      return isSmall && (!signedZeros || absolute > 0 || got.sign == expected.sign)
    }
    let rounded = Float(expected)
    if got == Double(rounded) { return true }
    guard ulp > 0 || absolute > 0, got.isFinite else {
      // An infinity for a number just below it is an error of one unit.
      return ulp >= 1 && got.sign == expected.sign
        && abs(expected) >= Double(Float.greatestFiniteMagnitude) * (1 - ulp * 0x1p-24)
    }
    let unit = Double(
      rounded.isInfinite ? Float.greatestFiniteMagnitude.ulp : rounded.ulp)
    if expected.isInfinite { return false }
    return abs(got - expected) <= ulp * unit + absolute
  }

  func accepts(_ got: Number, for expected: Number) -> Bool {
    switch (got, expected) {
    case (.real(let got), .real(let expected)): accepts(got, for: expected)
    default: got == expected
    }
  }
}

/// Compares results with the model's, element by element.
func expect(
  _ results: LoopResults, matchModelOf program: LoopProgram, _ what: String,
  _ tolerance: Tolerance = .exact, sourceLocation: SourceLocation = #_sourceLocation
) {
  for (operand, expected) in LoopModel(program).outputs() {
    guard let bytes = results[operand] else {
      Issue.record("\(what): no result \(operand)", sourceLocation: sourceLocation)
      continue
    }
    let got = program.operands[operand].dtype.decode(bytes)
    var index = 0
    while index < expected.count && tolerance.accepts(got[index], for: expected[index]) {
      index += 1
    }
    if index < expected.count {
      Issue.record(
        """
        \(what): element \(index) of operand \(operand) is \(got[index]), \
        expected \(expected[index])
        """, sourceLocation: sourceLocation)
    }
  }
}

/// Runs the loop everywhere and compares its results with the model's.
func check(
  _ program: LoopProgram, _ what: String, _ tolerance: Tolerance = .exact,
  teams: [Int] = Array(TestTeams.sizes.indices), offset: Int = 4,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  let results = runEverywhere(
    program, what, teams: teams, offset: offset, sourceLocation: sourceLocation)
  expect(
    results, matchModelOf: program, what, tolerance, sourceLocation: sourceLocation)
}
