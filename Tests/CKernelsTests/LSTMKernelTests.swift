// The LSTM's kernels against loops in double: every level on every team, canaries around all arrays, units
// that fill no vector, sequences of their own lengths, products of pairs, stacks of bf16.

import CKernels
import Foundation
import Testing

@Suite struct LSTMKernelTests {
  /// One layer in one direction, with numbers.
  private struct Problem: CustomStringConvertible {
    let steps, batch, hidden: Int
    let isReversed: Bool
    let active: [Int32]?
    var x: [Float]
    let h0, c0, u, dh, dhLast, dcLast: [Float]

    init(
      _ steps: Int, _ batch: Int, _ hidden: Int, isReversed: Bool = false, active: [Int32]? = nil
    ) {
      (self.steps, self.batch, self.hidden) = (steps, batch, hidden)
      (self.isReversed, self.active) = (isReversed, active)
      var numbers = TestNumbers(seed: UInt64(steps + 7 * batch + 31 * hidden))
      func draw(_ count: Int) -> [Float] {
        (0..<count).map { _ in Float.random(in: -1...1, using: &numbers) }
      }
      x = draw(steps * batch * 4 * hidden)
      (h0, c0) = (draw(batch * hidden), draw(batch * hidden))
      u = draw(4 * hidden * hidden)
      dh = draw(steps * batch * hidden)
      (dhLast, dcLast) = (draw(batch * hidden), draw(batch * hidden))
    }

    var description: String {
      "\(steps) \(batch) \(hidden)\(isReversed ? " reversed" : "")\(active.map { " \($0)" } ?? "")"
    }

    var shape: ck_lstm_shape {
      ck_lstm_shape(
        steps: Int64(steps), batch: Int64(batch), hidden: Int64(hidden),
        reversed: isReversed ? 1 : 0)
    }

    var turns: [Int] { isReversed ? (0..<steps).reversed() : Array(0..<steps) }
    func count(_ step: Int) -> Int { active.map { Int($0[step]) } ?? batch }
    /// Where the rows of each step begin, and behind the last, where all end: packed where sequences have lengths.
    var offsets: [Int32] {
      (0..<steps).reduce(into: [0]) { $0.append($0.last! + Int32(count($1))) }
    }

    struct Forward { var h, hLast, cLast, gates, c, before: [Double] }
    struct Backward { var dx, dh0, dc0: [Double] }

    /// In double.
    func forward() -> Forward {
      func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
      let states = [Double](repeating: 0, count: steps * batch * hidden)
      var all = Forward(
        h: states, hLast: h0.map(Double.init), cLast: c0.map(Double.init),
        gates: [Double](repeating: 0, count: 4 * states.count), c: states, before: states)
      let offsets = offsets.map(Int.init)
      for step in turns {
        for row in 0..<count(step) {
          let before = all.hLast
          for unit in 0..<hidden {
            let place = offsets[step] + row, state = row * hidden + unit
            let at = place * 4 * hidden + unit
            let sums = (0..<4).map { gate in
              (0..<hidden).reduce(Double(x[at + gate * hidden])) {
                $0 + before[row * hidden + $1] * Double(u[(gate * hidden + unit) * hidden + $1])
              }
            }
            let (i, f, g, o) = (sigmoid(sums[0]), sigmoid(sums[1]), tanh(sums[2]), sigmoid(sums[3]))
            for (gate, value) in [i, f, g, o].enumerated() { all.gates[at + gate * hidden] = value }
            all.cLast[state] = f * all.cLast[state] + i * g
            all.hLast[state] = o * tanh(all.cLast[state])
            all.c[place * hidden + unit] = all.cLast[state]
            all.h[place * hidden + unit] = all.hLast[state]
            all.before[place * hidden + unit] = before[state]
          }
        }
      }
      return all
    }

    /// Of what a kernel's forward gives, in double.
    func backward(gates: [Float], c: [Float]) -> Backward {
      var all = Backward(
        dx: [Double](repeating: 0, count: gates.count), dh0: dhLast.map(Double.init),
        dc0: dcLast.map(Double.init))
      let offsets = offsets.map(Int.init)
      for (turn, step) in turns.enumerated().reversed() {
        let earlier = turn > 0 ? turns[turn - 1] : nil
        for row in 0..<count(step) {
          let place = offsets[step] + row, at = place * 4 * hidden
          for unit in 0..<hidden {
            func gate(_ number: Int) -> Double { Double(gates[at + number * hidden + unit]) }
            let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3))
            let state = row * hidden + unit
            let goesOn = earlier.map { row < count($0) } ?? false
            let before = goesOn ? c[(offsets[earlier!] + row) * hidden + unit] : c0[state]
            let tanhC = tanh(Double(c[place * hidden + unit]))
            let flow = Double(dh[place * hidden + unit]) + all.dh0[state]
            let dc = all.dc0[state] + flow * o * (1 - tanhC * tanhC)
            all.dx[at + unit] = dc * g * i * (1 - i)
            all.dx[at + hidden + unit] = dc * Double(before) * f * (1 - f)
            all.dx[at + 2 * hidden + unit] = dc * i * (1 - g * g)
            all.dx[at + 3 * hidden + unit] = flow * tanhC * o * (1 - o)
            all.dc0[state] = dc * f
          }
          for unit in 0..<hidden {
            all.dh0[row * hidden + unit] = (0..<4 * hidden).reduce(0) {
              $0 + all.dx[at + $1] * Double(u[$1 * hidden + unit])
            }
          }
        }
      }
      return all
    }
  }

  /// How a kernel is run: by pairs or not, and with which stacks.
  private struct Form {
    var inPlace = false, pairs = false
    var type = CK_F32

    var forward: ck_lstm_op { pairs ? CK_LSTM_FORWARD_PAIRS : CK_LSTM_FORWARD }
    var backward: ck_lstm_op { pairs ? CK_LSTM_BACKWARD_PAIRS : CK_LSTM_BACKWARD }
    /// Rounding to bf16 is 2⁻⁹ of a number; sums of many go on from step to step.
    func tolerance(_ exact: Double) -> Double { pairs ? 6e-2 : type == CK_BF16 ? 2e-2 : exact }
  }

  /// A stack of either type.
  private struct Stack {
    private let wide: Guarded<Float>
    private let narrow: Guarded<UInt16>?

    init(_ values: [Float], _ type: ck_dtype) {
      wide = Guarded(type == CK_F32 ? values : [])
      narrow = type == CK_F32 ? nil : Guarded(values.map(rounded))
    }

    var pointer: UnsafeMutableRawPointer {
      narrow.map { UnsafeMutableRawPointer($0.pointer) } ?? UnsafeMutableRawPointer(wide.pointer)
    }
    var array: [Float] { narrow?.array.map(widened) ?? wide.array }
    var isIntact: Bool { wide.isIntact && narrow?.isIntact ?? true }
    var bytes: [UInt8] { narrow?.bytes ?? wide.bytes }
  }

  private func check(_ p: Problem, inPlace: Bool = false) {
    check(p, Form(inPlace: inPlace))
  }

  private func check(_ p: Problem, _ form: Form) {
    let expected = p.forward()
    let states = p.steps * p.batch * p.hidden, state = p.batch * p.hidden
    for entry in entries(ck_lstm_entries) where entry.op == Int32(form.forward.rawValue) {
      var made: (gates: [Float], c: [Float]) = ([], [])
      everyWay([entry], form.forward, "\(p)") { run in
        let x = Stack(p.x, form.type), h0 = Guarded(p.h0), c0 = Guarded(p.c0), u = Guarded(p.u)
        let offsets = Guarded(p.offsets)
        let nines = [Float](repeating: 9, count: 4 * states)
        let h = Stack(Array(nines.prefix(states)), form.type), c = Guarded(Float(9), count: states)
        let hLast = Guarded(Float(9), count: state), cLast = Guarded(Float(9), count: state)
        let gates = form.inPlace ? x : Stack(nines, form.type)
        let before = Stack(p.active == nil ? [] : Array(nines.prefix(states)), form.type)
        var args = ck_lstm_args()
        args.shape = p.shape
        let type = Int32(form.type.rawValue)
        (args.x_type, args.h_type, args.gates_type, args.before_type) = (type, type, type, type)
        args.x = UnsafeRawPointer(x.pointer)
        (args.h0, args.c0, args.u) = (
          UnsafePointer(h0.pointer), UnsafePointer(c0.pointer), UnsafePointer(u.pointer)
        )
        if p.active != nil {
          args.offsets = UnsafePointer(offsets.pointer)
          args.before = before.pointer
        }
        (args.h, args.c, args.gates) = (h.pointer, c.pointer, gates.pointer)
        (args.h_last, args.c_last) = (hLast.pointer, cLast.pointer)
        let workspace = Guarded(
          Float(9), count: ck_lstm_workspace_bytes(&args.shape) / 4, offset: 0)
        args.workspace = UnsafeMutableRawPointer(workspace.pointer)
        run(args)
        let stacks = [h, gates, before], states = [hLast, cLast, c]
        let wanted = [
          expected.h, expected.gates, p.active == nil ? [] : expected.before, expected.hLast,
          expected.cLast, expected.c,
        ]
        for (number, (result, wanted)) in zip(
          stacks.map(\.array) + states.map(\.array), wanted
        ).enumerated() {
          #expect(
            isClose(result, wanted, form.tolerance(2e-5)), "\(run.name): result \(number)")
        }
        #expect(
          stacks.allSatisfy(\.isIntact)
            && (states + [h0, c0, u, workspace]).allSatisfy(\.isIntact),
          "\(run.name)")
        made = (gates.array, c.array)
        return stacks.flatMap(\.bytes) + states.flatMap(\.bytes)
      }
      guard !made.gates.isEmpty || states == 0, entry.isa.rawValue <= ck_isa_best().rawValue else {
        continue
      }
      checkBackward(p, entry.isa, made.gates, made.c, form)
    }
  }

  private func checkBackward(
    _ p: Problem, _ isa: ck_isa, _ gateValues: [Float], _ cells: [Float], _ form: Form
  ) {
    let expected = p.backward(gates: gateValues, c: cells)
    let state = p.batch * p.hidden
    let rows = entries(ck_lstm_entries).filter {
      $0.op == Int32(form.backward.rawValue) && $0.isa == isa
    }
    everyWay(rows, form.backward, "\(p)") { run in
      let dh = Stack(p.dh, form.type), dhLast = Guarded(p.dhLast), dcLast = Guarded(p.dcLast)
      let gates = Stack(gateValues, form.type), c = Guarded(cells), c0 = Guarded(p.c0),
        u = Guarded(p.u)
      let offsets = Guarded(p.offsets)
      let dx = form.inPlace ? gates : Stack(gateValues.map { _ in 9 }, form.type)
      let dh0 = form.inPlace ? dhLast : Guarded(Float(9), count: state)
      let dc0 = form.inPlace ? dcLast : Guarded(Float(9), count: state)
      var args = ck_lstm_gradient_args()
      args.shape = p.shape
      let type = Int32(form.type.rawValue)
      (args.dh_type, args.gates_type, args.dx_type) = (type, type, type)
      args.dh = UnsafeRawPointer(dh.pointer)
      (args.dh_last, args.dc_last) = (UnsafePointer(dhLast.pointer), UnsafePointer(dcLast.pointer))
      (args.gates, args.c) = (UnsafeRawPointer(gates.pointer), UnsafePointer(c.pointer))
      (args.c0, args.u) = (UnsafePointer(c0.pointer), UnsafePointer(u.pointer))
      args.offsets = p.active == nil ? nil : UnsafePointer(offsets.pointer)
      (args.dx, args.dh0, args.dc0) = (dx.pointer, dh0.pointer, dc0.pointer)
      let workspace = Guarded(
        Float(9), count: ck_lstm_workspace_bytes(&args.shape) / 4, offset: 0)
      args.workspace = UnsafeMutableRawPointer(workspace.pointer)
      run(args)
      for (number, (result, wanted)) in zip(
        [dx.array, dh0.array, dc0.array], [expected.dx, expected.dh0, expected.dc0]
      ).enumerated() {
        #expect(isClose(result, wanted, form.tolerance(5e-5)), "\(run.name): result \(number)")
      }
      #expect(
        [dx, dh].allSatisfy(\.isIntact)
          && [dh0, dc0, c, c0, u, workspace].allSatisfy(\.isIntact), "\(run.name)")
      return dx.bytes + dh0.bytes + dc0.bytes
    }
  }

  @Test func unitsFillVectorsOrNot() {
    for hidden in Array(1...33) + [47, 64, 65] { check(Problem(3, 3, hidden)) }
  }

  @Test func rowsFillTilesOrNot() {
    for batch in Array(0...16) + [29, 50] { check(Problem(2, batch, 20)) }
    // Units are cut, all threads meet at each step.
    for batch in [1, 15] { check(Problem(3, batch, 230)) }
  }

  @Test func directionsLengthsAndMemoryOfItsOwn() {
    for isReversed in [false, true] {
      for inPlace in [false, true] {
        check(Problem(5, 7, 18, isReversed: isReversed), inPlace: inPlace)
        check(
          Problem(5, 7, 18, isReversed: isReversed, active: [7, 6, 6, 2, 0]), inPlace: inPlace)
        check(Problem(3, 40, 40, isReversed: isReversed, active: [40, 17, 1]), inPlace: inPlace)
      }
    }
    check(Problem(0, 3, 4))
    check(Problem(1, 1, 1))
  }

  @Test func productsOfPairsAndStacksOfBF16() {
    let problems =
      (Array(1...9) + [17, 33, 64]).map { Problem(3, 5, $0) }
      + [
        Problem(2, 29, 20), Problem(3, 15, 130), Problem(0, 3, 4),
        Problem(5, 7, 18, isReversed: true, active: [7, 6, 6, 2, 0]),
        Problem(3, 40, 41, active: [40, 17, 1]),
      ]
    for problem in problems {
      check(problem, Form(pairs: true))
      check(problem, Form(inPlace: true, pairs: true, type: CK_BF16))
      check(problem, Form(type: CK_BF16))
    }
  }

  @Test func aNaNStaysInItsSequence() {
    var problem = Problem(4, 6, 17)
    problem.x[2 * 4 * 17 + 3] = .nan
    check(problem)
  }
}
