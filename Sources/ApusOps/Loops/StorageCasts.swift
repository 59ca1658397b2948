// Casts between f32 and the 16-bit floats that loops need not carry out.

import ApusGraph

extension LoopProgram {
  /// The instructions that loads and stores carry out by themselves, each with what it casts: in slots
  /// 16-bit floats are `f32`, loading widens them and storing rounds to the nearest even. So a cast that
  /// widens does nothing, nor does one whose rounded value is only stored.
  ///
  /// - `operands`: the element types of the operands.
  /// - `values`: those of the instructions' values.
  func storageCasts(_ operands: [DType], _ values: [DType]) -> [Int: Argument] {
    let read = Set(instructions.flatMap(\.arguments))
    var found: [Int: Argument] = [:]
    for (index, instruction) in instructions.enumerated() {
      guard case .apply(let cast as Cast) = instruction.action else { continue }
      let argument = instruction.arguments[0]
      let from =
        switch argument {
        case .operand(let operand): operands[operand]
        case .value(let value): values[value]
        }
      let isStored = outputs.contains(index)
      let isOnlyStored = isStored && !read.contains(.value(index))
      guard
        from.isStorage && cast.dtype == .f32
          || from == .f32 && cast.dtype.isStorage && isOnlyStored
      else { continue }
      // What is stored must be a value: a load alone may be read where it lies.
      var source = argument
      while case .value(let value) = source, let inner = found[value] { source = inner }
      if isStored, case .operand = source { continue }
      found[index] = argument
    }
    return found
  }
}

extension DType {
  /// Whether the type is one in which floats are stored and not computed.
  fileprivate var isStorage: Bool { self == .bf16 || self == .f16 }
}
