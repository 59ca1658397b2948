// A group of processes that are threads of one process: the same calls, over shared memory.

import ApusGraph
import ApusRuntime
import Foundation

/// A transport between threads, each of which plays a process.
///
///     let losses = try ThreadTransport.run(2) { processes in try train(processes) }
package final class ThreadTransport: ProcessTransport, @unchecked Sendable {
  package let rank: Int
  package let size: Int
  private let board: Board
  /// The numbers of the own arrays that have been posted, by order, and of calls.
  private var posted = 0
  private var calls = 0
  private var waiting: [Int: (place: Int, values: UnsafeMutablePointer<Float>, count: Int)] = [:]
  /// Runs whenever something of this process is under way, for tests of what is done meanwhile.
  package var onPost: (() -> Void)?

  private init(_ rank: Int, _ board: Board) {
    self.rank = rank
    size = board.size
    self.board = board
  }

  /// Runs a program in so many processes at once, each with a team of its own.
  ///
  /// - `threads`: of each process.
  /// - Returns: what each gave, by rank.
  /// - Throws: what the first of them threw; the others are let go.
  package static func run<R: Sendable>(
    _ size: Int, threads: Int = 1, _ body: @escaping @Sendable (ProcessGroup) throws -> R
  ) throws -> [R] {
    let board = Board(size)
    let results = Results<R>(size)
    let ranks = (0..<size).map { rank in
      let thread = Thread {
        results.set(
          rank,
          Result {
            do {
              let team = try Team(threads: threads)
              return try body(ProcessGroup(ThreadTransport(rank, board), team: team))
            } catch {
              board.close()
              throw error
            }
          })
      }
      thread.stackSize = 8 << 20
      return thread
    }
    for thread in ranks { thread.start() }
    return try results.all().map { try $0.get() }
  }

  private final class Results<R: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private var results: [Result<R, any Error>?]

    init(_ size: Int) { results = Array(repeating: nil, count: size) }

    func set(_ rank: Int, _ result: Result<R, any Error>) {
      condition.withLock {
        results[rank] = result
        condition.broadcast()
      }
    }

    func all() -> [Result<R, any Error>] {
      condition.withLock {
        while results.contains(where: { $0 == nil }) { condition.wait() }
        return results.map { $0! }
      }
    }
  }

  /// What the processes have brought, in the order of their calls.
  private final class Board: @unchecked Sendable {
    let size: Int
    private let condition = NSCondition()
    private var arrays: [Int: [[Float]?]] = [:]
    private var messages: [Int: [[UInt8]?]] = [:]
    private var isClosed = false

    init(_ size: Int) { self.size = size }

    func close() {
      condition.withLock {
        isClosed = true
        condition.broadcast()
      }
    }

    func bring(_ place: Int, _ rank: Int, _ array: [Float]) {
      condition.withLock {
        arrays[place, default: Array(repeating: nil, count: size)][rank] = array
        condition.broadcast()
      }
    }

    /// Nil where a process has been let go.
    func arrays(_ place: Int) -> [[Float]]? {
      condition.withLock {
        while arrays[place]!.contains(where: { $0 == nil }), !isClosed { condition.wait() }
        let all = arrays[place]!.compactMap { $0 }
        return all.count == size ? all : nil
      }
    }

    func tell(_ place: Int, _ rank: Int, _ bytes: [UInt8]) -> [[UInt8]] {
      condition.withLock {
        messages[place, default: Array(repeating: nil, count: size)][rank] = bytes
        condition.broadcast()
        while messages[place]!.contains(where: { $0 == nil }), !isClosed { condition.wait() }
        return messages[place]!.map { $0 ?? [] }
      }
    }
  }

  package func post(_ number: Int, _ values: UnsafeMutablePointer<Float>, _ count: Int) {
    board.bring(posted, rank, Array(UnsafeBufferPointer(start: values, count: count)))
    waiting[number] = (posted, values, count)
    posted += 1
    // Until it is waited for nobody may read it.
    for index in 0..<count { values[index] = .nan }
    onPost?()
  }

  package func wait(_ number: Int) {
    guard let (place, values, count) = waiting.removeValue(forKey: number),
      let arrays = board.arrays(place), arrays.allSatisfy({ $0.count == count })
    else { return }
    for index in 0..<count {
      values[index] = arrays.dropFirst().reduce(arrays[0][index]) { $0 + $1[index] }
    }
  }

  package func exchange(_ word: UInt64) -> [UInt64] {
    gather(withUnsafeBytes(of: word, Array.init)).map { bytes in
      // What fails nobody's condition would let the others go on.
      bytes.count == 8 ? bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) } : 1
    }
  }

  package func gather(_ bytes: [UInt8]) -> [[UInt8]] {
    defer { calls += 1 }
    return board.tell(calls, rank, bytes)
  }

  package func abort(_ code: Int32) -> Never { fatalError("process \(rank) ends all: \(code)") }
}
