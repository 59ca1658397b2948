// The random key of a graph, and the words that random ops draw from it.
//
// The key is a state `i64[2]` = {key, step}. Every random op has a stream number of its own, and whoever
// makes a training step adds 1 to the step at its end: so no number is drawn twice, a recomputed op draws
// what it drew before, and changing the seed recompiles nothing. See CKernels/include/ck_random.h.

import ApusGraph
import CKernels
import Glibc

extension Trace {
  /// The name of the random key among a graph's states.
  package static let randomKeyState = "random.key"

  /// The random key of the graph that is recorded: `i64[2]`, {key, step}.
  /// Within a loop's body it is the key of the turn. Of processes that train together each has a key of its own,
  /// made of the state, which is the same in all of them.
  package var randomKey: Tensor {
    if let regionKey { return regionKey() }
    let key = storedRandomKey
    guard rank > 0 else { return key }
    // An odd number of 64 random bits: the keys of processes lie far from those of seeds near by.
    let own = Int64(bitPattern: UInt64(rank) &* 0x9e37_79b9_7f4a_7c15)
    return key + constant(NDArray([own, 0] as [Int64], shape: [2]))
  }

  /// The state of the random key.
  package var storedRandomKey: Tensor { state(Self.randomKeyState, .i64(2)) }

  /// The number of a new stream of random numbers.
  func nextRandomStream() -> Int {
    randomStreams += 1
    return randomStreams - 1
  }
}

/// The attributes of an op that draws numbers: their shape, and the number of its stream.
func drawAttributes(_ shape: Shape, stream: Int) -> [Attribute] {
  [Attribute("shape", .ints(shape.dimensions)), Attribute("stream", .int(stream))]
}

/// The words of a stream, for the references.
enum RandomWords {
  /// Element i is word i mod 4 of the block with counter {stream 2^40 + i / 4, step}.
  static func draw(_ count: Int, state: NDArray, stream: Int) -> [UInt32] {
    let (key, step) = (UInt64(bitPattern: Int64(state.integers[0])), state.integers[1])
    let upper = UInt64(bitPattern: Int64(step))
    var words: [UInt32] = []
    words.reserveCapacity(count + 3)
    for block in 0..<(count + 3) / 4 {
      let lower = UInt64(stream) << 40 &+ UInt64(block)
      let drawn = Philox.block(
        key: Philox.key(seed: key),
        counter: (
          UInt32(truncatingIfNeeded: lower), UInt32(truncatingIfNeeded: lower >> 32),
          UInt32(truncatingIfNeeded: upper), UInt32(truncatingIfNeeded: upper >> 32)
        ))
      words += [drawn.0, drawn.1, drawn.2, drawn.3]
    }
    return Array(words.prefix(count))
  }

  /// The upper 24 bits as a number in [0, 1).
  static func uniform(_ word: UInt32) -> Double { Double(word >> 8) / 0x1p24 }
}

extension Op {
  /// The type of numbers drawn from a random key, which is the only operand.
  func drawnTypes(
    _ operands: [TensorType], _ dtype: DType, _ shape: Shape, stream: Int
  ) throws -> [TensorType] {
    try expect(1, operands)
    try expectRandom(operands[0], stream: stream)
    return [TensorType(dtype, shape)]
  }

  /// A random key, and a stream number that the kernels take.
  func expectRandom(_ key: TensorType, stream: Int) throws {
    guard key == .i64(2) else {
      throw ApusError(
        .dtypeMismatch, "\(mnemonic): the random key is \(key)", expected: "\(TensorType.i64(2))")
    }
    guard (0..<1 << 24).contains(stream) else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): stream \(stream)", expected: "a stream in 0..<2^24")
    }
  }

  /// A probability.
  func expectProbability(_ p: Double) throws {
    guard (0...1).contains(p) else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): \(p) is not a probability", expected: "0 to 1")
    }
  }

  /// The call of a random kernel whose state is the operand at `key`.
  func randomCall(
    _ site: LoweringSite, _ op: ck_random_op, _ name: String, key: Int, stream: Int, p: Double = 0
  ) -> KernelCall {
    var args = ck_random_args()
    args.count = Int64(site.results[0].count)
    args.stream = Int64(stream)
    args.p = Float(p)
    var call = KernelCall(name, ck_random(op, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_random_args.out, to: .result(0))
    call.bind(\ck_random_args.state, to: .operand(key))
    call.partition = .tiles(
      count: (site.results[0].count + 4095) / 4096, elementsPerTile: 4096, alignedOperands: [])
    call.flops = 40 * Double(args.count)
    return call
  }
}
