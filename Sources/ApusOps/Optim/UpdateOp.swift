// What the update rules of optimisers have in common: operands, types, references, argument blocks.

import ApusGraph
import CKernels
import Synchronization

/// An optimiser's update rule as an op: new values of parameters and of what is kept for each of them.
///
/// Operands: for each parameter its value, its gradient and its slots, all of one type; then the rule's
/// scalars, and last, where `isScaled`, the factor of all gradients that clipping by norm gives. Results:
/// for each parameter its new value and its new slots.
///
/// A rule is written once, in `updated`: what has no kernel is decomposed into that, and the kernels of
/// ck_optim.h have its roundings. `MultiTensorUpdate` makes one node of several updates of small parameters.
package protocol UpdateOp: CompositeOp {
  /// How many arrays are kept for a parameter.
  static var slots: Int { get }
  /// How many scalars the rule reads, the factor of gradients not counted.
  var scalars: Int { get }
  /// How many parameters are updated.
  var parameters: Int { get set }
  /// Whether the last operand is a factor of the gradients.
  var isScaled: Bool { get set }
  /// The new value of a parameter and its new slots.
  ///
  /// - `arrays`: the parameter, its gradient and its slots.
  /// - `numbers`: the rule's scalars.
  func updated(_ arrays: [Tensor], _ numbers: [Tensor]) -> [Tensor]
  /// The same of one element.
  func updated(_ elements: [Double], _ numbers: [Double]) -> [Double]
  /// The kernel of the rule, and its name.
  static var kernel: (op: ck_optim_op, name: String) { get }
  /// Writes the rule's constants.
  func fill(_ block: inout ck_optim_args)
  /// The fields of the rule's scalars in the argument block.
  var fields: [Int] { get }
  /// Floating-point operations an element, a root or a quotient counted as what it costs.
  static var flops: Double { get }
}

extension UpdateOp {
  /// Operands that a parameter has for itself.
  package static var arrays: Int { 2 + slots }

  /// How many scalars there are among the operands.
  private var scalarCount: Int { scalars + (isScaled ? 1 : 0) }

  /// The attributes that all rules have, after their own.
  func shared() -> [Attribute] {
    [Attribute("parameters", .int(parameters)), Attribute("scaled", .bool(isScaled))]
  }

  /// Whether operand `index` is an array of a parameter, none of the scalars.
  package func isArray(_ index: Int) -> Bool { index / Self.arrays < parameters }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard (1...max(operands.count, 1)).contains(parameters) else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): \(parameters) parameters of \(operands.count) operands",
        expected: "at least one, and \(Self.arrays) operands for each")
    }
    try expect(parameters * Self.arrays + scalarCount, operands)
    return try (0..<parameters).flatMap { parameter -> [TensorType] in
      let own = operands[parameter * Self.arrays..<(parameter + 1) * Self.arrays]
      let type = own.first!
      guard type.dtype.isFloat, type.dtype == operands[0].dtype else {
        throw ApusError(
          .dtypeMismatch, "\(mnemonic): parameter \(parameter) is \(type)",
          expected: "one floating-point type for all")
      }
      guard own.allSatisfy({ $0 == type }) else {
        throw ApusError(
          .shapeMismatch,
          "\(mnemonic): a parameter, its gradient and its slots are "
            + own.map(\.description).joined(separator: ", "),
          expected: "\(type)")
      }
      let number = TensorType(type.dtype, [])
      for scalar in operands.suffix(scalarCount) where scalar != number {
        throw ApusError(
          .shapeMismatch, "\(mnemonic): a scalar is \(scalar)", expected: "\(number)")
      }
      return Array(repeating: type, count: 1 + Self.slots)
    }
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let numbers = Array(operands.dropFirst(parameters * Self.arrays))
    return (0..<parameters).flatMap { parameter -> [Tensor] in
      var arrays = Array(operands[parameter * Self.arrays..<(parameter + 1) * Self.arrays])
      if isScaled { arrays[1] = arrays[1] * numbers[scalars] }
      return updated(arrays, Array(numbers.prefix(scalars)))
    }
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let numbers = operands.suffix(scalarCount).map(\.scalar)
    return (0..<parameters).flatMap { parameter -> [NDArray] in
      let arrays = operands[parameter * Self.arrays..<(parameter + 1) * Self.arrays].map(\.doubles)
      var new = Array(repeating: [Double](), count: 1 + Self.slots)
      for index in arrays[0].indices {
        var elements = arrays.map { $0[index] }
        if isScaled { elements[1] *= numbers[scalars] }
        for (slot, value) in updated(elements, Array(numbers.prefix(scalars))).enumerated() {
          new[slot].append(value)
        }
      }
      let types = results[parameter * new.count..<(parameter + 1) * new.count]
      return zip(new, types).map { NDArray(doubles: $0, type: $1) }
    }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    view.isContiguous
  }

  package func hasKernel(_ operands: [TensorType]) -> Bool {
    operands.allSatisfy { $0.dtype == .f32 }
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    guard hasKernel(site.operands) else {
      throw ApusError(
        .unsupported, "\(mnemonic) has no kernel for \(site.operands[0].dtype)", expected: "f32")
    }
    var header = ck_optim_args()
    header.arrays = Int32(parameters)
    fill(&header)
    var bytes = withUnsafeBytes(of: header) { Array($0) }
    let count = parameters
    for parameter in 0..<count {
      var array = ck_optim_array()
      array.count = Int64(site.operands[parameter * Self.arrays].count)
      withUnsafeBytes(of: array) { bytes += $0 }
    }
    var call = KernelCall(
      "\(Self.kernel.name)_\(site.isa.name)",
      entry: KernelEntry(ck_optim(Self.kernel.op, ck_isa(site.isa))), bytes: bytes)
    bind(&call)
    let (arrays, made) = (Self.arrays, 1 + Self.slots)
    let regions = UpdateRegions(bytes, count: count)
    call.partition = Partition { buffer, thread, threads in
      let parameter: Int
      switch buffer {
      case .operand(let index): parameter = index / arrays
      case .result(let index): parameter = index / made
      default: return nil
      }
      guard parameter < count else { return nil }
      return regions.of(thread, threads)[parameter]
    }
    let elements = (0..<parameters).reduce(0) { $0 + site.operands[$1 * Self.arrays].count }
    call.flops = Self.flops * Double(elements)
    call.bytes = Double((site.operands + site.results).reduce(0) { $0 + $1.byteCount })
    return call
  }

  private func bind(_ call: inout KernelCall) {
    let numbers = parameters * Self.arrays
    for (index, field) in fields.enumerated() {
      call.bind(field, to: .operand(numbers + index))
    }
    if isScaled { call.bind(\ck_optim_args.scale, to: .operand(numbers + scalars)) }
    typealias Array = ck_optim_array
    let read = [
      MemoryLayout<Array>.offset(of: \.parameter)!, MemoryLayout<Array>.offset(of: \.gradient)!,
      MemoryLayout<Array>.offset(of: \.first)!, MemoryLayout<Array>.offset(of: \.second)!,
    ]
    let made = [
      MemoryLayout<Array>.offset(of: \.new_parameter)!,
      MemoryLayout<Array>.offset(of: \.new_first)!, MemoryLayout<Array>.offset(of: \.new_second)!,
    ]
    for parameter in 0..<parameters {
      let block = MemoryLayout<ck_optim_args>.size + parameter * MemoryLayout<Array>.stride
      let (operand, result) = (parameter * Self.arrays, parameter * (1 + Self.slots))
      for index in 0..<Self.arrays { call.bind(block + read[index], to: .operand(operand + index)) }
      for index in 0...Self.slots { call.bind(block + made[index], to: .result(result + index)) }
      // Each vector is read before its results are written: a value over its old one first of all.
      call.inPlace.append((operand, result))
      for slot in 0..<Self.slots { call.inPlace.append((operand + 2 + slot, result + 1 + slot)) }
      for index in 0...Self.slots { call.inPlace.append((operand + 1, result + index)) }
    }
  }
}

extension Tensor {
  /// The results of an update of one parameter, gradient and scalars in the parameter's element type.
  func update(
    _ op: some UpdateOp, gradient: Tensor, slots: [Tensor], scalars: [Tensor], location: String
  ) -> [Tensor] {
    let rest = ([gradient] + slots + scalars).map {
      $0.dtype.isFloat ? $0.cast(to: dtype) : $0
    }
    return Tensor.applyAll(
      op, to: [self] + rest, resultCount: 1 + slots.count, location: location)
  }
}

/// Which elements of each parameter the threads of a team update. Asked for parameter by parameter, of which
/// there may be thousands; worked out for all of them at once, and kept.
private final class UpdateRegions: Sendable {
  private struct Key: Hashable {
    var thread: Int
    var threads: Int
  }
  private let block: [UInt8]
  private let count: Int
  private let known = Mutex<[Key: [Region]]>([:])

  /// - `block`: the call's arguments.
  init(_ block: [UInt8], count: Int) {
    self.block = block
    self.count = count
  }

  func of(_ thread: Int, _ threads: Int) -> [Region] {
    known.withLock { known in
      let key = Key(thread: thread, threads: threads)
      if let regions = known[key] { return regions }
      var regions = [ck_region](repeating: ck_region(), count: count)
      block.withUnsafeBytes {
        ck_optim_regions(
          $0.baseAddress!.assumingMemoryBound(to: ck_optim_args.self), Int32(thread),
          Int32(threads), &regions)
      }
      let made = regions.map { Region($0) }
      known[key] = made
      return made
    }
  }
}
