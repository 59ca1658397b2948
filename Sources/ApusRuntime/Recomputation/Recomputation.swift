// Values that are computed again where they are needed rather than kept until then: what a memory limit costs.
//
// Backward reads what forward has made, so most of it is alive at one time, at the turn. A value that nobody
// reads around the time of the highest need can go, if the calls that make it again run before its next reader:
//
//     a = exp(x)                          a = exp(x)
//     b = f(a)                            b = f(a)
//     …                                   …
//     (most memory is needed here)   =>   (a is not there)
//     …                                   …
//                                         a' = exp(x)
//     c = g(b, a)                         c = g(b, a')
//
// Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", keep what lies between equal segments; Jain
// et al. 2020 ("Checkmate") find the best choice by integer programming, in minutes. This is a greedy search over
// the calls of the plan: it takes the value that frees most for the time that making it again takes, looks at the
// live bytes that come of that, and goes on from there, until nothing that it knows lowers the peak any more.
//
// The choices, and the peaks that they lead to, depend on the calls and on the model of costs, never on the limit,
// which only says where to stop: a smaller limit goes further along the same way.

import ApusGraph

/// The calls of a plan in order, with fewer and fewer bytes alive at once.
///
///     var recomputation = Recomputation(lowered, model)
///     while recomputation.peak > limit, recomputation.advance() {}
struct Recomputation {
  /// The calls in order, repeated ones among them.
  private(set) var lowered: LoweredGraph
  private var liveness: Liveness
  /// Nanoseconds, by call.
  private var costs: [Double]
  /// The new values of states, by their numbers: who makes them may run once only.
  private let assigned: Set<Int>

  /// Values smaller than this part of the peak are not looked at.
  private static let leastPart = 1 << 14
  /// Small values go together, up to this part of the peak.
  private static let stepPart = 64
  /// An operand of a repeated call that is this part of what is freed is rather kept than made again.
  private static let smallPart = 16
  /// Calls that one value may take to make again.
  private static let longestChain = 48
  /// Of the choices, so many are tried before the search ends.
  private static let mostTried = 24

  /// - `lowered`: the calls in the order that the plan is to follow.
  /// - `model`: what calls cost.
  init(_ lowered: LoweredGraph, _ model: CostModel) {
    self.lowered = lowered
    assigned = Set(lowered.assignedStates.keys.map(\.index))
    liveness = Liveness(lowered, assigned)
    costs = lowered.calls.map { model.least($0.call) }
  }

  /// Bytes alive at once, at most: no arena that holds these calls in this order is smaller.
  var peak: Int { liveness.peak }
  /// The first call during which so much is alive.
  var peakPlace: Int { liveness.place }

  /// Lets one more value be made again, or several small ones.
  ///
  /// - Returns: false where no choice lowers the peak.
  mutating func advance() -> Bool {
    let choices = choices()
    let several = independent(choices)
    if several.count > 1, take(several) { return true }
    for choice in choices.prefix(Self.mostTried) where take([choice]) { return true }
    return false
  }

  /// Makes choices, where that lowers the peak.
  private mutating func take(_ choices: [Choice]) -> Bool {
    var next = lowered
    let numbers = next.repeatCalls(choices.map(\.repetition))
    let found = Liveness(next, assigned)
    guard found.isBelow(liveness) else { return false }
    (lowered, liveness) = (next, found)
    costs = numbers.map { costs[$0] }
    return true
  }

  /// The best choice and, of a plan with thousands of small values, those after it that have nothing to do with
  /// each other, until a small part of the peak is freed: looking at the plan after each would take time by
  /// the square of its calls.
  private func independent(_ choices: [Choice]) -> [Choice] {
    var all: [Choice] = [], freed = 0
    var made: Set<Int> = [], read: Set<Int> = []
    for choice in choices {
      let makes = liveness.graph.makes[choice.value]
      let reads = choice.repetition.calls.flatMap { liveness.graph.reads[$0] }
      guard read.isDisjoint(with: makes), made.isDisjoint(with: reads) else { continue }
      if !all.isEmpty, (freed + choice.freed) * Self.stepPart > liveness.peak { break }
      all.append(choice)
      freed += choice.freed
      made.formUnion(makes)
      read.formUnion(reads)
    }
    return all
  }

  /// The largest values alive at the peak, with the calls that make them; the largest first.
  func largestAtPeak(_ count: Int) -> [(bytes: Int, call: LoweredGraph.Call)] {
    let all = liveness.alive().sorted { ($0.bytes, $1.value) > ($1.bytes, $0.value) }
    return all.prefix(count).map { ($0.bytes, lowered.calls[$0.call]) }
  }

  // MARK: Choices

  /// A value, or several that one call makes, that could be made again.
  private struct Choice {
    var repetition: LoweredGraph.Repetition
    /// Bytes at the peak.
    var freed: Int
    /// Bytes at the peak for each nanosecond.
    var gain: Double

    /// The call that makes what goes.
    var value: Int { repetition.calls.last ?? 0 }
  }

  /// What could be made again after the peak, the best first.
  private func choices() -> [Choice] {
    let graph = liveness.graph, peak = liveness.place
    var all: [Choice] = []
    for call in 0..<peak where liveness.isRepeatable[call] {
      var freed = 0, place = Int.max
      for value in graph.makes[call] where graph.bytes[value] > 0 && !graph.isKept[value] {
        guard let next = graph.readers[value].first(where: { $0 >= peak }), next > peak else {
          continue
        }
        freed += graph.bytes[value]
        place = min(place, next)
      }
      guard freed * Self.leastPart >= liveness.peak else { continue }
      var chain = Chain(place: place, smallest: freed / Self.smallPart)
      guard collect(call, into: &chain), chain.extended < freed else { continue }
      let cost = chain.calls.reduce(0) { $0 + costs[$1] }
      all.append(
        Choice(
          repetition: .init(calls: chain.calls, place: place), freed: freed - chain.extended,
          gain: Double(freed - chain.extended) / max(cost, 1)))
    }
    // Of equal ones that which is needed first: it keeps alive again what the next then finds there.
    return all.sorted { a, b in
      a.gain != b.gain
        ? a.gain > b.gain : (a.repetition.place, a.value) < (b.repetition.place, b.value)
    }
  }

  /// The calls that make a value again, as they are found.
  private struct Chain {
    let place: Int
    /// Bytes up to which an operand is rather kept.
    let smallest: Int
    var calls: [Int] = []
    /// Bytes at the peak of what must be kept longer.
    var extended = 0
    private var seen: Set<Int> = []

    init(place: Int, smallest: Int) {
      self.place = place
      self.smallest = smallest
    }

    mutating func begins(_ value: Int) -> Bool { seen.insert(value).inserted }
  }

  /// Adds the calls that `call` needs, and itself.
  ///
  /// - Returns: false where something that it reads is not there any more and cannot be made again.
  private func collect(_ call: Int, into chain: inout Chain) -> Bool {
    let graph = liveness.graph
    for value in graph.reads[call] where chain.begins(value) {
      guard let maker = liveness.makers[value] else {
        // An input, a constant, or a state: that must not have its next value yet.
        if let update = graph.updates[value], update.call < chain.place { return false }
        continue
      }
      let last = graph.readers[value].last ?? maker
      if graph.isKept[value] || last >= liveness.place { continue }
      let bytes = graph.bytes[value]
      if bytes > chain.smallest, liveness.isRepeatable[maker],
        chain.calls.count < Self.longestChain
      {
        let before = chain
        if collect(maker, into: &chain) { continue }
        chain = before
      }
      chain.extended += bytes
    }
    chain.calls.append(call)
    return chain.calls.count <= Self.longestChain
  }
}

/// What is alive while the calls of a lowered graph run in their order.
private struct Liveness {
  let graph: CallGraph
  /// By value: the call that makes it.
  let makers: [Int?]
  /// By call: whether it may run twice.
  let isRepeatable: [Bool]
  /// Bytes alive during the call that needs most.
  let peak: Int
  /// The first such call.
  let place: Int
  /// How many calls need so much.
  private let count: Int

  /// - `assigned`: values that are written over states.
  init(_ lowered: LoweredGraph, _ assigned: Set<Int>) {
    let graph = CallGraph(lowered, updatesInPlace: false)
    var makers = [Int?](repeating: nil, count: graph.bytes.count)
    for (call, values) in graph.makes.enumerated() {
      for value in values { makers[value] = call }
    }
    self.graph = graph
    self.makers = makers
    isRepeatable = graph.makes.indices.map { call in
      !graph.makes[call].contains(where: assigned.contains)
        && !lowered.calls[call].call.isCollective
    }
    let live = LiveBytes(graph).profile(0..<graph.count)
    peak = live.max() ?? 0
    place = live.firstIndex(of: peak) ?? 0
    count = live.count { [peak] in $0 == peak }
  }

  /// Whether less is needed, or as much for a shorter time.
  func isBelow(_ other: Liveness) -> Bool { (peak, count) < (other.peak, other.count) }

  /// The values alive at the peak, with the calls that make them.
  func alive() -> [(value: Int, bytes: Int, call: Int)] {
    guard place < graph.count else { return [] }
    var run = LiveBytes.Run(graph)
    for call in 0...place { run.step(call) }
    return makers.indices.compactMap { value in
      guard let maker = makers[value], maker <= place, run.taken[value] > 0,
        graph.isKept[value] || maker == place || graph.readers[value].last ?? -1 >= place
      else { return nil }
      return (value, run.taken[value], maker)
    }
  }
}
