// Memory-bound work: elementwise chains and row reductions as the runtime runs them, against the
// copying speed of the level of memory they fit, and against PyTorch.

import Apus

/// A chain on tensors of a given number of elements.
public struct ElementwiseCase: Sendable {
  public let name: String
  /// Tensors read; one more is written.
  let operands: Int
  /// 0, or the length of the rows that the case works on.
  let columns: Int
  let body: @Sendable ([Tensor]) -> Tensor

  /// All cases. Benchmarks/peers/eltwise.py has the same names.
  public static let all = [
    ElementwiseCase("copy", 1) { $0[0] * 1.5 },
    ElementwiseCase("add", 2) { $0[0] + $0[1] },
    ElementwiseCase("multiply_add_relu", 3) { relu($0[0] * $0[1] + $0[2]) },
    ElementwiseCase("exp", 1) { exp($0[0]) },
    ElementwiseCase("tanh", 1) { tanh($0[0]) },
    ElementwiseCase("gelu", 1) { gelu($0[0]) },
    ElementwiseCase("softmax", 1, columns: 1024) { softmax($0[0]) },
    ElementwiseCase("layer_norm", 1, columns: 1024) { layerNorm($0[0]) },
  ]

  init(
    _ name: String, _ operands: Int, columns: Int = 0,
    _ body: @escaping @Sendable ([Tensor]) -> Tensor
  ) {
    self.name = name
    self.operands = operands
    self.columns = columns
    self.body = body
  }

  /// The case of that name.
  ///
  /// - Throws: `missing`, with the names there are.
  public static func named(_ name: String) throws -> ElementwiseCase {
    guard let found = all.first(where: { $0.name == name }) else {
      throw ApusError(
        .missing, "there is no elementwise case '\(name)'",
        expected: all.map(\.name).joined(separator: ", "))
    }
    return found
  }

  func shape(elements: Int) -> Shape {
    columns == 0 ? Shape([elements]) : Shape([max(1, elements / columns), columns])
  }
}

/// Times elementwise chains on tensors that fit the caches, and on some that do not.
///
/// - Throws: what compiling and the peers throw.
public func benchmarkElementwise(
  _ cases: [ElementwiseCase] = ElementwiseCase.all,
  elements sizes: [Int] = [4096, 65_536, 1 << 20, 1 << 25], options: BenchmarkOptions
) throws {
  try options.validate()
  if let size = sizes.first(where: { $0 < 1 || $0 > 1 << 30 }) {
    throw ApusError(.invalidArgument, "\(size) elements", expected: "1 to \(1 << 30)")
  }
  let peaks = try MachinePeaks.measured(threads: options.threads, isa: options.isa)
  options.print(options.json ? peaks.json.text : peaks.summary)
  var table = Table("case", "elements", "side", "ms", "GB/s", "of copying", "ratio")
  for test in cases {
    for size in sizes {
      let shape = test.shape(elements: size)
      let ours = try ElementwiseSide(test, shape, options)
      var sides: [any Side] = [ours]
      if options.peers {
        sides.append(
          try PeerProcess(
            "torch",
            peerCommand(
              "eltwise.py",
              [
                "--case", test.name, "--elements", "\(shape.count)", "--threads",
                "\(options.threads)",
              ])))
      }
      let timings = try timeInTurns(sides, seconds: options.seconds)
      let bytes = 4 * shape.count * (test.operands + 1)
      for (side, timing) in zip(sides, timings) {
        let speed = Double(bytes) / timing.median / 1e9
        let fraction = speed / peaks.copySpeed(forBytes: bytes)
        let ratio = timing.median / timings[0].median
        if options.json {
          options.print(
            JSON.object([
              ("bench", "eltwise"), ("case", .string(test.name)),
              ("elements", .integer(shape.count)), ("side", .string(side.name)),
              ("isa", .string(options.isa.name)), ("threads", .integer(options.threads)),
              ("ms", .number(rounded(timing.median * 1e3))), ("gbps", .number(rounded(speed))),
              ("peak_fraction", .number(rounded(fraction))), ("ratio", .number(rounded(ratio))),
            ]).text)
        } else {
          table.add(
            side === ours ? test.name : "", side === ours ? "\(shape.count)" : "", side.name,
            significant(timing.median * 1e3), decimals(speed, 1), decimals(fraction, 2),
            decimals(ratio, 2))
        }
      }
    }
  }
  if !options.json { table.lines.forEach(options.print) }
}

/// A compiled graph from states to a state: nothing comes in or goes out, only the chain runs.
private final class ElementwiseSide: Side {
  let name = "apus"
  private let executable: Executable

  init(_ test: ElementwiseCase, _ shape: Shape, _ options: BenchmarkOptions) throws {
    let type = TensorType(.f32, shape)
    let trace = Trace()
    let operands = (0..<test.operands).map { trace.state("x\($0)", type) }
    trace.assign(trace.state("y", type), test.body(operands))
    let states = StateStore()
    for index in 0..<test.operands {
      var numbers = UInt64(index) &* 2 &+ 1
      let values = (0..<shape.count).map { _ -> Float in
        numbers = numbers &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(Int32(truncatingIfNeeded: numbers >> 32)) * 0x1p-30  // in -2 ..< 2
      }
      try states.set("x\(index)", NDArray(values, shape: shape))
    }
    executable = try Executable(
      try trace.finish(), states: states, options: CompileOptions(options))
  }

  func run(_ count: Int) throws -> Double {
    for _ in 0..<max(1, count / 10) { _ = try executable.run([]) }
    return try seconds { for _ in 0..<count { _ = try executable.run([]) } }
  }
}
