// The programs on a contraction's result that its kernel does in registers, before it is written.

import ApusGraph
import CKernels

/// `round(relu(mask(combine(sum + bias, other))))`, or a part of that.
struct RegisterEpilogue {
  /// The program's operand that is added to every row.
  private(set) var bias: Int?
  /// The program's operand that each element meets at its own place.
  private(set) var other: Int?
  private(set) var combination = CK_ALONE
  /// The program's operand whose signs choose what is left of a sum with another array.
  private(set) var mask: Int?
  private(set) var hasRelu = false
  /// The result's type.
  private(set) var result: DType

  /// - `read`: the types of the program's operands, the contraction's result first.
  /// - `walk`: how they lie.
  /// - Returns: nil where the program does anything else.
  init?(_ program: LoopProgram, _ read: [TensorType], _ walk: EpilogueWalk) {
    result = walk.type
    guard program.outputs == [program.instructions.count - 1], read.count <= 4 else { return nil }
    var value = LoopProgram.Argument.operand(0)
    // Operands by the instruction that widens them, which loading them does.
    var widened: [LoopProgram.Argument: Int] = [:]
    /// The further operand that an instruction combines with the value so far.
    func partner(_ arguments: [LoopProgram.Argument]) -> Int? {
      let rest = arguments.filter { $0 != value }
      guard arguments.count == 2, rest.count == 1 else { return nil }
      if case .operand(let index) = rest[0], index > 0 { return index }
      return widened[rest[0]]
    }
    for (index, instruction) in program.instructions.enumerated() {
      let arguments = instruction.arguments
      // Nothing follows the rounding, and but for that nothing the rectifier.
      guard result == walk.type, case .apply(let op) = instruction.action else { return nil }
      switch op {
      case let cast as Cast where cast.dtype == .f32 && arguments != [value]:
        guard case .operand(let operand) = arguments[0], read[operand].dtype == .bf16 else {
          return nil
        }
        widened[.value(index)] = operand
        continue
      case is Add where !hasRelu && other == nil && result == .f32:
        guard let operand = partner(arguments) else { return nil }
        if bias == nil, Self.isBias(operand, read, walk) {
          bias = operand
        } else {
          (other, combination) = (operand, CK_ADD)
        }
      case is Gate where !hasRelu && other == nil && arguments.last == value:
        guard let operand = partner(arguments) else { return nil }
        (other, combination) = (operand, CK_GATE)
      case is Gate
      where !hasRelu && combination == CK_ADD && mask == nil && result == .f32
        && arguments.last == value:
        guard let operand = partner(arguments), let other,
          read[other].dtype == read[operand].dtype, walk.strides[operand] == walk.strides[other]
        else { return nil }
        mask = operand
      case is Relu where !hasRelu && arguments == [value]:
        hasRelu = true
      case let cast as Cast
      where arguments == [value] && result == .f32 && (cast.dtype == .bf16 || cast.dtype == .f16):
        result = cast.dtype
      default:
        return nil
      }
      value = .value(index)
    }
    let used = [bias, other, mask].compactMap(\.self)
    guard Set(used) == Set(1..<read.count), used.count == read.count - 1 else { return nil }
    if let other, ![.f32, .bf16].contains(read[other].dtype) || walk.strides[other][2] != 1 {
      return nil
    }
  }

  /// Whether an operand is one dense row for all rows of all matrices.
  private static func isBias(_ operand: Int, _ read: [TensorType], _ walk: EpilogueWalk) -> Bool {
    let strides = walk.strides[operand]
    return read[operand].dtype == .f32 && strides[0] == 0 && (strides[1] == 0 || walk.rows == 1)
      && (strides[2] == 1 || walk.columns == 1)
  }
}
