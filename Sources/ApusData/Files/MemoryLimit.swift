// How much memory a file may ask for.
//
// A small file can say that it holds terabytes, so what readers make of compressed files and archives has
// a limit. It is looked at before memory is taken.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The most bytes that one call of a reader may make.
struct MemoryLimit {
  let byteCount: Int

  /// - `limit`: the caller's; nil stands for four fifths of the memory that is free now.
  /// - Throws: `invalidArgument` for a negative one.
  init(_ limit: Int?) throws {
    if let limit, limit < 0 {
      throw ApusError(
        .invalidArgument, "a limit of \(limit) bytes", expected: "0 bytes or more, or nil")
    }
    byteCount = limit ?? Self.available / 5 * 4
  }

  /// - Throws: `resource` where `needed` bytes for `what` are more than the limit.
  func check(_ needed: Int, for what: @autoclosure () -> String, at place: String) throws {
    guard needed > byteCount else { return }
    throw ApusError(
      .resource, "\(what()) would take \(needed) bytes", at: place,
      expected: "at most \(byteCount) bytes, the limit: 'limit:' raises it for a file you trust")
  }

  /// The memory that can be had now: what the machine has free or can free, or what the control group
  /// that the process runs in leaves, whichever is less.
  static var available: Int {
    var least = Int.max
    if let line = lines(of: "/proc/meminfo").first(where: { $0.hasPrefix("MemAvailable:") }),
      let kilobytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
    {
      least = kilobytes << 10
    }
    // Version 2 of control groups: "0::/path". Every group above may set a limit too.
    var group = lines(of: "/proc/self/cgroup").first { $0.hasPrefix("0::") }?.dropFirst(3) ?? ""
    while true {
      let folder = "/sys/fs/cgroup\(group == "/" ? "" : group)"
      if let most = lines(of: "\(folder)/memory.max").first.flatMap({ Int($0) }),
        let used = lines(of: "\(folder)/memory.current").first.flatMap({ Int($0) })
      {
        // Pages of files are given up when memory is asked for.
        let cached = lines(of: "\(folder)/memory.stat").first { $0.hasPrefix("inactive_file ") }
          .flatMap { Int($0.dropFirst(14)) }
        least = min(least, max(0, most - used + (cached ?? 0)))
      }
      guard let slash = group.lastIndex(of: "/") else { break }
      group = group[..<slash]
    }
    return least
  }

  /// The lines of one of the system's files, which do not say their size; none where it is not there.
  private static func lines(of path: String) -> [Substring] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 14) { buffer, count in
      while count < buffer.count {
        let got = read(descriptor, buffer.baseAddress! + count, buffer.count - count)
        guard got > 0 else { break }
        count += got
      }
    }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
  }
}
