// Graphs that break a rule are refused.

import ApusGraph
import ApusOps
import Testing

@Suite struct VerifierTests {
  static func refuses(_ text: String, _ part: String) -> Bool {
    do {
      _ = try Graph(parsing: text, ops: .all)
      return false
    } catch let error as ApusError {
      return error.kind == .invalidGraph && error.description.contains(part)
    } catch {
      return false
    }
  }

  @Test func resultType_mustFollowTheRule() {
    #expect(Self.refuses("input %0 \"x\" : f32[2]\n%1 = exp(%0) : f32[3]", "by its rule"))
  }

  @Test func foldedAxes_areCountedFrom0_eachOnce_inOrder() {
    for axes in ["[-1]", "[1, 0]", "[0, 0]", "[2]"] {
      for op in ["sum", "reduce_max", "product"] {
        let text =
          "input %0 \"x\" : f32[2,3]\n%1 = \(op)(%0) {axes=\(axes), keepDims=false} : f32[2]"
        #expect(Self.refuses(text, "axes \(axes)"), "\(op) \(axes)")
      }
    }
  }

  @Test func view_withExtremeStrides_isRefused() {
    let text =
      "input %0 \"x\" : f32[4]\n%1 = exp(%0 view [4] strides [9223372036854775807] offset 1)"
    #expect(Self.refuses(text + " : f32[4]", "reads elements"))
    let far =
      "input %0 \"x\" : f32[4]\n%1 = exp(%0 view [2,2] strides [-9223372036854775807,-2] offset 0)"
    #expect(Self.refuses(far + " : f32[2,2]", "reads elements"))
  }

  @Test func view_mustStayWithinTheValue() {
    let text = "input %0 \"x\" : f32[2]\n%1 = exp(%0 view [3] strides [1] offset 0) : f32[3]"
    #expect(Self.refuses(text, "reads elements"))
    let negative = "input %0 \"x\" : f32[2]\n%1 = exp(%0 view [2] strides [-1] offset 0) : f32[2]"
    #expect(Self.refuses(negative, "reads elements"))
  }

  @Test func assignment_mustGoToAStateOfItsType() {
    #expect(Self.refuses("input %0 \"x\" : f32[2]\nassign %0 = %0", "a state"))
    #expect(
      Self.refuses(
        "input %0 \"x\" : f32[2]\nstate %1 \"s\" : f32[3]\nassign %1 = %0", "equal types"))
    #expect(
      Self.refuses(
        "state %0 \"s\" : f32[3]\nassign %0 = %0\nassign %0 = %0", "assigned twice"))
  }

  @Test func names_mustBeUnique() {
    #expect(Self.refuses("input %0 \"x\" : f32[2]\ninput %1 \"x\" : f32[2]", "exists twice"))
  }

  @Test func operandCounts_areChecked() {
    #expect(Self.refuses("input %0 \"x\" : f32[2]\n%1 = add(%0) : f32[2]", "operands"))
  }
}
