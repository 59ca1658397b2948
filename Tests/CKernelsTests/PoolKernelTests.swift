// Pooling and its gradients: every level and team against plain loops in double, for all numbers of channels up
// to two vectors and more.

import CKernels
import Foundation
import Testing

@Suite struct PoolKernelTests {
  private let table = entries(ck_pool_entries)

  /// A window along an axis, of images of `image` elements.
  private struct Axis {
    var image = 1, size = 1, stride = 1, dilation = 1, before = 0, after = 0, outputs = 1
    var isAdaptive = false

    init() {}
    init(
      _ image: Int, _ size: Int, stride: Int, dilation: Int = 1, pad: Int = 0, after: Int? = nil,
      roundsUp: Bool = false
    ) {
      (self.image, self.size, self.stride, self.dilation) = (image, size, stride, dilation)
      (before, self.after) = (pad, after ?? pad)
      let room = before + image + self.after - (size - 1) * dilation - 1
      outputs = room / stride + 1
      if roundsUp, room % stride != 0 { outputs += 1 }
    }
    init(_ image: Int, adaptive outputs: Int) {
      (self.image, self.outputs, isAdaptive) = (image, outputs, true)
      size = image / outputs + (image % outputs == 0 ? 0 : 2)
    }

    /// The steps of place `o`, and the elements they meet.
    func steps(_ o: Int) -> [(step: Int, at: Int)] {
      if isAdaptive {
        let start = o * image / outputs, end = ((o + 1) * image + outputs - 1) / outputs
        return (start..<end).map { ($0 - start, $0) }
      }
      return (0..<size).map { ($0, o * stride - before + $0 * dilation) }
        .filter { (0..<image).contains($0.1) }
    }

    func count(_ o: Int, countsPadding: Bool) -> Int {
      if isAdaptive || !countsPadding { return steps(o).count }
      return (0..<size).filter { o * stride - before + $0 * dilation < image + after }.count
    }

    var block: ck_pool_axis {
      ck_pool_axis(
        image: Int64(image), outputs: Int64(outputs), size: Int64(size), stride: Int64(stride),
        dilation: Int64(dilation), before: Int64(before), after: Int64(after))
    }
  }

  private struct Case: CustomStringConvertible {
    var n: Int
    var axes: [Axis]
    var c: Int
    var countsPadding = false
    var divisor: Float = 0

    var description: String {
      "n \(n), c \(c), "
        + axes.map { "\($0.image) by \($0.size)/\($0.stride)" }.joined(separator: ", ")
    }

    var steps: Int { axes.reduce(1) { $0 * $1.size } }
    var images: Int { axes.reduce(n * c) { $0 * $1.image } }
    var places: Int { axes.reduce(n * c) { $0 * $1.outputs } }

    var block: ck_pool_args {
      var args = ck_pool_args()
      (args.n, args.c) = (Int64(n), Int64(c))
      args.axes = (axes[0].block, axes[1].block, axes[2].block)
      args.index_dtype = Int32((steps <= 256 ? CK_U8 : CK_I32).rawValue)
      args.is_adaptive = axes[2].isAdaptive ? 1 : 0
      args.divisor = divisor
      args.counts_padding = countsPadding ? 1 : 0
      return args
    }

    /// For each element of y: the divisor, and steps with the elements of x that they meet.
    func forEachPlace(_ body: (Int, Double, [(step: Int, at: Int)]) -> Void) {
      var at = 0
      for image in 0..<n {
        for d in 0..<axes[0].outputs {
          for h in 0..<axes[1].outputs {
            for w in 0..<axes[2].outputs {
              let places = [d, h, w]
              let count = zip(axes, places).reduce(1) {
                $0 * $1.0.count($1.1, countsPadding: countsPadding)
              }
              let divisor = divisor > 0 ? Double(divisor) : Double(max(count, 1))
              var found = [(step: 0, at: image)]
              for (axis, place) in zip(axes, places) {
                let steps = axis.steps(place)
                found = found.flatMap { outer in
                  steps.map {
                    (step: outer.step * axis.size + $0.step, at: outer.at * axis.image + $0.at)
                  }
                }
              }
              for channel in 0..<c {
                body(at, divisor, found.map { (step: $0.step, at: $0.at * c + channel) })
                at += 1
              }
            }
          }
        }
      }
    }
  }

  // MARK: Plain loops

  private func maxima(_ c: Case, _ x: [Float]) -> (y: [Double], indices: [Int]) {
    var y = [Double](repeating: 0, count: c.places), indices = [Int](repeating: 0, count: c.places)
    c.forEachPlace { at, _, steps in
      var best = -Double.infinity, index: Int?
      for (step, element) in steps {
        let v = Double(x[element])
        if index == nil || v > best || v.isNaN && !best.isNaN { (best, index) = (v, step) }
      }
      (y[at], indices[at]) = (best, index ?? 0)
    }
    return (y, indices)
  }

  private func expected(
    _ op: ck_pool_op, _ c: Case, _ values: [Float], _ indices: [Int]
  ) -> [Double] {
    let isGradient = op == CK_POOL_MAX_GRADIENT || op == CK_POOL_AVERAGE_GRADIENT
    var result = [Double](repeating: 0, count: isGradient ? c.images : c.places)
    c.forEachPlace { at, divisor, steps in
      for (step, element) in steps {
        switch op {
        case CK_POOL_MAX_GRADIENT:
          if step == indices[at] { result[element] += Double(values[at]) }
        case CK_POOL_MAX_TAKE: if step == indices[at] { result[at] = Double(values[element]) }
        case CK_POOL_AVERAGE: result[at] += Double(values[element]) / divisor
        default: result[element] += Double(values[at]) / divisor
        }
      }
    }
    return result
  }

  // MARK: Checks

  /// The indices of a case in their own type, at an odd address.
  private final class Indices {
    let bytes: Guarded<UInt8>
    let words: Guarded<Int32>
    let isNarrow: Bool

    init(_ values: [Int], of c: Case) {
      isNarrow = c.steps <= 256
      bytes = Guarded(isNarrow ? values.map { UInt8($0) } : [], offset: 3)
      words = Guarded(isNarrow ? [] : values.map { Int32($0) }, offset: 3)
    }

    var pointer: UnsafeMutableRawPointer {
      isNarrow ? UnsafeMutableRawPointer(bytes.pointer) : UnsafeMutableRawPointer(words.pointer)
    }
    var values: [Int] { isNarrow ? bytes.array.map { Int($0) } : words.array.map { Int($0) } }
    var isIntact: Bool { bytes.isIntact && words.isIntact }
    var content: [UInt8] { isNarrow ? bytes.bytes : words.bytes }
  }

  private func checkMax(_ c: Case, _ x: [Float]) {
    let wanted = maxima(c, x)
    everyWay(table, CK_POOL_MAX, "\(c)") { run in
      let memory = Guarded(x)
      let out = Guarded(Float(7), count: c.places, offset: 2)
      let indices = Indices(Array(repeating: 9, count: c.places), of: c)
      var args = c.block
      args.in = UnsafeRawPointer(memory.pointer)
      args.out = UnsafeMutableRawPointer(out.pointer)
      args.indices = indices.pointer
      run(args)
      #expect(isClose(out.array, wanted.y, 0), "\(run.name)")
      #expect(indices.values == wanted.indices, "\(run.name)")
      #expect(out.isIntact && memory.isIntact && indices.isIntact, "\(run.name)")
      return out.bytes + indices.content
    }
  }

  private func check(_ op: ck_pool_op, _ c: Case, _ values: [Float], _ steps: [Int] = []) {
    let wanted = expected(op, c, values, steps)
    everyWay(table, op, "\(c)") { run in
      let memory = Guarded(values)
      let out = Guarded(Float(7), count: wanted.count, offset: 2)
      let indices = Indices(steps, of: c)
      var args = c.block
      args.in = UnsafeRawPointer(memory.pointer)
      args.out = UnsafeMutableRawPointer(out.pointer)
      args.indices = indices.pointer
      run(args)
      #expect(isClose(out.array, wanted, 2e-6), "\(run.name)")
      #expect(out.isIntact && memory.isIntact && indices.isIntact, "\(run.name)")
      // Which NaN a sum of several is, and its sign, is the processor's choice.
      return Guarded(out.array.map { $0.isNaN ? .nan : $0 }).bytes
    }
  }

  private func checkAll(_ c: Case) {
    var numbers = TestNumbers(seed: UInt64(c.images))
    let x = numbers.floats(c.images), y = numbers.floats(c.places)
    checkMax(c, x)
    // Steps of padding among them, and one that is none.
    let steps = (0..<c.places).map { _ in Int.random(in: 0...min(c.steps, 255), using: &numbers) }
    check(CK_POOL_MAX_GRADIENT, c, y, steps)
    check(CK_POOL_MAX_TAKE, c, x, steps)
    for (countsPadding, divisor) in [(true, 0), (false, 0), (true, 3)] as [(Bool, Float)] {
      var c = c
      (c.countsPadding, c.divisor) = (countsPadding, divisor)
      check(CK_POOL_AVERAGE, c, x)
      check(CK_POOL_AVERAGE_GRADIENT, c, y)
    }
  }

  @Test(arguments: Array(1...70)) func allNumbersOfChannels(channels: Int) {
    checkAll(Case(n: 2, axes: [Axis(), Axis(4, 2, stride: 2), Axis(9, 2, stride: 2)], c: channels))
    checkAll(
      Case(
        n: 1, axes: [Axis(), Axis(6, 3, stride: 2, pad: 1), Axis(7, 3, stride: 2, pad: 1)],
        c: channels))
  }

  @Test(arguments: [1, 3, 8, 9, 16, 21]) func allKindsOfWindows(channels: Int) {
    let windows: [[Axis]] = [
      [Axis(), Axis(), Axis(11, 3, stride: 1, pad: 1)],
      [Axis(), Axis(), Axis(700, 2, stride: 2)],
      [Axis(), Axis(), Axis(23, 2, stride: 5)],
      [Axis(), Axis(1, 1, stride: 1), Axis(1, 1, stride: 1)],
      [Axis(), Axis(1, 3, stride: 2, pad: 1), Axis(1, 3, stride: 2, pad: 1)],
      [Axis(), Axis(5, 3, stride: 1, pad: 1), Axis(17, 3, stride: 1, pad: 1)],
      [Axis(), Axis(6, 4, stride: 3, pad: 2), Axis(11, 5, stride: 2, pad: 1, after: 2)],
      [Axis(), Axis(9, 2, stride: 2, dilation: 3, pad: 1), Axis(14, 3, stride: 2, dilation: 2)],
      [Axis(), Axis(9, 3, stride: 4, dilation: 2), Axis(14, 3, stride: 6, dilation: 4, pad: 3)],
      [
        Axis(), Axis(6, 3, stride: 2, roundsUp: true),
        Axis(8, 2, stride: 3, pad: 1, roundsUp: true),
      ],
      [Axis(), Axis(1, 2, stride: 1, dilation: 2, pad: 1), Axis(3, 2, stride: 1)],
      [Axis(), Axis(17, 17, stride: 1), Axis(18, 17, stride: 1)],
      [Axis(3, 2, stride: 1, pad: 1), Axis(4, 2, stride: 2), Axis(5, 3, stride: 2, pad: 1)],
      [Axis(4, 2, stride: 2, dilation: 2), Axis(5, 2, stride: 3), Axis(5, 2, stride: 2)],
      [Axis(1, adaptive: 1), Axis(7, adaptive: 3), Axis(10, adaptive: 4)],
      [Axis(1, adaptive: 1), Axis(3, adaptive: 5), Axis(2, adaptive: 7)],
      [Axis(3, adaptive: 2), Axis(5, adaptive: 2), Axis(4, adaptive: 4)],
    ]
    for axes in windows {
      checkAll(Case(n: 2, axes: axes, c: channels))
      checkAll(Case(n: 0, axes: axes, c: channels))
    }
  }

  @Test(arguments: [1, 5, 16, 35]) func numbersThatAreNotFinite_areAsInOrder(channels: Int) {
    for axes in [
      [Axis(), Axis(4, 2, stride: 2), Axis(20, 2, stride: 2)],
      [Axis(), Axis(6, 3, stride: 2, pad: 1), Axis(9, 3, stride: 2, pad: 1)],
      [Axis(), Axis(6, 3, stride: 1), Axis(9, 2, stride: 3, pad: 1)],
    ] {
      let c = Case(n: 2, axes: axes, c: channels)
      var numbers = TestNumbers(seed: UInt64(channels))
      let special: [Float] = [.nan, -.nan, .infinity, -.infinity, -.infinity, 0, -0.0, 1, 1, -1]
      let x = (0..<c.images).map { _ in special.randomElement(using: &numbers)! }
      checkMax(c, x)
      checkMax(c, Array(repeating: -.infinity, count: c.images))
      // Every place's own number goes where it was taken from, whatever it is.
      let y = (0..<c.places).map { _ in special.randomElement(using: &numbers)! }
      check(CK_POOL_MAX_GRADIENT, c, y, maxima(c, x).indices)
      check(CK_POOL_MAX_TAKE, c, x, maxima(c, x).indices)
      check(CK_POOL_AVERAGE, c, x)
    }
  }

  /// bf16 read, made, or both: the bits that f32 has, rounded once.
  @Test(arguments: [1, 6, 16, 37]) func narrowElements_haveTheBitsOfWideOnesRounded(channels: Int) {
    for axes in [
      [Axis(), Axis(4, 2, stride: 2), Axis(20, 2, stride: 2)],
      [Axis(), Axis(6, 3, stride: 2, pad: 1), Axis(9, 3, stride: 2, pad: 1)],
    ] {
      let c = Case(n: 3, axes: axes, c: channels)
      var numbers = TestNumbers(seed: 3)
      let images = numbers.floats(c.images).map { widened(rounded($0)) }
      let places = numbers.floats(c.places).map { widened(rounded($0)) }
      let steps = maxima(c, images).indices
      for op in [
        CK_POOL_MAX, CK_POOL_MAX_GRADIENT, CK_POOL_MAX_TAKE, CK_POOL_AVERAGE,
        CK_POOL_AVERAGE_GRADIENT,
      ] {
        let isGradient = op == CK_POOL_MAX_GRADIENT || op == CK_POOL_AVERAGE_GRADIENT
        let values = isGradient ? places : images
        let count = isGradient ? c.images : c.places
        let (wide, narrow) = (Guarded(values), Guarded(values.map(rounded), offset: 3))
        let result = Guarded(Float(7), count: count)
        var args = c.block
        args.in = UnsafeRawPointer(wide.pointer)
        args.out = UnsafeMutableRawPointer(result.pointer)
        let indices = Indices(steps, of: c)
        args.indices = indices.pointer
        TestTeams.shared.run(ck_pool(op, CK_ISA_REF), args, team: 0)
        for types in 0..<4 {
          let (readsNarrow, makesNarrow) = (types & 1 != 0, types & 2 != 0)
          everyWay(table, op, "\(c), types \(types)") { run in
            let out = Guarded(Float(7), count: count)
            let narrowOut = Guarded(rounded(7), count: count)
            let own = Indices(steps, of: c)
            var args = c.block
            args.in =
              readsNarrow
              ? UnsafeRawPointer(narrow.pointer) : UnsafeRawPointer(wide.pointer)
            args.out =
              makesNarrow
              ? UnsafeMutableRawPointer(narrowOut.pointer) : UnsafeMutableRawPointer(out.pointer)
            args.indices = own.pointer
            args.in_dtype = Int32((readsNarrow ? CK_BF16 : CK_F32).rawValue)
            args.out_dtype = Int32((makesNarrow ? CK_BF16 : CK_F32).rawValue)
            run(args)
            #expect(out.isIntact && narrowOut.isIntact && own.isIntact, "\(run.name)")
            #expect(
              makesNarrow
                ? narrowOut.holds(result.array.map(rounded)) : out.holds(result.array),
              "\(run.name)")
            #expect(own.values == steps, "\(run.name)")
            return makesNarrow ? narrowOut.bytes : out.bytes
          }
        }
      }
    }
  }

  /// Images beyond the cache, which are written past it.
  @Test func largeGradients_areStreamed() throws {
    let side = 2 * Int((Double(ck_cache_bytes()) / 64 / 4).squareRoot() / 2) + 2
    let c = Case(
      n: 1, axes: [Axis(), Axis(side, 2, stride: 2), Axis(side, 3, stride: 2, pad: 1)], c: 16)
    var numbers = TestNumbers(seed: 5)
    let y = numbers.floats(c.places)
    let steps = (0..<c.places).map { _ in Int.random(in: 0..<6, using: &numbers) }
    let memory = Guarded(y), indices = Indices(steps, of: c)
    for op in [CK_POOL_MAX_GRADIENT, CK_POOL_AVERAGE_GRADIENT] {
      let wanted = expected(op, c, y, steps)
      for offset in [0, 1] {  // only what is aligned can be streamed
        everyWay(table, op) { run in
          let out = Guarded(Float(7), count: c.images, offset: offset)
          var args = c.block
          args.in = UnsafeRawPointer(memory.pointer)
          args.out = UnsafeMutableRawPointer(out.pointer)
          args.indices = indices.pointer
          run(args)
          #expect(out.isIntact, "\(run.name)")
          #expect(isClose(out.array, wanted), "\(run.name)")
          return out.bytes
        }
      }
    }
  }
}
