// Work on many texts, on several threads.
//
// Plain threads and not tasks: a pool of as many threads as cores may have none left, since steps occupy theirs.

import ApusGraph
import CText
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The results of a body for all of 0..<count, in order.
///
/// - `threads`: how many work; nil stands for one for each processor that the process may use.
/// - `body`: gives the results of a range. It is called with ranges in order, on any of the threads.
/// - Throws: what the body throws for the first range that fails; `invalidArgument` for fewer than one thread;
///   `resource` where the system gives none.
func parallelMap<Result: Sendable>(
  _ count: Int, threads: Int?, _ body: @escaping @Sendable (Range<Int>) throws -> [Result]
) throws -> [Result] {
  if let threads, threads < 1 {
    throw ApusError(
      .invalidArgument, "\(threads) threads", expected: "1 or more, or nil for one a processor")
  }
  let workers = min(threads ?? Int(text_processors()), (count + 1) / 2)
  guard workers > 1 else { return try body(0..<count) }
  // Small enough that all end at about the same time, large enough that taking one costs nothing.
  let size = max(1, min(256, count / (8 * workers)))
  let work = ParallelWork(count: count, size: size, body: body)
  var started: [pthread_t] = []
  for _ in 1..<workers {
    var thread = pthread_t()
    let context = Unmanaged.passRetained(work as AnyWork)
    let status = pthread_create(
      &thread, nil,
      { context in
        Unmanaged<AnyWork>.fromOpaque(context!).takeRetainedValue().run()
        return nil
      }, context.toOpaque())
    guard status == 0 else {
      context.release()
      break
    }
    started.append(thread)
  }
  // This thread works too, so that fewer threads than wanted are slower and no error.
  work.run()
  for thread in started { pthread_join(thread, nil) }
  return try work.results()
}

private class AnyWork: @unchecked Sendable {
  func run() {}
}

private final class ParallelWork<Result: Sendable>: AnyWork, @unchecked Sendable {
  private let count: Int
  private let size: Int
  private let body: @Sendable (Range<Int>) throws -> [Result]
  private struct State: Sendable {
    var next = 0
    var parts: [Int: [Result]] = [:]
    var failure: (start: Int, error: any Error)?
  }
  private let state = Mutex(State())

  init(count: Int, size: Int, body: @escaping @Sendable (Range<Int>) throws -> [Result]) {
    self.count = count
    self.size = size
    self.body = body
  }

  override func run() {
    while true {
      let range: Range<Int>? = state.withLock { state in
        guard state.next < count, state.failure == nil else { return nil }
        defer { state.next += size }
        return state.next..<min(count, state.next + size)
      }
      guard let range else { return }
      do {
        let part = try body(range)
        state.withLock { $0.parts[range.lowerBound] = part }
      } catch {
        // Ranges before this one have been given out, so that the first failure of all is known in the end.
        state.withLock {
          if $0.failure.map({ range.lowerBound < $0.start }) ?? true {
            $0.failure = (range.lowerBound, error)
          }
        }
      }
    }
  }

  func results() throws -> [Result] {
    try state.withLock { state in
      if let failure = state.failure { throw failure.error }
      var results: [Result] = []
      results.reserveCapacity(count)
      for start in stride(from: 0, to: count, by: size) { results += state.parts[start] ?? [] }
      return results
    }
  }
}
