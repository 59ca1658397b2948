// The memory that kernels work in: a plan's arena, states and their packed forms.

import ApusGraph
import Glibc
import Synchronization

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
  /// Memory that this is a part of; it goes when its last part goes.
  private let whole: Memory?

  static let hugePage = 2 << 20

  /// - Throws: `resource` where the system gives no memory.
  init(byteCount: Int, for purpose: @autoclosure () -> String) throws {
    guard byteCount >= Memory.hugePage else {
      let bytes = UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(byteCount, 64), alignment: 64)
      bytes.initializeMemory(as: UInt8.self, repeating: 0)
      base = bytes.baseAddress!
      (mapping, whole) = (nil, nil)
      return
    }
    whole = nil
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

  private init(_ offset: Int, of whole: Memory) {
    base = whole.base + offset
    mapping = nil
    self.whole = whole
  }

  deinit {
    if whole != nil { return }
    if let mapping {
      munmap(mapping.address, mapping.byteCount)
    } else {
      base.deallocate()
    }
  }

  // MARK: States

  /// Of such arrays several share huge pages.
  private static let sharing = 64 << 10..<hugePage
  private static let sharedBytes = 2 * hugePage
  private static let shared = Mutex<(memory: Memory, used: Int)?>(nil)

  /// Zeroed memory that lives long. The arrays of a network are mostly smaller than a huge page, and an update that goes
  /// through hundreds of them on pages of 4 KB waits for their addresses (20 M parameters in 200 arrays, SGD: 4.1 ms, and
  /// 2.9 to 3.9 so): they lie side by side.
  ///
  /// - Throws: `resource` where the system gives no memory.
  static func ofState(byteCount: Int, for purpose: @autoclosure () -> String) throws -> Memory {
    guard sharing.contains(byteCount) else {
      return try Memory(byteCount: byteCount, for: purpose())
    }
    let size = (byteCount + 63) & ~63
    return try shared.withLock { current in
      var (memory, used) = try current ?? (Memory(byteCount: sharedBytes, for: purpose()), 0)
      if used + size > sharedBytes {
        (memory, used) = (try Memory(byteCount: sharedBytes, for: purpose()), 0)
      }
      current = (memory, used + size)
      return Memory(used, of: memory)
    }
  }
}
