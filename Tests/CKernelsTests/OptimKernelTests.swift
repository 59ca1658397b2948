// The update rules against plain float arithmetic, bit for bit, on one array and on many; what each thread
// touches; results past the cache.

import CKernels
import Foundation
import Testing

@Suite struct OptimKernelTests {
  let table = entries(ck_optim_entries)

  /// A rule with its numbers.
  struct Rule: CustomTestStringConvertible, Sendable {
    var op = CK_OPTIM_MOMENTUM
    var nesterov = false
    var decay: Float = 0
    /// The factor of the gradient, and Adam's of the parameter; nil: none.
    var scale: Float?
    var shrinkage: Float?
    var isAdam: Bool { op == CK_OPTIM_ADAM }
    var testDescription: String {
      "rule \(op.rawValue) \(nesterov) \(decay) \(scale ?? 1) \(shrinkage ?? 1)"
    }

    /// Rate, correction; the constants of ck_optim_args.
    static let (rate, correction): (Float, Float) = (0.03, 1.7)
    static let (firstDecay, firstShare, secondDecay, secondShare): (Float, Float, Float, Float) =
      (0.9, 0.1, 0.999, 0.001)
    static let epsilon: Float = 1e-8

    /// The new parameter and slots of one element, one rounding an operation.
    func updated(_ p: Float, _ gradient: Float, _ first: Float, _ second: Float) -> [Float] {
      var g = gradient
      if let scale { g = g * scale }
      if decay != 0 { g = g + p * decay }
      switch op {
      case CK_OPTIM_RMS:
        let v = first * Self.secondDecay + (g * g) * Self.secondShare
        return [p - g * Self.rate / (v.squareRoot() + Self.epsilon), v]
      case CK_OPTIM_LION:
        let d = first - g
        let mean = d * Self.firstDecay + g
        let sign: Float = mean > 0 ? 1 : mean < 0 ? -1 : mean
        return [(shrinkage.map { p * $0 } ?? p) - sign * Self.rate, d * Self.secondDecay + g]
      case CK_OPTIM_MOMENTUM:
        let v = first * Self.firstDecay + g
        let direction = nesterov ? g + v * Self.firstDecay : v
        return [p - direction * Self.rate, v]
      default: break
      }
      let m = first * Self.firstDecay + g * Self.firstShare
      let v = second * Self.secondDecay + (g * g) * Self.secondShare
      let change = m * Self.rate / (v.squareRoot() * Self.correction + Self.epsilon)
      return [(shrinkage.map { p * $0 } ?? p) - change, m, v]
    }
  }

  static let rules = [
    Rule(), Rule(nesterov: true), Rule(decay: 0.01), Rule(nesterov: true, decay: 0.01, scale: 0.3),
    Rule(scale: 0.3), Rule(op: CK_OPTIM_ADAM), Rule(op: CK_OPTIM_ADAM, decay: 0.01, scale: 0.3),
    Rule(op: CK_OPTIM_ADAM, scale: 0.3, shrinkage: 0.99),
    Rule(op: CK_OPTIM_ADAM, shrinkage: 0.99),
    Rule(op: CK_OPTIM_RMS), Rule(op: CK_OPTIM_RMS, decay: 0.01, scale: 0.3),
    Rule(op: CK_OPTIM_LION),
    Rule(op: CK_OPTIM_LION, decay: 0.01, scale: 0.3, shrinkage: 0.99),
  ]

  /// Arrays of the given sizes in an argument block.
  final class Update {
    let rule: Rule
    let block: UnsafeMutableRawPointer
    let args: UnsafeMutablePointer<ck_optim_args>
    /// Of each array: parameter, gradient, first, second.
    let read: [[Guarded<Float>]]
    /// Of each array: parameter, first, second; the operands' own memory where the update is in place.
    let made: [[Guarded<Float>]]
    let expected: [[[Float]]]
    private let numbers: [Guarded<Float>]

    init(_ rule: Rule, counts: [Int], inPlace: Bool = false, offset: Int = 1) {
      self.rule = rule
      var random = TestNumbers(seed: UInt64(counts.reduce(1, +)))
      read = counts.map { count in
        (0..<4).map { slot in
          // Means of squares are no less than 0.
          let isSquare = slot == (rule.op == CK_OPTIM_RMS ? 2 : 3)
          return Guarded(random.floats(count).map { isSquare ? abs($0) : $0 }, offset: offset)
        }
      }
      expected = read.map { arrays in
        let each = (0..<arrays[0].count).map { i in
          rule.updated(
            arrays[0].pointer[i], arrays[1].pointer[i], arrays[2].pointer[i], arrays[3].pointer[i])
        }
        return (0..<(rule.isAdam ? 3 : 2)).map { result in each.map { $0[result] } }
      }
      made = read.map { arrays in
        inPlace
          ? [arrays[0], arrays[2], arrays[3]]
          : (0..<3).map { _ in Guarded(Float(7), count: arrays[0].count, offset: offset) }
      }
      numbers = [Rule.rate, Rule.correction, rule.scale ?? .nan, rule.shrinkage ?? .nan].map {
        Guarded([$0])
      }
      block = .allocate(byteCount: ck_optim_args_bytes(Int32(counts.count)), alignment: 64)
      args = block.bindMemory(to: ck_optim_args.self, capacity: 1)
      args.initialize(
        to: ck_optim_args(
          rate: numbers[0].pointer,
          scale: rule.scale == nil ? nil : UnsafePointer(numbers[2].pointer),
          correction: numbers[1].pointer,
          shrinkage: rule.shrinkage == nil ? nil : UnsafePointer(numbers[3].pointer),
          decay: rule.decay, first_decay: Rule.firstDecay, first_share: Rule.firstShare,
          second_decay: Rule.secondDecay, second_share: Rule.secondShare, epsilon: Rule.epsilon,
          nesterov: rule.nesterov ? 1 : 0, arrays: Int32(counts.count)))
      for (index, count) in counts.enumerated() {
        ck_optim_arrays(args)[index] = ck_optim_array(
          new_parameter: made[index][0].pointer, new_first: made[index][1].pointer,
          new_second: made[index][2].pointer, parameter: read[index][0].pointer,
          gradient: read[index][1].pointer, first: read[index][2].pointer,
          second: read[index][3].pointer, count: Int64(count))
      }
    }

    deinit { block.deallocate() }

    /// By one member of a team that has no other.
    func run(_ kernel: ck_kernel, thread index: Int32, of count: Int32) {
      var thread = ck_thread(index: index, count: count, team: nil, scratch: nil, scratch_bytes: 0)
      kernel(args, &thread)
    }

    var isRight: Bool {
      zip(made, expected).allSatisfy { arrays, values in
        zip(arrays, values).allSatisfy { $0.holds($1) }
      }
    }
    var isIntact: Bool { (read + made).allSatisfy { $0.allSatisfy(\.isIntact) } }
  }

  @Test(arguments: rules)
  func aRule_hasTheBitsOfPlainArithmetic_atEveryLevelAndOnEveryTeam(rule: Rule) {
    for counts in Array(0...34).map({ [$0] }) + [[511, 0, 3], [512], [513, 1, 2000, 40], [9000]] {
      for inPlace in [false, true] {
        for entry in table where entry.op == Int32(rule.op.rawValue) {
          guard entry.isa.rawValue <= ck_isa_best().rawValue else { continue }
          for threads in [1, 2, 7] as [Int32] {
            let update = Update(rule, counts: counts, inPlace: inPlace)
            for index in 0..<threads { update.run(entry.kernel, thread: index, of: threads) }
            let name = "\(String(cString: entry.name)), \(counts), \(threads) threads"
            #expect(update.isRight && update.isIntact, "\(name)")
          }
        }
      }
    }
  }

  /// A result in the place of the gradient, which plans may choose where the gradient dies.
  @Test func aResultMayTakeTheGradientsPlace() {
    for rule in Self.rules {
      let update = Update(rule, counts: [1037])
      let gradient = update.read[0][1]
      ck_optim_arrays(update.args)[0].new_parameter = gradient.pointer
      update.run(ck_optim(rule.op, ck_isa_best()), thread: 0, of: 1)
      #expect(gradient.holds(update.expected[0][0]), "\(rule.testDescription)")
      #expect(update.made[0][1].holds(update.expected[0][1]), "\(rule.testDescription)")
    }
  }

  @Test(arguments: [1, 2, 3, 7] as [Int32])
  func theRegionsOfThreads_areWhatTheyWrite(threads: Int32) {
    let counts = [3000, 5, 0, 512, 4097]
    for index in 0..<threads {
      let update = Update(Rule(), counts: counts)
      update.run(ck_optim(CK_OPTIM_MOMENTUM, ck_isa_best()), thread: index, of: threads)
      var regions = [ck_region](repeating: ck_region(), count: counts.count)
      ck_optim_regions(update.args, index, threads, &regions)
      for (array, count) in counts.enumerated() {
        let region = regions[array]
        #expect(region.count == 1 || region.width == 0)
        let own = Int(region.start)..<Int(region.start + region.width)
        for result in 0..<2 {
          let (got, expected) = (update.made[array][result].array, update.expected[array][result])
          #expect((0..<count).allSatisfy { got[$0] == (own.contains($0) ? expected[$0] : 7) })
        }
      }
    }
  }

  /// Results of more than three quarters of the cache go past it, but not where they lie unaligned.
  @Test(
    .enabled(if: !TestSize.isReduced),
    arguments: [CK_OPTIM_MOMENTUM, CK_OPTIM_ADAM, CK_OPTIM_RMS, CK_OPTIM_LION])
  func resultsPastTheCache_haveTheSameBits(op: ck_optim_op) {
    typealias Memory = StreamedRowTests.Memory
    let count = Int(ck_cache_bytes()) / 4 * 3 / 4 / 2 + 21
    let read = (0..<4).map { Memory(count, seed: UInt32($0 + 3)) }
    for i in 0..<count {
      for slot in 2...3 { read[slot].floats[i] = read[slot].floats[i].magnitude }
    }
    let made = (0..<2).map { run in (0..<3).map { Memory(count, seed: UInt32(run + $0)) } }
    for (run, shift) in [0, 1].enumerated() {
      let update = Update(Rule(op: op), counts: [0])
      ck_optim_arrays(update.args)[0] = ck_optim_array(
        new_parameter: made[run][0].floats + shift, new_first: made[run][1].floats + shift,
        new_second: made[run][2].floats + shift, parameter: read[0].floats,
        gradient: read[1].floats, first: read[2].floats, second: read[3].floats,
        count: Int64(count))
      for index in 0..<2 as Range<Int32> {
        update.run(ck_optim(op, ck_isa_best()), thread: index, of: 2)
      }
    }
    for result in 0..<(op == CK_OPTIM_ADAM ? 3 : 2) {
      #expect(memcmp(made[0][result].floats, made[1][result].floats + 1, count * 4) == 0)
    }
  }

  @Test func nan_staysInItsElement() {
    for rule in Self.rules {
      let update = Update(rule, counts: [40], inPlace: true)
      update.read[0][1].pointer[17] = .nan
      update.run(ck_optim(rule.op, ck_isa_best()), thread: 0, of: 1)
      for result in 0..<(rule.isAdam ? 3 : 2) {
        let got = update.made[0][result].array
        #expect(got.indices.filter { got[$0].isNaN } == [17], "\(rule.testDescription)")
      }
    }
  }
}
