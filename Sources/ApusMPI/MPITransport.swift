// Bytes between processes by Open MPI.

#if MPI
  import ApusRuntime
  import CMPI
  import Foundation

  /// A group's transport by messages of MPI.
  ///
  /// An array is summed in two rounds. Each process owns one run of it: it receives that run of all others, adds them
  /// up in the order of ranks, and sends the sum back. So the bits are the same in every run, whatever MPI chooses and
  /// however arrays are cut into buckets, and every byte goes over the wire twice, as in a ring, but in two messages'
  /// time. What has been posted goes on in every later call; there is no thread for it, which would take a processor
  /// from the team.
  ///
  /// MPI's own errors end all processes with MPI's message: its standard handler.
  final class MPITransport: ProcessTransport, @unchecked Sendable {
    let rank: Int
    let size: Int
    /// A communicator of our own: nobody else's messages are met.
    private let world: MPI_Comm?
    private var sums: [PendingSum] = []
    /// Counts posts: a message's tag.
    private var posted: Int32 = 0

    init() {
      var world: MPI_Comm? = cmpi_world()
      MPI_Comm_dup(cmpi_world(), &world)
      var rank: Int32 = 0, size: Int32 = 0
      MPI_Comm_rank(world, &rank)
      MPI_Comm_size(world, &size)
      self.world = world
      (self.rank, self.size) = (Int(rank), Int(size))
    }

    // Calls come from one thread at a time, whichever it is (MPI_THREAD_SERIALIZED): runs take turns, and within one
    // the calling thread alone speaks to others.

    func post(_ number: Int, _ values: UnsafeMutablePointer<Float>, _ count: Int) {
      // Two tags for each; MPI grants 32767 at least, and so many are never under way.
      let tag = 2 * posted
      posted = (posted + 1) % 16_000
      sums.append(PendingSum(number, values, count, rank: rank, size: size, world, tag: tag))
      for index in sums.indices { _ = sums[index].advance() }
    }

    func wait(_ number: Int) {
      while let index = sums.firstIndex(where: { $0.number == number }) {
        // Others may wait for what lies behind it: all are advanced until this one is done.
        for other in sums.indices { _ = sums[other].advance() }
        if sums[index].advance() { sums.remove(at: index).deallocate() }
      }
    }

    func exchange(_ word: UInt64) -> [UInt64] {
      var word = word
      var words = [UInt64](repeating: 0, count: size)
      let bytes = Int32(MemoryLayout<UInt64>.size)
      MPI_Allgather(&word, bytes, cmpi_byte(), &words, bytes, cmpi_byte(), world)
      return words
    }

    func gather(_ bytes: [UInt8]) -> [[UInt8]] {
      let lengths = exchange(UInt64(bytes.count)).map { Int32(clamping: $0) }
      var starts: [Int32] = []
      var total: Int32 = 0
      for length in lengths {
        starts.append(total)
        total += length
      }
      var all = [UInt8](repeating: 0, count: max(Int(total), 1))
      // A pointer even where there is nothing to send.
      let own = bytes + [0]
      MPI_Allgatherv(
        own, Int32(bytes.count), cmpi_byte(), &all, lengths, starts, cmpi_byte(), world)
      return lengths.indices.map { index in
        Array(all[Int(starts[index])..<Int(starts[index] + lengths[index])])
      }
    }

    func abort(_ code: Int32) -> Never {
      MPI_Abort(world, code)
      Foundation.exit(code)
    }
  }

  /// An array that is being summed over all processes.
  private struct PendingSum {
    let number: Int
    private let values: UnsafeMutablePointer<Float>
    private let count: Int
    private let rank: Int
    private let size: Int
    private let world: MPI_Comm?
    private let tag: Int32
    /// What the others have of the own run, one after the other.
    private let received: UnsafeMutablePointer<Float>
    private let requests: UnsafeMutableBufferPointer<MPI_Request?>
    private var round = Round.collecting

    private enum Round { case collecting, spreading, done }

    init(
      _ number: Int, _ values: UnsafeMutablePointer<Float>, _ count: Int, rank: Int, size: Int,
      _ world: MPI_Comm?, tag: Int32
    ) {
      self.number = number
      self.values = values
      self.count = count
      self.rank = rank
      self.size = size
      self.world = world
      self.tag = tag
      let own = Self.run(of: rank, count, size).count
      received = .allocate(capacity: max(own * (size - 1), 1))
      requests = .allocate(capacity: 2 * size)
      requests.initialize(repeating: cmpi_no_request())
      for other in 0..<size where other != rank {
        let place = other < rank ? other : other - 1
        MPI_Irecv(
          received + place * own, Int32(own), cmpi_float(), Int32(other), tag, world,
          requests.baseAddress! + other)
      }
      for other in 0..<size where other != rank {
        let run = Self.run(of: other, count, size)
        MPI_Isend(
          values + run.lowerBound, Int32(run.count), cmpi_float(), Int32(other), tag, world,
          requests.baseAddress! + size + other)
      }
    }

    func deallocate() {
      received.deallocate()
      requests.deallocate()
    }

    /// The elements that a process sums.
    private static func run(of rank: Int, _ count: Int, _ size: Int) -> Range<Int> {
      count * rank / size..<count * (rank + 1) / size
    }

    /// Goes on as far as messages have come.
    ///
    /// - Returns: whether the array is the sum.
    mutating func advance() -> Bool {
      while round != .done {
        var isDone: Int32 = 0
        MPI_Testall(Int32(2 * size), requests.baseAddress!, &isDone, cmpi_no_statuses())
        guard isDone != 0 else { return false }
        if round == .collecting {
          sum()
          spread()
          round = .spreading
        } else {
          round = .done
        }
      }
      return true
    }

    /// Adds up the own run, in the order of ranks.
    private func sum() {
      let run = Self.run(of: rank, count, size)
      let own = values + run.lowerBound
      let parts = (0..<size).map { other -> UnsafePointer<Float>? in
        UnsafePointer(
          other == rank ? own : received + (other < rank ? other : other - 1) * run.count)
      }
      addInOrder(parts, into: own, count: run.count)
    }

    private func spread() {
      let own = Self.run(of: rank, count, size)
      for other in 0..<size where other != rank {
        let run = Self.run(of: other, count, size)
        MPI_Irecv(
          values + run.lowerBound, Int32(run.count), cmpi_float(), Int32(other), tag + 1, world,
          requests.baseAddress! + other)
        MPI_Isend(
          values + own.lowerBound, Int32(own.count), cmpi_float(), Int32(other), tag + 1, world,
          requests.baseAddress! + size + other)
      }
    }
  }
#endif
