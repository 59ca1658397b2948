// How argument blocks of the kernels are filled and bound.

import ApusGraph
import CKernels

extension KernelCall {
  /// Binds a pointer field of the argument block by its key path.
  mutating func bind<Block, Pointer>(_ field: KeyPath<Block, Pointer>, to buffer: Buffer) {
    bind(MemoryLayout<Block>.offset(of: field)!, to: buffer)
  }

  /// A call of `kernel`, whose operands and results are read and written once.
  init<Block: BitwiseCopyable>(
    _ name: String, _ kernel: ck_kernel?, _ site: LoweringSite, block: Block
  ) {
    self.init(
      "\(name)_\(site.isa.name)", entry: KernelEntry(kernel), block: block)
    bytes = Double((site.operands + site.results).reduce(0) { $0 + $1.byteCount })
  }
}

extension ck_isa {
  /// The C level of a Swift one.
  init(_ isa: ISA) { self.init(rawValue: UInt32(isa.rawValue)) }
}

extension KernelEntry {
  /// A kernel of one of the families' lists, which know its name.
  package init(_ kernel: ck_kernel?) {
    guard let kernel, let symbol = ck_kernel_name(kernel) else {
      preconditionFailure("a kernel that no list of CKernels has")
    }
    self.init(
      symbol: String(cString: symbol), unsafeBitCast(kernel, to: UnsafeRawPointer.self))
  }
}

/// Writes integers into a C array, which Swift sees as a tuple of `Int64`.
func fill<Tuple>(_ tuple: inout Tuple, _ values: [Int]) {
  withUnsafeMutableBytes(of: &tuple) { bytes in
    let slots = bytes.bindMemory(to: Int64.self)
    for (index, value) in values.enumerated() { slots[index] = Int64(value) }
  }
}

/// How fast the processor at hand is.
func rates(at isa: ISA) -> ck_rates { ck_rates_here(ck_isa(isa)).pointee }
