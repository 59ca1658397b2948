// What the tests of the convolutions share: a shape, its operands between canaries, running every row of
// the list on every team, and the sums of single elements in double.

import CKernels
import Testing

/// One number an axis.
typealias Axes = [Int]

/// A convolution's shape and epilogue. Images of fewer than three axes have the first ones with extent 1.
struct ConvolutionCase: CustomStringConvertible {
  var images: Int
  /// Channels of the image and of the result.
  var channels: (inputs: Int, outputs: Int)
  var groups = 1
  var image: Axes, kernel: Axes
  var stride: Axes = [1, 1, 1], dilation: Axes = [1, 1, 1]
  var before: Axes = [0, 0, 0], after: Axes = [0, 0, 0]
  var hasBias = false, hasReLU = false
  /// What each element of the result of the image or the gradient meets at its place.
  var combination = CK_ALONE

  /// - Parameter after: As much as `before` where nil.
  init(
    _ images: Int, _ inputs: Int, _ outputs: Int, image: Axes, kernel: Axes, stride: Axes? = nil,
    dilation: Axes? = nil, before: Axes? = nil, after: Axes? = nil, groups: Int = 1
  ) {
    func three(_ values: Axes, _ filling: Int) -> Axes {
      Array(repeating: filling, count: 3 - values.count) + values
    }
    self.images = images
    channels = (inputs, outputs)
    self.groups = groups
    self.image = three(image, 1)
    self.kernel = three(kernel, 1)
    self.stride = three(stride ?? [], 1)
    self.dilation = three(dilation ?? [], 1)
    self.before = three(before ?? [], 0)
    self.after = three(after ?? before ?? [], 0)
  }

  /// A shape like any other, of one to three axes; nil where the window does not fit.
  init?(random numbers: inout TestNumbers) {
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &numbers) }
    let axes = pick(1...3)
    let extent = [60, 13, 6][axes - 1], size = axes == 3 ? 3 : 5
    func list(_ range: ClosedRange<Int>) -> Axes { (0..<axes).map { _ in pick(range) } }
    let groups = pick(0...2) > 0 ? 1 : pick(2...3)
    func some() -> Int {
      switch pick(0...4) {
      case 0: 16 * pick(1...4)
      case 1: pick(33...70)
      default: pick(1...20)
      }
    }
    self.init(
      pick(0...9) == 0 ? 0 : pick(1...4), groups * some(), groups * some(), image: list(1...extent),
      kernel: list(1...size), stride: pick(0...1) == 0 ? nil : list(1...3),
      dilation: pick(0...2) > 0 ? nil : list(1...3), before: list(0...3), after: list(0...3),
      groups: groups)
    hasBias = pick(0...1) == 0
    hasReLU = pick(0...1) == 0
    combination = [CK_ALONE, CK_ADD, CK_GATE][pick(0...2)]
    guard (0..<3).allSatisfy({ room($0) >= 0 }) else { return nil }
  }

  private func room(_ axis: Int) -> Int {
    image[axis] + before[axis] + after[axis] - (kernel[axis] - 1) * dilation[axis] - 1
  }
  var output: Axes { (0..<3).map { room($0) / stride[$0] + 1 } }

  var imageCount: Int { images * image.reduce(1, *) * channels.inputs }
  var outputCount: Int { images * output.reduce(1, *) * channels.outputs }
  var kernelCount: Int { channels.outputs * kernel.reduce(1, *) * (channels.inputs / groups) }

  func count(_ op: ck_conv_op) -> Int {
    switch op {
    case CK_CONV_FORWARD: outputCount
    case CK_CONV_DATA: imageCount
    default: kernelCount
    }
  }
  /// Channels of the operation's result.
  func width(_ op: ck_conv_op) -> Int { op == CK_CONV_DATA ? channels.inputs : channels.outputs }

  var description: String {
    "\(images) images \(image), \(channels.inputs) to \(channels.outputs) channels in \(groups) groups, "
      + "kernel \(kernel) stride \(stride) dilation \(dilation) padding \(before) \(after) "
      + "bias \(hasBias) combination \(combination.rawValue) relu \(hasReLU)"
  }
}

let convolutionOps = [CK_CONV_FORWARD, CK_CONV_DATA, CK_CONV_WEIGHTS]
func convolutionName(_ op: ck_conv_op) -> String {
  ["forward", "data", "weights"][Int(op.rawValue)]
}

/// Teams whose scratch is enough for every shape of these tests.
private final class ConvolutionTeams: @unchecked Sendable {
  static let shared = ConvolutionTeams()
  static let scratch = 1 << 24
  let teams: [OpaquePointer]

  private init() { teams = TestTeams.sizes.map { ck_team_create(Int32($0), Self.scratch)! } }
}

/// What the arrays of a convolution are stored in, where not all are f32, and how exact it must be.
struct ConvolutionStorage {
  var a = CK_F32, b = CK_F32, c = CK_F32, other = CK_F32
  var precision = CK_GEMM_HIGHEST

  var isNarrow: Bool { [a, b, c, other].contains(CK_BF16) }
  /// In the array `c`.
  var rounding: Double { c == CK_BF16 ? 0x1p-8 : 0 }
}

/// Elements of f32 or bf16, between canaries.
private enum StoredFloats {
  case wide(Guarded<Float>), narrow(Guarded<UInt16>)

  /// - Parameter offset: Floats past a 64-byte boundary.
  init(_ values: [Float], _ type: ck_dtype, offset: Int = 1) {
    self =
      type == CK_BF16
      ? .narrow(Guarded(values.map { BFloat.bits(Double($0)) }, offset: 2 * offset))
      : .wide(Guarded(values, offset: offset))
  }

  var pointer: UnsafeMutablePointer<Float> {
    switch self {
    case .wide(let array): array.pointer
    case .narrow(let array):
      UnsafeMutableRawPointer(array.pointer).assumingMemoryBound(to: Float.self)
    }
  }
  var array: [Float] {
    switch self {
    case .wide(let array): array.array
    case .narrow(let array): array.array.map { Float(bitPattern: UInt32($0) << 16) }
    }
  }
  var isIntact: Bool {
    switch self {
    case .wide(let array): array.isIntact
    case .narrow(let array): array.isIntact
    }
  }
  /// Whether they are what was given, in numbers that the type holds.
  func holds(_ values: [Float]) -> Bool {
    switch self {
    case .wide(let array): array.holds(values)
    case .narrow(let array): array.holds(values.map { BFloat.bits(Double($0)) })
    }
  }
}

/// Operands of a case: all at addresses that are aligned for one float only, between canaries.
struct ConvolutionProblem {
  let shape: ConvolutionCase
  var storage = ConvolutionStorage()
  /// The image, the kernel, and the result's gradient.
  var x, w, y: [Float]
  let bias: [Float]
  var other: [Float]

  init(_ shape: ConvolutionCase) {
    self.shape = shape
    var numbers = TestNumbers(seed: UInt64(shape.imageCount * 31 + shape.kernelCount))
    x = numbers.floats(shape.imageCount)
    w = numbers.floats(shape.kernelCount)
    y = numbers.floats(shape.outputCount)
    bias = numbers.floats(max(shape.channels.inputs, shape.channels.outputs))
    other = numbers.floats(max(shape.imageCount, shape.outputCount))
  }

  /// The same with arrays of numbers that bf16 holds, stored as that says.
  init(_ shape: ConvolutionCase, _ storage: ConvolutionStorage) {
    self.init(shape)
    self.storage = storage
    func rounded(_ values: [Float]) -> [Float] {
      values.map { Float(bitPattern: UInt32(BFloat.bits(Double($0))) << 16) }
    }
    (x, w, y, other) = (rounded(x), rounded(w), rounded(y), rounded(other))
  }

  private func operands(_ op: ck_conv_op) -> (a: [Float], b: [Float]) {
    switch op {
    case CK_CONV_FORWARD: (x, w)
    case CK_CONV_DATA: (y, w)
    default: (x, y)
    }
  }

  /// The block but for its pointers.
  func block(_ op: ck_conv_op) -> ck_conv_args {
    func tuple(_ values: Axes) -> (Int64, Int64, Int64) {
      (Int64(values[0]), Int64(values[1]), Int64(values[2]))
    }
    var args = ck_conv_args()
    args.images = Int64(shape.images)
    args.in_channels = Int64(shape.channels.inputs)
    args.out_channels = Int64(shape.channels.outputs)
    args.groups = Int64(shape.groups)
    args.image = tuple(shape.image)
    args.output = tuple(shape.output)
    args.kernel = tuple(shape.kernel)
    args.stride = tuple(shape.stride)
    args.dilation = tuple(shape.dilation)
    args.before = tuple(shape.before)
    args.a_type = Int16(storage.a.rawValue)
    args.precision = Int16(storage.precision.rawValue)
    if op == CK_CONV_WEIGHTS {
      args.b_type = Int16(storage.b.rawValue)
    } else {
      args.c_type = Int16(storage.c.rawValue)
      args.epilogue.other_type = Int32(storage.other.rawValue)
      args.epilogue.combination = Int32(shape.combination.rawValue)
      args.epilogue.relu = shape.hasReLU ? 1 : 0
    }
    return args
  }

  /// The result by that row on that team; nothing else is written.
  ///
  /// - Parameter inPlace: Whether the result takes the place of the array that it is combined with.
  func run(
    _ op: ck_conv_op, _ row: ck_entry, team: Int, inPlace: Bool = false,
    sourceLocation: SourceLocation = #_sourceLocation
  ) -> [Float] {
    let (a, b) = operands(op)
    let isWeights = op == CK_CONV_WEIGHTS
    let given = (
      StoredFloats(a, storage.a), StoredFloats(b, isWeights ? storage.b : CK_F32, offset: 3),
      StoredFloats(bias, CK_F32), StoredFloats(other, storage.other)
    )
    let count = shape.count(op), type = isWeights ? CK_F32 : storage.c
    let c = StoredFloats(
      inPlace ? Array(other.prefix(count)) : Array(repeating: .nan, count: count), type)
    var args = block(op)
    args.a = UnsafePointer(given.0.pointer)
    args.b = UnsafePointer(given.1.pointer)
    args.c = c.pointer
    if !isWeights {
      args.epilogue.bias = shape.hasBias ? UnsafePointer(given.2.pointer) : nil
      args.epilogue.other = UnsafePointer(inPlace ? c.pointer : given.3.pointer)
    }
    let scratch = ck_conv_scratch_bytes(&args, op, row.isa)
    let bytes = ck_conv_workspace_bytes(&args, op, row.isa)
    // What lies in the shared memory before is nothing to rely on.
    let workspace = Guarded([UInt8](repeating: 0xff, count: bytes), offset: 0)
    args.workspace = UnsafeMutableRawPointer(workspace.pointer)
    withUnsafePointer(to: args) { args in
      var step = ck_step(kernel: row.kernel, args: args, threads: 0, barrier: 1, condition: nil)
      ck_run(ConvolutionTeams.shared.teams[team], &step, 1)
    }
    let all = [given.0, given.1, given.2, given.3, c]
    let isUnchanged = given.0.holds(a) && given.1.holds(b) && given.3.holds(other)
    if scratch > ConvolutionTeams.scratch || !isUnchanged || !workspace.isIntact
      || !all.allSatisfy(\.isIntact)
    {
      Issue.record(
        "\(String(cString: row.name)) writes beyond its result: \(shape)",
        sourceLocation: sourceLocation)
    }
    return c.array
  }

  /// The rows of an operation that this machine runs, the reference last.
  static func rows(_ op: ck_conv_op) -> [ck_entry] {
    entries(ck_conv_entries).filter {
      $0.op == Int32(op.rawValue) && $0.isa.rawValue <= ck_isa_best().rawValue
    }
  }

  /// One element in double, its epilogue included, and the sum of the magnitudes of its terms.
  func expected(_ op: ck_conv_op, _ index: Int) -> (value: Double, magnitude: Double) {
    var (sum, magnitude) = (0.0, 0.0)
    func add(_ a: Float, _ b: Float) {
      sum += Double(a) * Double(b)
      magnitude += abs(Double(a) * Double(b))
    }
    let (c, m) = (shape.channels.inputs / shape.groups, shape.channels.outputs / shape.groups)
    let output = shape.output
    func flat(_ n: Int, _ place: Axes, _ extents: Axes, _ width: Int, _ channel: Int) -> Int {
      (((n * extents[0] + place[0]) * extents[1] + place[1]) * extents[2] + place[2]) * width
        + channel
    }
    func kernelAt(_ out: Int, _ tap: Axes, _ channel: Int) -> Int {
      flat(out, tap, shape.kernel, c, channel)
    }
    func places(_ extents: Axes) -> [Axes] {
      (0..<extents.reduce(1, *)).map {
        [$0 / (extents[1] * extents[2]), $0 / extents[2] % extents[1], $0 % extents[2]]
      }
    }
    /// The pixel that a place reads by a tap, if the image has it.
    func pixel(_ place: Axes, _ tap: Axes) -> Axes? {
      let pixel = (0..<3).map {
        place[$0] * shape.stride[$0] + tap[$0] * shape.dilation[$0] - shape.before[$0]
      }
      return (0..<3).allSatisfy { (0..<shape.image[$0]).contains(pixel[$0]) } ? pixel : nil
    }
    switch op {
    case CK_CONV_FORWARD:
      let out = index % shape.channels.outputs, at = index / shape.channels.outputs
      let all = output.reduce(1, *)
      let place = places(output)[at % all]
      for tap in places(shape.kernel) {
        guard let pixel = pixel(place, tap) else { continue }
        for k in 0..<c {
          add(
            x[flat(at / all, pixel, shape.image, shape.channels.inputs, out / m * c + k)],
            w[kernelAt(out, tap, k)])
        }
      }
    case CK_CONV_DATA:
      let channel = index % shape.channels.inputs, at = index / shape.channels.inputs
      let all = shape.image.reduce(1, *), group = channel / c
      let wanted = places(shape.image)[at % all]
      for tap in places(shape.kernel) {
        let place = (0..<3).map { axis -> Int in
          let start = wanted[axis] + shape.before[axis] - tap[axis] * shape.dilation[axis]
          return start % shape.stride[axis] == 0 ? start / shape.stride[axis] : -1
        }
        guard (0..<3).allSatisfy({ (0..<output[$0]).contains(place[$0]) }),
          pixel(place, tap) == wanted
        else { continue }
        for k in group * m..<(group + 1) * m {
          add(
            y[flat(at / all, place, output, shape.channels.outputs, k)],
            w[kernelAt(k, tap, channel % c)])
        }
      }
    default:
      let taps = places(shape.kernel)
      let (out, channel) = (index / (taps.count * c), index % c)
      let tap = taps[index / c % taps.count]
      for n in 0..<shape.images {
        for place in places(output) {
          guard let pixel = pixel(place, tap) else { continue }
          add(
            x[flat(n, pixel, shape.image, shape.channels.inputs, out / m * c + channel)],
            y[flat(n, place, output, shape.channels.outputs, out)])
        }
      }
      return (sum, magnitude)
    }
    if shape.hasBias { sum += Double(bias[index % shape.width(op)]) }
    if shape.combination == CK_ADD { sum += Double(other[index]) }
    if shape.combination == CK_GATE, other[index] <= 0 { sum = 0 }
    return (shape.hasReLU ? max(0, sum) : sum, magnitude + 2)
  }

  /// Every row gives the reference's bits on all teams, and those are close to some elements in double.
  func check(
    ops: [ck_conv_op] = convolutionOps, isFinite: Bool = true,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for op in ops {
      let rows = Self.rows(op)
      let reference = run(op, try #require(rows.last), team: 0)
      for row in rows {
        for team in TestTeams.sizes.indices {
          let result = run(op, row, team: team)
          let place = zip(result, reference).enumerated().first {
            $1.0.bitPattern != $1.1.bitPattern && !($1.0.isNaN && $1.1.isNaN)
          }
          if let place {
            Issue.record(
              """
              \(String(cString: row.name)) on \(TestTeams.sizes[team]) threads, element \(place.offset): \
              \(place.element), \(shape)
              """, sourceLocation: sourceLocation)
          }
        }
      }
      // Both ends, where padding is, and some between.
      let step = max(reference.count / 24, 1) | 1
      for index in Set(stride(from: 0, to: reference.count, by: step)).union(
        reference.isEmpty ? [] : [reference.count - 1])
      {
        let (value, magnitude) = expected(op, index)
        let found = Double(reference[index])
        let isRight =
          isFinite
          ? abs(found - value) <= 4e-6 * magnitude
          : value.isNaN ? found.isNaN : !value.isFinite ? found == value : found.isFinite
        if !isRight {
          Issue.record(
            "\(convolutionName(op)), element \(index): \(found), not \(value), \(shape)",
            sourceLocation: sourceLocation)
        }
      }
    }
  }
}
