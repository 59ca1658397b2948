// Batches made ahead on a thread of their own.
//
// A plain thread and not a task: the step occupies the thread that calls it, and a pool of as many
// threads as cores may have none left. It is one for each epoch under way, with the priority of any other: with a lower
// one it would wait behind whatever else the machine does, and the step for it. The maker sleeps until half of its
// batches are used up and then makes them all, so that a short step is not woken past at every batch.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Hands out batches that a thread makes ahead, in order.
///
/// The last batch handed out is taken back at the next call; where the caller has let go of it by then,
/// its memory is used again.
final class PrefetchingIterator: BatchIterator {
  private let shared: Shared
  private var last: Batch?
  private let thread: pthread_t

  /// What the system calls the thread, for whoever looks at a process's threads.
  static let threadName = "apus-batches"

  private static func nameThread() {
    let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    // A thread without a name works as well.
    _ = threadName.withCString { write(descriptor, $0, threadName.utf8.count) }
  }

  /// Starts the thread.
  ///
  /// - Throws: `resource` where the system gives none.
  static func start(_ pass: Pass, depth: Int) throws -> PrefetchingIterator {
    let shared = Shared(pass, depth: depth)
    // Signals are for the thread that asked for them, not for this one.
    var all = sigset_t()
    var old = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &old)
    defer { pthread_sigmask(SIG_SETMASK, &old, nil) }
    let context = Unmanaged.passRetained(shared)
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { context in
        PrefetchingIterator.nameThread()
        Unmanaged<Shared>.fromOpaque(context!).takeRetainedValue().makeBatches()
        return nil
      }, context.toOpaque())
    guard status == 0 else {
      context.release()
      throw ApusError(
        .resource, "no thread to prepare batches on: \(String(cString: strerror(status)))",
        expected: "a thread; or prefetch: 0")
    }
    return PrefetchingIterator(shared, thread)
  }

  private init(_ shared: Shared, _ thread: pthread_t) {
    self.shared = shared
    self.thread = thread
  }

  deinit {
    shared.stop()
    pthread_join(thread, nil)
  }

  func next() throws -> Batch? {
    // The old batch is moved, not copied: memory with one owner can be used again.
    last = try shared.take(returning: last.take())
    return last
  }
}

/// What both threads see. Everything mutable is guarded by `mutex`, except `pass`, which belongs to the
/// making thread.
private final class Shared: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let changed: UnsafeMutablePointer<pthread_cond_t>
  private let depth: Int
  private var pass: Pass
  private var ready: [Batch] = []
  private var spare: [Batch] = []
  private var failure: (any Error)?
  private var isFinished = false
  private var isStopped = false

  init(_ pass: Pass, depth: Int) {
    self.pass = pass
    self.depth = depth
    mutex = .allocate(capacity: 1)
    changed = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(changed, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(changed)
    mutex.deallocate()
    changed.deallocate()
  }

  private func locked<R>(_ body: () -> R) -> R {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body()
  }

  func stop() {
    locked {
      isStopped = true
      _ = pthread_cond_broadcast(changed)
    }
  }

  /// The consumer's side: waits for the next batch; nil after the last.
  func take(returning old: consuming Batch?) throws -> Batch? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    if spare.count < depth, let old = old.take() { spare.append(old) }
    while ready.isEmpty && !isFinished { pthread_cond_wait(changed, mutex) }
    guard !ready.isEmpty else {
      if let failure { throw failure }
      return nil
    }
    let batch = ready.removeFirst()
    if ready.count == depth / 2 { pthread_cond_broadcast(changed) }
    return batch
  }

  /// The maker's side: runs until the pass ends, fails or is stopped.
  func makeBatches() {
    var isRefilling = true
    while !pass.isDone {
      var old: Batch?
      let goesOn = locked { () -> Bool in
        if ready.count >= depth { isRefilling = false }
        while !isRefilling && !isStopped {
          if ready.count <= depth / 2 {
            isRefilling = true
          } else {
            pthread_cond_wait(changed, mutex)
          }
        }
        old = spare.popLast()
        return !isStopped
      }
      guard goesOn else { return }
      do {
        let made = try pass.make(reusing: old.take())
        locked {
          ready.append(made)
          _ = pthread_cond_broadcast(changed)
        }
      } catch {
        locked {
          failure = error
          isFinished = true
          _ = pthread_cond_broadcast(changed)
        }
        return
      }
    }
    locked {
      isFinished = true
      _ = pthread_cond_broadcast(changed)
    }
  }
}
