// Graphs within graphs in the text form: they read back, and what is no region is refused.

import ApusGraph
import ApusOps
import Foundation
import Testing

@Suite struct RegionTextTests {
  private static func text(_ body: String) -> String {
    """
    input %0 "h" : f32[2]
    input %1 "x" : f32[3,2]
    %2, %3 = scan(%0, %1) {carries=1, slices=1, length=3, reversed=false, recomputes=false, body={
      input %0 "carry0" : f32[2]
      input %1 "slice0" : f32[2]
    \(body)
    }} : f32[2], f32[3,2]
    output "last" = %2
    output "all" = %3

    """
  }

  private static let sum = """
      %2 = add(%0, %1) : f32[2]
      output "carry0" = %2
      output "output0" = %2
    """

  private func error(_ text: String) -> ApusError? {
    do {
      _ = try Graph(parsing: text, ops: .all)
      return nil
    } catch { return error as? ApusError }
  }

  @Test func aLoopReadsBackToTheSame() throws {
    let text = Self.text(Self.sum)
    let graph = try Graph(parsing: text, ops: .all)
    #expect(graph.description == text)
    #expect(try Graph(parsing: graph.description, ops: .all) == graph)
  }

  @Test func aLoopInALoopReadsBackToTheSame() throws {
    let graph = try traced([.f32(2), .f32(3, 4, 2)]) { t in
      let (last, all) = scan(t[1], from: t[0]) { h, xs in
        let (next, _) = scan(xs, from: h) { h, x in (carry: h * x, output: x) }
        return (carry: next, output: next)
      }
      return [last, all]
    }
    #expect(try Graph(parsing: graph.description, ops: .all) == graph)
  }

  @Test func whereALoopComesFromIsNoPartOfWhatItIs() throws {
    let a = try Graph(parsing: Self.text(Self.sum), ops: .all)
    let b = try Graph(
      parsing: Self.text(
        Self.sum.replacingOccurrences(
          of: "add(%0, %1) : f32[2]", with: "add(%0, %1) : f32[2] from \"cell\" \"A.swift:7\"")),
      ops: .all)
    #expect(a.nodes[0].op.isEqual(to: b.nodes[0].op))
    #expect(b.text(origins: false) == a.text(origins: false))
    #expect(b.description.contains("A.swift:7"))
  }

  @Test func whatIsNoRegionIsRefused() {
    let states = error(
      Self.text("  state %5 \"w\" : f32[2]\n" + Self.sum))
    #expect(states?.kind == .invalidGraph)
    #expect(states?.what.contains("state 'w'") == true)
    let watched = error(
      Self.text(
        """
          %2 = add(%0, %1) : f32[2]
          constant %3 : f32[] = [0.0]
          output "carry0" = %2
          output "output0" = %2
        """))
    #expect(watched?.kind == nil)
    let other = error(
      Self.text(
        """
          output "carry0" = %1
          output "output0" = %9
        """))
    #expect(other?.kind == .parse)
    #expect(other?.location?.hasPrefix("line 7") == true)
    let open = error(String(Self.text(Self.sum).prefix(200)))
    #expect(open?.kind == .parse)
    // A value of the outer graph is none of the body's.
    let outer = error(
      Self.text(Self.sum.replacingOccurrences(of: "add(%0, %1)", with: "add(%0, %4)")))
    #expect(outer?.what.contains("%4 is not defined yet") == true)
    let types = error(
      Self.text(Self.sum).replacingOccurrences(of: "length=3", with: "length=4"))
    #expect(types?.what.contains("scan: operand 1 is f32[3,2]") == true)
  }

  @Test func regionsThatNestWithoutEndAreRefused() {
    var text =
      "%0 = scan() {carries=0, slices=0, length=1, reversed=false, recomputes=false, body={"
    text = String(repeating: text, count: 100)
    #expect(error(text)?.what == "regions nest too deeply")
  }
}
