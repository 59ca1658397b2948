// The memory that kernels work in: a plan's arena, states and their packed forms.

import ApusGraph
import Glibc

/// A block of memory, all zeros at first: mapped on 2 MiB boundaries with huge pages asked for where it
/// is that large, from the allocator and 64-byte aligned where it is smaller.
///
/// Huge pages are worth 12 to 25 % of the bandwidth beyond the caches, and up to a third within the
/// third one, whose size in small pages is more than the processor keeps translations of.
///
/// Nothing touches mapped memory before the kernels do, so each page lands near the thread that first
/// writes it, and unused pages cost nothing.
final class Memory: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  private let mapping: (address: UnsafeMutableRawPointer, byteCount: Int)?

  static let hugePage = 2 << 20

  /// - Throws: `resource` where the system gives no memory.
  init(byteCount: Int, for purpose: @autoclosure () -> String) throws {
    guard byteCount >= Memory.hugePage else {
      let bytes = UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(byteCount, 64), alignment: 64)
      bytes.initializeMemory(as: UInt8.self, repeating: 0)
      base = bytes.baseAddress!
      mapping = nil
      return
    }
    let unit = Memory.hugePage
    let mapped = byteCount.addingReportingOverflow(2 * unit)
    let length = mapped.partialValue / unit * unit
    let address =
      mapped.overflow
      ? nil
      : mmap(
        nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let address, address != UnsafeMutableRawPointer(bitPattern: -1) else {
      throw ApusError(
        .resource, "no memory for \(purpose()) of \(byteCount) bytes", expected: "smaller shapes")
    }
    mapping = (address, length)
    let begin = (UInt(bitPattern: address) + UInt(unit) - 1) / UInt(unit) * UInt(unit)
    base = address + Int(begin - UInt(bitPattern: address))
    madvise(base, (byteCount + unit - 1) / unit * unit, MADV_HUGEPAGE)
  }

  deinit {
    if let mapping {
      munmap(mapping.address, mapping.byteCount)
    } else {
      base.deallocate()
    }
  }
}
