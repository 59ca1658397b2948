// JSON, and graphs as JSON and as DOT.

import ApusGraph
import ApusOps
import Foundation
import Testing

@testable import ApusGraph

@Suite struct JSONTests {
  @Test(arguments: [
    "null", "true", "[]", "{}", "[1,-2,0]", #"{"a":1,"b":[{"c":"d"}]}"#, "9223372036854775807",
    #""q\"\\\n\t\u0001é😀""#, "0.1", "1e+300",
  ])
  func textReadsBackToItself(text: String) throws {
    #expect(try JSON(parsing: text).text == text)
  }

  @Test func whatOthersWriteIsRead() throws {
    let value = try JSON(
      parsing: " { \"a\" : [ 1 , 2.5e1 ] , \"\\u0062\\ud83d\\ude00\\/\" : false }\n")
    #expect(value == .object([("a", [1, 25.0]), ("b😀/", false)]))
    #expect(value["a"]?.elements?[1].double == 25)
    #expect(try JSON(parsing: "10000000000000000000").double == 1e19)
  }

  @Test(arguments: [
    "", "{", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "01", "1.", ".5", "+1",
    "1e", "-", "tru", "nan", "\"", "\"\n\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
    "\"\\ud800\\u0041\"", "1 2", "[", "{\"a\":1,\"a\":2}", "'a'", "// x\n1",
  ])
  func whatIsNotJSONIsRefusedWithItsPlace(text: String) {
    #expect(throws: ApusError.self) { try JSON(parsing: text) }
    do { _ = try JSON(parsing: text) } catch let error as ApusError {
      #expect(error.kind == .parse)
      #expect(error.location?.hasPrefix("byte ") == true)
    } catch {}
  }

  @Test func badUTF8AndDeepNestingAreRefused() {
    #expect(throws: ApusError.self) { try JSON(parsing: [0x22, 0xff, 0x22]) }
    let deep = String(repeating: "[", count: 100_000)
    #expect(throws: ApusError.self) { try JSON(parsing: deep) }
  }

  @Test func whatJSONHasNoNumberForIsNull() {
    #expect(JSON.array([.number(.nan), .number(.infinity)]).text == "[null,null]")
  }
}

@Suite struct GraphPicturesTests {
  /// A graph with everything that can stand in one.
  static func sample() throws -> Graph {
    let trace = Trace()
    try Trace.$current.withValue(trace) {
      let x = trace.input("x \"quoted\" \\ back", .f32(4, 3))
      let w = trace.state("hidden.weight", .f32(3))
      let table = trace.constant(NDArray((0..<100).map { Float($0) }, shape: [100]))
      let y = trace.withScope(path: "blocks.0.hidden") { exp(x * w + 0.1) }
      let z = trace.withScope(path: "blocks.1") { y * y }
      trace.assign(w, w * .infinity)
      trace.output("loss", z.sum() + table.sum())
      try trace.check()
    }
    return try trace.finish()
  }

  @Test func jsonHasTheDocumentedMembers() throws {
    let graph = try Self.sample()
    let json = try JSON(parsing: graph.json)
    #expect(json == graph.jsonValue)
    #expect(
      json.members?.map(\.0) == [
        "format", "version", "inputs", "states", "constants", "nodes", "assignments", "outputs",
      ])
    #expect(json["format"] == "apus-graph")
    #expect(json["inputs"]?.elements?[0]["name"] == "x \"quoted\" \\ back")
    #expect(
      json["inputs"]?.elements?[0]["type"] == .object([("dtype", "f32"), ("shape", [4, 3])]))
    #expect(json["nodes"]?.elements?.count == graph.nodes.count)
    let scopes = json["nodes"]?.elements?.compactMap {
      $0["origins"]?.elements?.first?["scope"]?.string
    }
    #expect(scopes?.contains("blocks.0.hidden") == true)
    // The long constant's elements are left out, infinity is a string.
    let constants = try #require(json["constants"]?.elements)
    #expect(constants.contains { $0["values"] == nil })
    #expect(constants.contains { $0["values"] == ["inf"] })
  }

  @Test func everyIdIsDefinedBeforeItIsRead() throws {
    let json = try Self.sample().jsonValue
    var defined = Set<Int>()
    for list in ["inputs", "states", "constants"] {
      for value in json[list]?.elements ?? [] { defined.insert(try #require(value["id"]?.integer)) }
    }
    for node in json["nodes"]?.elements ?? [] {
      for operand in node["operands"]?.elements ?? [] {
        #expect(defined.contains(try #require(operand["id"]?.integer)))
      }
      for result in node["results"]?.elements ?? [] {
        #expect(defined.insert(try #require(result["id"]?.integer)).inserted)
      }
    }
  }

  @Test func viewsAndFusedOriginsStandInBothForms() throws {
    var graph = try Self.sample()
    let node = try #require(graph.nodes.firstIndex { $0.op.mnemonic == "exp" })
    let type = graph.type(of: graph.nodes[node].operands[0])
    graph.nodes[node].operands[0].view = View(dense: type.shape)
    graph.nodes[node].origins.append(Origin(scope: "other.layer", location: "B.swift:9"))
    let json = graph.jsonValue["nodes"]?.elements?[node]
    #expect(json?["operands"]?.elements?[0]["view"]?["strides"] == [3, 1])
    #expect(json?["origins"]?.elements?.count == 2)
    #expect(graph.dot.contains("fused from\\nblocks.0.hidden ("))
    #expect(graph.dot.contains("other.layer (B.swift:9)"))
    #expect(graph.dot.contains("as [4,3]"))
  }

  @Test func modulesAreNestedFrames() throws {
    let lines = try Self.sample().dot.split(separator: "\n").map { $0.drop { $0 == " " } }
    let labels = lines.filter { $0.hasPrefix("label=") }.map { $0.prefix { $0 != ";" } }
    #expect(labels == ["label=\"blocks\"", "label=\"0\"", "label=\"hidden\"", "label=\"1\""])
    #expect(lines.filter { $0.hasPrefix("subgraph") }.count == 4)
  }

  @Test func graphvizDrawsIt() throws {
    let dot = try #require(
      ["/usr/bin/dot", "/usr/local/bin/dot"].first {
        FileManager.default.isExecutableFile(atPath: $0)
      }, "Graphviz is missing; .ci/setup --tools installs it")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: dot)
    process.arguments = ["-Tsvg"]
    let (input, output, errors) = (Pipe(), Pipe(), Pipe())
    process.standardInput = input
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    try input.fileHandleForWriting.write(contentsOf: Data(try Self.sample().dot.utf8))
    try input.fileHandleForWriting.close()
    let svg = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    #expect(errors.fileHandleForReading.readDataToEndOfFile().isEmpty)
    #expect(svg.contains("</svg>"))
    #expect(svg.contains("x &quot;quoted&quot; \\ back"))
  }
}
