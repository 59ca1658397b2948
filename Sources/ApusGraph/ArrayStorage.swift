// The memory of host arrays.

import Glibc

/// 64-byte aligned zeros that belong to one or more arrays. Immutable while shared: `NDArray` copies
/// before it writes, which is what makes it Sendable.
///
/// Large memory is mapped: the system hands it out zeroed, page by page to whoever touches it first, so
/// that the threads that fill an array share that work too. Small memory comes from the allocator, which
/// keeps what was touched before.
final class ArrayStorage: @unchecked Sendable {
  let bytes: UnsafeMutableRawBufferPointer
  private let mapping: (address: UnsafeMutableRawPointer, byteCount: Int)?

  /// From here on glibc's own allocator maps as well, whatever was freed before.
  static let mappedFrom = 32 << 20
  private static let hugePage = 2 << 20

  /// - Throws: `resource` where the machine has less memory than that, or the system gives none.
  init(byteCount: Int, for type: @autoclosure () -> TensorType) throws {
    func refusal() -> ApusError {
      ApusError(
        .resource, "no memory for an array \(type()) of \(byteCount) bytes",
        expected: "at most \(Self.machineBytes) bytes, what this machine has")
    }
    guard byteCount >= Self.mappedFrom else {
      var memory: UnsafeMutableRawPointer?
      guard posix_memalign(&memory, 64, max(byteCount, 1)) == 0, let memory else {
        throw refusal()
      }
      bytes = UnsafeMutableRawBufferPointer(start: memory, count: byteCount)
      memset(memory, 0, byteCount)
      mapping = nil
      return
    }
    guard byteCount <= Self.machineBytes else { throw refusal() }
    // Room to begin at a boundary of huge pages.
    let length = byteCount + 2 * Self.hugePage
    let address = mmap(
      nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let address, address != UnsafeMutableRawPointer(bitPattern: -1) else { throw refusal() }
    mapping = (address, length)
    let begin = address.alignedUp(toMultipleOf: Self.hugePage)
    bytes = UnsafeMutableRawBufferPointer(start: begin, count: byteCount)
    madvise(begin, byteCount, MADV_HUGEPAGE)
  }

  /// A copy.
  ///
  /// Memory for it was there a moment ago for the original; where there is none, the program ends and
  /// says so, as it does whenever a value type cannot be copied.
  convenience init(copying other: ArrayStorage) {
    do {
      try self.init(byteCount: other.bytes.count, for: .u8(other.bytes.count))
    } catch {
      fatalError("NDArray: \(error)")
    }
    bytes.copyMemory(from: UnsafeRawBufferPointer(other.bytes))
  }

  deinit {
    if let mapping {
      munmap(mapping.address, mapping.byteCount)
    } else {
      free(bytes.baseAddress)
    }
  }

  /// The machine's memory. More may be had where there is swap space, but an array that is larger than
  /// all memory is a mistake in a shape, not a wish.
  private static let machineBytes: Int = {
    let pages = sysconf(Int32(_SC_PHYS_PAGES)), pageSize = sysconf(Int32(_SC_PAGESIZE))
    return pages > 0 && pageSize > 0 ? Shape.product(pages, pageSize) : TensorType.mostBytes
  }()
}
