// The text form: what is printed reads back to the same graph, and what is not a graph is refused.

import ApusAutodiff
import ApusGraph
import ApusOps
import Testing

@Suite struct GraphTextTests {
  static func sample() throws -> Graph {
    let trace = Trace()
    try Trace.$current.withValue(trace) {
      let x = trace.input("x", .f32(4, 3))
      let w = trace.state("hidden.weight", .f32(3))
      let y = trace.withScope(path: "hidden") { exp(x * w + 0.1) }
      let loss = y.sum()
      let gradient = gradients(of: loss, withRespectTo: [w])[0]
      trace.assign(w, w + gradient * -0.01)
      trace.output("loss", loss)
      try trace.check()
    }
    return try trace.finish()
  }

  @Test func printedGraph_readsBackToTheSame() throws {
    let graph = try Self.sample()
    let read = try Graph(parsing: graph.description, ops: .all)
    #expect(read == graph)
    #expect(read.description == graph.description)
  }

  @Test func scopesAndLocations_standInTheText() throws {
    let text = try Self.sample().description
    #expect(text.contains("from \"hidden\" \"ApusGraphTests/GraphTextTests.swift:"))
  }

  @Test func constants_keepTheirBits() throws {
    var graph = Graph()
    let arrays: [NDArray] = [
      NDArray([0.1, -0.0, .infinity, -.infinity, 0x1p-149, 3.4028235e38], shape: [6]),
      NDArray([Float(bitPattern: 0x7fc0_1234), .nan], shape: [2]),
      NDArray([.nan], shape: [1]),
      NDArray([Int64.max, Int64.min, 9_007_199_254_740_993], shape: [3]),
      NDArray([true, false, true], shape: [3, 1]),
      NDArray([Float](repeating: 0.3, count: 100), shape: [10, 10]),
      NDArray((0..<100).map { Float($0) / 7 }, shape: [100]),
      NDArray(doubles: [0.1, 1e300], type: .f64(2)),
      NDArray(doubles: [0.1, 65504, -2], type: .f16(3)),
      NDArray(doubles: [0.1, 1e38], type: .bf16(2)),
      NDArray(zeros: .f32(0, 4)),
    ]
    for array in arrays { _ = graph.addConstant(array) }
    let read = try Graph(parsing: graph.description, ops: .all)
    #expect(read.constants.map(\.array) == arrays)
  }

  @Test func names_mayHoldAnyCharacter() throws {
    var graph = Graph()
    _ = graph.addInput("a \"b\" \\ \n\t é %", .f32(1))
    #expect(try Graph(parsing: graph.description, ops: .all) == graph)
  }

  @Test func viewsAndSeveralOrigins_readBack() throws {
    var graph = Graph()
    let x = graph.addInput("x", .f32(2, 3))
    try graph.addNode(
      Exp(),
      [Operand(x, view: View(shape: [3, 2], strides: [-1, 3], offset: 2))],
      origins: [Origin(scope: "a", location: "b:1"), Origin(scope: "c", location: "")],
      recomputation: 2)
    #expect(try Graph(parsing: graph.description, ops: .all) == graph)
  }

  @Test(arguments: [
    ("input %0 \"x\" : f33[2]", "line 1, column 16"),
    ("input %0 \"x\" : f32[2]\n%1 = exp(%7) : f32[2]", "line 2, column 11"),
    ("%0 = nothing() : f32[]", "line 1"),
    ("input %0 \"x : f32[2]", "line 1"),
    ("constant %0 : f32[3] = [1.0]", "line 1"),
    ("constant %0 : f32[4000000000,4000000000] = splat 1.0", "line 1"),
    ("input %0 \"x\" : f32[-1]", "line 1"),
    ("input %0 \"x\" : f32[2]\ninput %0 \"y\" : f32[2]", "line 2"),
    ("surprise", "line 1, column 1"),
  ])
  func text_thatIsNoGraph_isRefusedWithItsPlace(text: String, place: String) throws {
    let error = #expect(throws: ApusError.self) { try Graph(parsing: text, ops: .all) }
    #expect(error?.kind == .parse)
    #expect(error?.location?.hasPrefix(place) == true, "\(String(describing: error))")
  }

  @Test func constantBeyondMemory_isAnError() {
    let error = #expect(throws: ApusError.self) {
      try Graph(parsing: "constant %0 : f32[1000000,10000000] = splat 1.0", ops: .all)
    }
    #expect(error?.kind == .resource)
  }

  @Test func mutilatedText_neverCrashes() throws {
    let text = Array(try Self.sample().description.unicodeScalars)
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      var changed = text
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let at = Int.random(in: 0..<changed.count, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: changed.remove(at: at)
        case 1: changed[at] = Unicode.Scalar(UInt8.random(in: 32..<127, using: &generator))
        default: changed.insert(contentsOf: changed[max(0, at - 5)..<at], at: at)
        }
      }
      var string = String()
      string.unicodeScalars.append(contentsOf: changed)
      do { _ = try Graph(parsing: string, ops: .all) } catch is ApusError {}
    }
  }
}
