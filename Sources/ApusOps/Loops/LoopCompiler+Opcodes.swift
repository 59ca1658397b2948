// The tile machine's names for ops and element types.

import ApusGraph
import CKernels

extension LoopCompiler {
  /// What a slot of that element type holds, as opcodes spell it.
  static func suffix(_ dtype: DType) -> String {
    switch dtype {
    case .f32, .bf16, .f16, .f64: "f32"
    case .i32, .u8: "i32"
    case .i64: "i64"
    case .bool: "bool"
    }
  }

  /// Opcodes that are other opcodes on bools, which slots hold as 0 and -1.
  private static let synonyms = [
    "ne_bool": "xor_bool", "reduce_max_bool": "reduce_any_bool",
    "reduce_min_bool": "reduce_all_bool",
  ]

  /// The name of the opcode of an elementwise op whose last operand has the given type.
  static func name(applying mnemonic: String, _ dtype: DType) -> String {
    let name = "\(mnemonic)_\(suffix(dtype))"
    return synonyms[name] ?? name
  }

  static func name(reducing mnemonic: String, _ dtype: DType) -> String {
    let stem = mnemonic.hasPrefix("reduce_") ? mnemonic : "reduce_" + mnemonic
    let name = "\(stem)_\(suffix(dtype))"
    return synonyms[name] ?? name
  }

  static func hasOpcode(applying mnemonic: String, _ dtype: DType) -> Bool {
    ck_op_from_name(name(applying: mnemonic, dtype)) >= 0
  }

  static func hasOpcode(reducing mnemonic: String, _ dtype: DType) -> Bool {
    ck_op_from_name(name(reducing: mnemonic, dtype)) >= 0
  }

  func opcode(_ name: String, for mnemonic: String, _ types: [DType]) throws -> ck_op {
    let number = ck_op_from_name(name)
    guard number >= 0 else {
      throw ApusError(
        .unsupported,
        "\(mnemonic) has no kernel for \(types.map(\.rawValue).joined(separator: ", "))",
        expected: "other element types, or a cast first")
    }
    return ck_op(rawValue: UInt32(number))
  }

  /// The opcodes that convert a slot's value to what an array of type `to` would hold.
  func castSteps(from: DType, to: DType) throws -> [ck_op] {
    let source = Self.suffix(from), target = Self.suffix(to)
    var steps: [String] = []
    if source != target {
      if source == "i64" && to == .u8 || source == "f32" && to == .u8 {
        steps.append("cast_\(source)_i32")
      } else {
        steps.append("cast_\(source)_\(target)")
      }
    }
    switch to {
    case .bf16 where from != .bf16: steps.append("round_bf16_f32")
    case .f16 where from != .f16: steps.append("round_f16_f32")
    case .u8 where from != .u8 && from != .bool: steps.append("cast_i32_u8")
    default: break
    }
    if steps.isEmpty { steps.append("copy_\(source)") }
    return try steps.map { try opcode($0, for: "cast", [from]) }
  }
}
