// The one block of memory that a plan works in.

import ApusGraph
import Glibc

/// Mapped memory: on 2 MiB boundaries with huge pages asked for where it is that large.
///
/// Nothing touches it before the kernels do, so each page lands near the thread that first writes it,
/// and unused pages cost nothing.
final class Arena: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  let byteCount: Int
  private let mapping: UnsafeMutableRawPointer
  private let mappedBytes: Int

  /// - Throws: `resource` where the system gives no memory.
  init(byteCount: Int) throws {
    let huge = 2 << 20
    let isLarge = byteCount >= huge
    let unit = isLarge ? huge : 4096
    self.byteCount = max((byteCount + unit - 1) / unit, 1) * unit
    mappedBytes = self.byteCount + (isLarge ? huge : 0)
    let mapping = mmap(
      nil, mappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let mapping, mapping != UnsafeMutableRawPointer(bitPattern: -1) else {
      throw ApusError(
        .resource, "no memory for an arena of \(byteCount) bytes", expected: "a smaller batch")
    }
    self.mapping = mapping
    let address = (UInt(bitPattern: mapping) + UInt(unit) - 1) / UInt(unit) * UInt(unit)
    base = mapping + Int(address - UInt(bitPattern: mapping))
    if isLarge { madvise(base, self.byteCount, MADV_HUGEPAGE) }
  }

  deinit { munmap(mapping, mappedBytes) }
}
