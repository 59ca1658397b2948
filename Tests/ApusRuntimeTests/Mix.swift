// An op with a kernel of its own, for graphs that exercise the planner rather than the kernels: integers
// below 251 in floats, so that every number is exact, and threads that dawdle, so that a missing barrier
// shows.

import ApusGraph
import CKernels
import Foundation
import TestSupport

/// `y_j[i] = (Σ_k c_k · x_k[i] + 7j + 1) mod 251`, where an operand that is not aligned is read from its
/// other end, and cyclically where it is of another length.
struct Mix: Op {
  static let mnemonic = "mix"
  static let modulus = 251
  /// Elements of a tile.
  static let tile = 16

  var count: Int
  var results: Int
  var coefficients: [Int]
  var aligned: [Bool]
  /// Whether thread 0 scribbles over a workspace.
  var hasWorkspace: Bool

  init(
    count: Int, results: Int, coefficients: [Int], aligned: [Bool], hasWorkspace: Bool = false
  ) {
    self.hasWorkspace = hasWorkspace
    self.count = count
    self.results = results
    self.coefficients = coefficients
    self.aligned = aligned
  }

  init(attributes: AttributeReader) throws {
    count = try attributes.int("count")
    results = try attributes.int("results")
    coefficients = try attributes.ints("coefficients")
    aligned = try attributes.ints("aligned").map { $0 != 0 }
    hasWorkspace = try attributes.bool("workspace")
  }

  var attributes: [Attribute] {
    [
      Attribute("count", .int(count)), Attribute("results", .int(results)),
      Attribute("coefficients", .ints(coefficients)),
      Attribute("aligned", .ints(aligned.map { $0 ? 1 : 0 })),
      Attribute("workspace", .bool(hasWorkspace)),
    ]
  }

  func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(coefficients.count, operands)
    return Array(repeating: .f32(count), count: results)
  }

  func gradient(_ context: GradientContext) throws -> [Tensor?] {
    context.operands.map { _ in nil }
  }

  func reference(_ operands: [NDArray], results types: [TensorType]) throws -> [NDArray] {
    let columns = operands.map(\.doubles)
    return types.indices.map { result in
      let values = (0..<count).map { index -> Double in
        var sum = 7 * result + 1
        for (k, column) in columns.enumerated() {
          let at = aligned[k] ? index : (count - 1 - index) % column.count
          sum += coefficients[k] * Int(column[at])
        }
        return Double(sum % Self.modulus)
      }
      return NDArray(doubles: values, type: types[result])
    }
  }

  func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    view.isContiguous
  }

  func lower(_ site: LoweringSite) throws -> KernelCall {
    var block = MixArguments()
    block.count = Int64(count)
    block.operands = Int64(coefficients.count)
    block.results = Int64(results)
    withUnsafeMutableBytes(of: &block.specifications) { bytes in
      for (k, coefficient) in coefficients.enumerated() {
        let words = bytes.bindMemory(to: Int64.self)
        words[3 * k] = Int64(coefficient)
        words[3 * k + 1] = aligned[k] ? 1 : 0
        words[3 * k + 2] = Int64(site.operands[k].count)
      }
    }
    var call = KernelCall(
      "mix",
      entry: KernelEntry(
        symbol: "mix", unsafeBitCast(mixKernel, to: UnsafeRawPointer.self)), block: block)
    let pointers = MemoryLayout<MixArguments>.offset(of: \.pointers)!
    for k in coefficients.indices { call.bind(pointers + 8 * k, to: .operand(k)) }
    for j in 0..<results { call.bind(pointers + 8 * (4 + j), to: .result(j)) }
    if hasWorkspace {
      call.workspaceBytes = 128
      call.bind(pointers + 8 * 7, to: .workspace)
    }
    if results == 1 {
      call.partition = .tiles(
        count: (count + Self.tile - 1) / Self.tile, elementsPerTile: Self.tile,
        alignedOperands: aligned.indices.filter { aligned[$0] })
    }
    for k in aligned.indices where aligned[k] && site.operands[k].count == count {
      for j in 0..<results { call.inPlace.append((operand: k, result: j)) }
    }
    call.flops = 1e6  // dear enough to be spread over the team
    return call
  }
}

/// At most four operands and three results; the eighth pointer is the workspace.
private struct MixArguments: BitwiseCopyable {
  typealias Triple = (Int64, Int64, Int64)
  typealias Pointer = UnsafeMutableRawPointer?
  var count: Int64 = 0
  var operands: Int64 = 0
  var results: Int64 = 0
  /// Coefficient, whether aligned, length.
  var specifications: (Triple, Triple, Triple, Triple) = (
    (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)
  )
  var pointers: (Pointer, Pointer, Pointer, Pointer, Pointer, Pointer, Pointer, Pointer) =
    (nil, nil, nil, nil, nil, nil, nil, nil)
}

private let mixKernel: ck_kernel = { block, thread in
  var arguments = block!.assumingMemoryBound(to: MixArguments.self).pointee
  let tile = Int64(Mix.tile)
  var begin: Int64 = 0
  var end: Int64 = 0
  ck_share((arguments.count + tile - 1) / tile, thread, &begin, &end)
  let count = Int(arguments.count)
  let index = Int(thread!.pointee.index)
  // Some threads come late, others by turns.
  if (index * 7 + count + Int(arguments.operands)) % 5 == 0 { usleep(20) }
  withUnsafeBytes(of: &arguments.specifications) { bytes in
    let words = bytes.bindMemory(to: Int64.self)
    withUnsafeBytes(of: &arguments.pointers) { bytes in
      let pointers = bytes.bindMemory(to: UnsafeMutablePointer<Float>?.self)
      // The workspace is everybody's: what is left there by one call must not matter to another.
      if index == 0 { pointers[7]?[0] = -1 }
      for i in Int(begin * tile)..<max(Int(begin * tile), min(Int(end * tile), count)) {
        var sum = 1
        for k in 0..<Int(arguments.operands) {
          let isAligned = words[3 * k + 1] == 1
          let at = isAligned ? i : (count - 1 - i) % Int(words[3 * k + 2])
          sum += Int(words[3 * k]) * Int(pointers[k]![at])
        }
        for j in 0..<Int(arguments.results) {
          pointers[4 + j]![i] = Float((sum + 7 * j) % Mix.modulus)
        }
      }
    }
  }
}

/// A random graph of `Mix` nodes with inputs, states, constants, reshapes, outputs and assignments.
func randomMixGraph(seed: Int, nodes: Int) throws -> Graph {
  var generator = SplitMix("mix \(seed)")
  func pick<C: RandomAccessCollection>(_ values: C) -> C.Element {
    values.randomElement(using: &generator)!
  }
  let counts = [16, 40, 96, 130]
  let trace = Trace()
  var values: [Tensor] = []
  var states: [Tensor] = []
  for index in 0..<3 { values.append(trace.input("in\(index)", .f32(pick(counts)))) }
  for index in 0..<4 { states.append(trace.state("s\(index)", .f32(pick(counts)))) }
  values += states
  values.append(trace.constant(NDArray((0..<40).map { Float($0) }, shape: [40])))
  for _ in 0..<nodes {
    // Recent values more often, so that others die.
    let operands = (0..<pick(1...4)).map { _ in
      Bool.random(using: &generator) ? pick(values.suffix(4)) : pick(values)
    }
    let count = pick([operands[0].type.count, operands[0].type.count, pick(counts)])
    let op = Mix(
      count: count, results: pick([1, 1, 1, 2, 3]),
      coefficients: operands.map { _ in pick(1...9) },
      aligned: operands.map { $0.type.count == count && pick([true, true, false]) },
      hasWorkspace: pick([true, false, false]))
    values += Tensor.applyAll(op, to: operands, resultCount: op.results)
    if pick(0..<6) == 0, let last = values.last {
      values.append(last.reshaped([2, last.type.count / 2]).reshaped([last.type.count]))
    }
  }
  for (index, state) in states.enumerated() {
    let candidates = (values + states).filter { $0.type == state.type }
    if index < 3 { trace.assign(state, pick(candidates)) }
  }
  for index in 0..<3 { trace.output("out\(index)", pick(values)) }
  return try trace.finish()
}

/// Whole numbers below `Mix.modulus`.
func randomResidues(_ type: TensorType, _ generator: inout SplitMix) -> NDArray {
  NDArray(
    doubles: (0..<type.count).map { _ in Double(Int.random(in: 0..<251, using: &generator)) },
    type: type)
}
