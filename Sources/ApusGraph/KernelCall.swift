// What an op hands to the runtime: an entry point and its argument block.
//
// Pointers are not known when an op is lowered: the block names, by field offset, which buffer each
// pointer field will hold, and the plan fills them in once memory is planned.

/// An instruction-set level of the kernels (`ck_isa`).
public enum ISA: Int32, Sendable, Hashable, CaseIterable, Comparable {
  case ref = 0, avx2, avx512, avx512bf16, amx

  /// The name used by `APUS_ISA` and `--isa`.
  public var name: String { "\(self)" }
  public static func < (a: ISA, b: ISA) -> Bool { a.rawValue < b.rawValue }
}

/// A kernel's entry point: the address of a `ck_kernel`. Code, so it is the same from every thread.
package struct KernelEntry: @unchecked Sendable, Hashable {
  /// The C function's name, as in `ck_softmax_avx512`.
  package let symbol: String
  package let address: UnsafeRawPointer

  package init(symbol: String, _ address: UnsafeRawPointer) {
    self.symbol = symbol
    self.address = address
  }

  package static func == (a: KernelEntry, b: KernelEntry) -> Bool { a.address == b.address }
  package func hash(into hasher: inout Hasher) { hasher.combine(address) }
}

/// Elements of an array that a thread touches: runs of `width` elements, `count` of them, that start
/// `pitch` apart, the first at `start`.
package struct Region: Sendable, Hashable {
  package var start: Int
  package var width: Int
  package var pitch: Int
  package var count: Int

  /// Runs that lie end to end become one.
  package init(start: Int, width: Int, pitch: Int, count: Int) {
    let isOne = width == pitch || count == 1
    self.start = start
    self.width = isOne ? width * count : width
    self.pitch = isOne ? width * count : pitch
    self.count = isOne ? 1 : count
  }

  package init(_ range: Range<Int>) {
    self.init(start: range.lowerBound, width: range.count, pitch: range.count, count: 1)
  }

  package static let none = Region(0..<0)
}

/// How a kernel divides its work among the threads of a team, so that the plan knows which thread touches
/// what: no barrier need stand between two calls where each thread goes on with what it touched itself.
///
/// A kernel that waits for its threads inside may state what it writes after: a thread that has written it
/// leaves the call after all others have arrived there.
package struct Partition: Sendable {
  /// What a thread of a team touches of a buffer: elements counted from the operand's or the result's first
  /// one. Nil where any thread may touch any of it.
  package typealias Rule =
    @Sendable (_ buffer: KernelCall.Buffer, _ thread: Int, _ threads: Int) -> Region?
  private let rule: Rule

  package init(_ rule: @escaping Rule) { self.rule = rule }

  /// What `thread` of `threads` touches of a buffer.
  package func region(_ buffer: KernelCall.Buffer, thread: Int, threads: Int) -> Region? {
    rule(buffer, thread, threads)
  }

  /// Anything may be touched by anyone: a barrier stands between it and its readers.
  package static let unknown = Partition { _, _, _ in nil }

  /// The items of `ck_share` that a thread takes of `count`.
  package static func share(_ count: Int, _ thread: Int, _ threads: Int) -> Range<Int> {
    count * thread / threads..<count * (thread + 1) / threads
  }

  /// The first result is cut into `count` equal runs of `elementsPerTile` elements of its dense buffer (the
  /// last may be shorter), handed out by `ck_share`; operands listed in `alignedOperands` are read only at
  /// the very elements that the thread writes.
  package static func tiles(count: Int, elementsPerTile: Int, alignedOperands: [Int]) -> Partition {
    Partition { buffer, thread, threads in
      switch buffer {
      case .result(0): break
      case .operand(let index) where alignedOperands.contains(index): break
      default: return nil
      }
      let tiles = share(count, thread, threads)
      return Region(tiles.lowerBound * elementsPerTile..<tiles.upperBound * elementsPerTile)
    }
  }
}

/// The part of a result that a kernel's innermost code makes at a time.
package struct Tile: Sendable, Hashable, CustomStringConvertible {
  package var rows: Int
  package var columns: Int

  package init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
  }

  /// As in `14x32`.
  package var description: String { "\(rows)x\(columns)" }
}

/// An operand that a kernel would first bring into a form of its own, and can as well take in that form,
/// made beforehand.
package struct PackableOperand: Sendable {
  package var operand: Int
  /// The same for two forms that hold the same bytes where they are made from the same bytes.
  package var form: String
  /// Of the form.
  package var byteCount: Int
  /// The call that takes the operand in that form; everything else stays.
  package var taking: @Sendable () -> KernelCall
  /// The call that makes the form, its result 0, of the operand as it lies, its operand 0.
  package var making: @Sendable () -> KernelCall

  package init(
    operand: Int, form: String, byteCount: Int, taking: @escaping @Sendable () -> KernelCall,
    making: @escaping @Sendable () -> KernelCall
  ) {
    self.operand = operand
    self.form = form
    self.byteCount = byteCount
    self.taking = taking
    self.making = making
  }
}

/// One call of a kernel, not yet bound to memory.
package struct KernelCall: Sendable {
  /// A buffer that a pointer field is to hold.
  package enum Buffer: Sendable, Hashable {
    /// The operand's first element: the value's buffer plus the operand's view offset.
    case operand(Int)
    /// The result's first element.
    case result(Int)
    /// `workspaceBytes` of memory shared by all threads, 64-byte aligned, uninitialised.
    case workspace
    /// An `int64_t[2]`, set to {-1, 0} before each run. A kernel that meets an index outside its table
    /// writes {position, index} and goes on; the run then throws `outOfRange`.
    case errorSlot
    /// The `ck_group` of the processes that train together; null where the run has none.
    case group
  }

  /// A pointer field of the argument block and the memory it is to point at.
  package struct Binding: Sendable, Hashable {
    /// Bytes from the start of the block to the pointer field.
    package var field: Int
    package var buffer: Buffer
    /// Bytes to add to the buffer's address.
    package var byteOffset: Int

    package init(field: Int, buffer: Buffer, byteOffset: Int = 0) {
      self.field = field
      self.buffer = buffer
      self.byteOffset = byteOffset
    }
  }

  /// A description of the path taken, for dumps and profiles; `entry` has the C function's name.
  package var name: String
  package var entry: KernelEntry
  /// The level that the kernel was written for, where it is not the plan's own.
  package var isa: ISA?
  /// For dumps and profiles; nil where there is none to speak of.
  package var tile: Tile?
  /// The argument block's bytes, pointers null.
  package var arguments: [UInt8]
  package var bindings: [Binding] = []
  package var workspaceBytes = 0
  package var scratchBytesPerThread = 0
  package var partition = Partition.unknown
  package var packable: PackableOperand?
  /// Results that may share the buffer of an operand that dies here: the kernel reads each element of
  /// the operand before it writes the element at the same place, on the same thread.
  package var inPlace: [(operand: Int, result: Int)] = []
  /// The operand that holds the indices which are looked at by who binds the error slot, and below what they
  /// must be.
  package var checkedIndices: (operand: Int, limit: Int)?
  /// The least that a checked index may be.
  package var leastIndex = 0
  /// Floating-point operations and bytes moved, for the cost model and the benchmarks.
  package var flops = 0.0
  package var bytes = 0.0
  /// About how many nanoseconds one thread needs for these operations, where the kernel knows better than
  /// a common speed would say.
  package var arithmeticNanoseconds: Double?
  /// How many nanoseconds a team of that size needs, where that is known better than from what is counted here.
  package var nanoseconds: (@Sendable (_ threads: Int) -> Double)?
  /// What one thread spends besides, in nanoseconds: work by the row rather than by the element.
  package var overhead = 0.0
  /// Whether the kernel's threads must all run (it has barriers inside that a single thread skips, so
  /// one thread alone is always allowed; two of seven are not).
  package var isParallel = true
  /// Whether it speaks to other processes. All threads run it, and such calls keep the order in which they were
  /// recorded: all processes must come to them in one order.
  package var isCollective = false

  /// A call whose argument block is `block`, a C struct whose pointer fields are still null.
  package init<Block: BitwiseCopyable>(_ name: String, entry: KernelEntry, block: Block) {
    self.name = name
    self.entry = entry
    arguments = withUnsafeBytes(of: block) { Array($0) }
  }

  /// A call whose argument block was laid out by hand (a header and a variable tail).
  package init(_ name: String, entry: KernelEntry, bytes: [UInt8]) {
    self.name = name
    self.entry = entry
    arguments = bytes
  }

  /// Says which buffer the pointer field at `field` bytes holds when the plan runs.
  package mutating func bind(_ field: Int, to buffer: Buffer, byteOffset: Int = 0) {
    bindings.append(Binding(field: field, buffer: buffer, byteOffset: byteOffset))
  }
}

/// What an op sees when it is lowered.
package struct LoweringSite: Sendable {
  /// The operands' types as the op's type rule sees them.
  package var operands: [TensorType]
  /// How each operand lies in memory; dense where no view was folded in. `offset` is already taken into
  /// account when a pointer is bound.
  package var views: [View]
  package var results: [TensorType]
  /// The level of the kernels to choose.
  package var isa: ISA
  /// How exact products must be.
  package var precision: Precision

  package init(
    operands: [TensorType], views: [View?], results: [TensorType], isa: ISA,
    precision: Precision = .highest
  ) {
    self.operands = operands
    self.views = zip(operands, views).map { $1 ?? View(dense: $0.shape) }
    self.results = results
    self.isa = isa
    self.precision = precision
  }
}
