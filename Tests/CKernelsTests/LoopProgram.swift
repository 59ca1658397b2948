// Loops as the tests write them down: operands with their memory, a domain, a program.
//
// What a program means is in LoopModel.swift; how it is run on the kernels in LoopRunner.swift.

import CKernels

/// A value of a slot or of memory: floats as doubles, integers and truth values (0 or 1) exactly.
enum Number: Equatable {
  case real(Double)
  case whole(Int64)

  var real: Double {
    switch self {
    case .real(let x): x
    case .whole(let x): Double(x)
    }
  }

  var whole: Int64 {
    switch self {
    case .real(let x): preconditionFailure("\(x) is no integer")
    case .whole(let x): x
    }
  }

  var isTrue: Bool { whole != 0 }
}

/// One operand: how its memory lies along the domain, and what is in it before the run.
struct LoopOperand {
  var dtype: ck_dtype
  /// In elements, one for each dimension of the domain.
  var strides: [Int]
  /// The whole memory.
  var bytes: [UInt8]
  /// The element of the memory at the domain's origin.
  var origin = 0
  /// An operand that is no memory: the value at the origin.
  var indexStart: Int?
  /// The operand in whose memory this one lies.
  var sharedWith: Int?

  init(_ dtype: ck_dtype, _ strides: [Int], _ numbers: [Number], origin: Int = 0) {
    self.dtype = dtype
    self.strides = strides
    self.origin = origin
    bytes = dtype.encode(numbers)
  }

  init(_ strides: [Int], _ floats: [Float]) {
    dtype = CK_F32
    self.strides = strides
    bytes = floats.withUnsafeBytes { Array($0) }
  }

  /// Memory of `count` elements for results, full of bytes that no result is made of.
  init(_ dtype: ck_dtype, _ strides: [Int], room count: Int, origin: Int = 0) {
    self.dtype = dtype
    self.strides = strides
    self.origin = origin
    bytes = [UInt8](repeating: 0xB6, count: count * dtype.size)
  }

  /// The place in the domain: `start` plus each index times its stride.
  static func index(_ dtype: ck_dtype, _ strides: [Int], start: Int) -> LoopOperand {
    var operand = LoopOperand(dtype, strides, [])
    operand.indexStart = start
    return operand
  }

  var numbers: [Number] { dtype.decode(bytes) }
}

/// A loop: what `ck_loop_args` says, before it is prepared.
struct LoopProgram {
  var extents: [Int]
  var reduced: Range<Int>
  var operands: [LoopOperand] = []
  var code: [ck_loop_instruction] = []
  /// The phase of the instructions that follow.
  var phase: UInt8 = 0
  private(set) var slots: UInt8 = 0

  init(_ extents: [Int], reduced: Range<Int> = 0..<0) {
    self.extents = extents
    self.reduced = reduced
  }

  /// The strides of a dense array over the domain.
  var dense: [Int] {
    var strides = [Int](repeating: 1, count: extents.count)
    for d in extents.indices.dropLast().reversed() { strides[d] = strides[d + 1] * extents[d + 1] }
    return strides
  }

  var points: Int { extents.reduce(1, *) }

  mutating func add(_ operand: LoopOperand) -> Int {
    operands.append(operand)
    return operands.count - 1
  }

  /// The slot that holds operand `operand`, a new one unless it is named.
  mutating func load(_ operand: Int, into slot: UInt8? = nil, repeats: Bool = false) -> UInt8 {
    let dst = slot ?? newSlot()
    append(CK_OP_load.number, dst: dst, [UInt8(operand)], repeats: repeats)
    return dst
  }

  /// The slot that holds a new operand.
  mutating func load(_ operand: LoopOperand) -> UInt8 { load(add(operand)) }

  mutating func apply(
    _ op: String, _ slots: [UInt8] = [], _ x: Float = 0, _ y: Float = 0, into slot: UInt8? = nil,
    repeats: Bool = false
  ) -> UInt8 {
    let dst = slot ?? newSlot()
    append(ck_op_from_name(op), dst: dst, slots, x, y, repeats: repeats)
    return dst
  }

  mutating func store(_ slot: UInt8, to operand: Int) {
    append(CK_OP_store.number, dst: 0, [slot, UInt8(operand)])
  }

  mutating func store(_ slot: UInt8, to operand: LoopOperand) { store(slot, to: add(operand)) }

  mutating func newSlot() -> UInt8 {
    slots += 1
    return slots - 1
  }

  mutating func append(
    _ op: Int32, dst: UInt8, _ read: [UInt8], _ x: Float = 0, _ y: Float = 0, repeats: Bool = false
  ) {
    code.append(
      ck_loop_instruction(
        op: UInt16(truncatingIfNeeded: op), phase: phase,
        flags: repeats ? UInt8(CK_LOOP_REPEAT) : 0, dst: dst, a: read.first ?? 0,
        b: read.count > 1 ? read[1] : 0, c: read.count > 2 ? read[2] : 0, imm: (x, y)))
  }

  /// The operands that are stored to.
  var outputs: [Int] {
    code.filter { Int32($0.op) == CK_OP_store.number }.map { Int($0.b) }
  }
}

extension ck_op {
  var number: Int32 { Int32(rawValue) }
}

/// The operations of the list, without the two that touch memory.
enum LoopOps {
  static let all: [String] = (CK_OP_store.number + 1..<CK_OP_COUNT.number).map {
    String(cString: ck_op_describe($0).pointee.name)
  }
  static let elementwise = all.filter { !describe($0).reduces }
  static let reductions = all.filter { describe($0).reduces }

  static func describe(_ name: String) -> ck_op_info {
    ck_op_describe(ck_op_from_name(name)).pointee
  }
}

extension ck_op_info {
  var operands: [ck_class] {
    [operand.0, operand.1, operand.2].prefix(Int(arity)).map { $0 }
  }
}

extension ck_class {
  /// The type that stores all that a slot of this class can hold.
  var dtype: ck_dtype {
    switch self {
    case CK_CLASS_F32: CK_F32
    case CK_CLASS_I32: CK_I32
    case CK_CLASS_I64: CK_I64
    default: CK_BOOL
    }
  }
}
