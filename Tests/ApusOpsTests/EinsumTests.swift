// Einsum against loops over all labels at once, and the equations it must refuse.

import ApusGraph
import ApusOps
import Testing

/// The sum of products in one nest of loops over every label; no ellipsis, explicit output.
private func looped(_ equation: String, _ operands: [NDArray]) -> [Double] {
  let sides = equation.split(separator: ">", omittingEmptySubsequences: false)
  let inputs = sides[0].dropLast().split(separator: ",", omittingEmptySubsequences: false)
    .map(Array.init)
  let output = Array(sides[1])
  var extents: [Character: Int] = [:]
  for (labels, array) in zip(inputs, operands) {
    for (label, extent) in zip(labels, array.shape.dimensions) {
      extents[label] = max(extents[label] ?? 0, extent)
    }
  }
  let names = extents.keys.sorted()
  let values = operands.map(\.doubles)
  func place(_ labels: [Character], _ shape: Shape, _ index: [Character: Int]) -> Int {
    zip(zip(labels, shape.dimensions), shape.strides).reduce(0) {
      $0 + ($1.0.1 == 1 ? 0 : index[$1.0.0]! * $1.1)
    }
  }
  let shape = Shape(output.map { extents[$0]! })
  var result = [Double](repeating: 0, count: shape.count)
  func walk(_ depth: Int, _ index: [Character: Int]) {
    guard depth < names.count else {
      let product = zip(inputs, zip(operands, values)).reduce(1.0) {
        $0 * $1.1.1[place($1.0, $1.1.0.shape, index)]
      }
      result[place(output, shape, index)] += product
      return
    }
    for i in 0..<extents[names[depth]]! {
      walk(depth + 1, index.merging([names[depth]: i]) { $1 })
    }
  }
  walk(0, [:])
  return result
}

private func array(_ shape: Shape, seed: Int) -> NDArray {
  let values = (0..<shape.count).map { Double(($0 * 37 + seed * 101 + 13) % 23) / 8 - 1.25 }
  return NDArray(doubles: values, type: TensorType(.f64, shape))
}

/// What `equation` gives for arrays of those shapes; the arrays too.
private func evaluated(_ equation: String, _ shapes: [Shape]) throws -> (
  result: NDArray, operands: [NDArray]
) {
  let operands = shapes.enumerated().map { array($0.element, seed: $0.offset) }
  let graph = try graph(equation, operands.map(\.type))
  return (try graph.interpret(inputs: operands).outputs[0], operands)
}

private func graph(_ equation: String, _ types: [TensorType]) throws -> Graph {
  try traced(types) { x in
    switch x.count {
    case 1: [einsum(equation, x[0])]
    case 2: [einsum(equation, x[0], x[1])]
    case 3: [einsum(equation, x[0], x[1], x[2])]
    default: [einsum(equation, x[0], x[1], x[2], x[3])]
    }
  }
}

@Suite struct EinsumTests {
  @Test(
    arguments: [
      ("ij->ji", [[2, 3]]), ("ij->", [[2, 3]]), ("ijk->k", [[2, 3, 4]]), ("ii->i", [[3, 3]]),
      ("ii->", [[3, 3]]), ("iij->ji", [[3, 3, 2]]), ("iii->i", [[2, 2, 2]]),
      ("ij,jk->ik", [[2, 3], [3, 4]]), ("ij,jk->ki", [[2, 3], [3, 4]]),
      ("ij,kj->ik", [[2, 3], [4, 3]]), ("ji,jk->ik", [[3, 2], [3, 4]]),
      ("bij,bjk->bik", [[2, 3, 4], [2, 4, 5]]), ("bij,bkj->kbi", [[2, 3, 4], [2, 5, 4]]),
      ("i,j->ij", [[2], [3]]), ("i,i->", [[4], [4]]), ("i,i->i", [[4], [4]]),
      ("ij,j->i", [[2, 3], [3]]), ("ij,ij->ij", [[2, 3], [2, 3]]), ("ij,ji->", [[2, 3], [3, 2]]),
      ("ijkl,klmn->ijmn", [[2, 3, 2, 2], [2, 2, 3, 2]]),
      ("ijkl,lmkn->jnim", [[2, 3, 2, 2], [2, 3, 2, 2]]),
      ("bqhd,bkhd->bhqk", [[2, 3, 2, 4], [2, 5, 2, 4]]),
      ("ij,jk,kl->il", [[2, 3], [3, 4], [4, 2]]), ("a,b,c->cab", [[2], [3], [2]]),
      ("ij,jk,kl,li->", [[2, 3], [3, 2], [2, 3], [3, 2]]), ("ijx,jk->ik", [[2, 3, 2], [3, 4]]),
      ("ij,jk->ik", [[2, 1], [3, 4]]), ("bi,bi->b", [[1, 3], [4, 3]]),
      ("ij,jk->ij", [[2, 3], [3, 4]]),
      ("iij,jk->ik", [[2, 2, 3], [3, 4]]), (",i->i", [[], [3]]), ("i,->", [[3], []]),
      ("ij,jk->ik", [[2, 0], [0, 4]]), ("aB,Bc->ac", [[2, 3], [3, 2]]),
    ] as [(String, [[Int]])])
  func agreesWithOneNestOfLoops(_ equation: String, _ shapes: [[Int]]) throws {
    let (result, operands) = try evaluated(equation, shapes.map { Shape($0) })
    let expected = looped(equation, operands)
    #expect(result.count == expected.count)
    for (value, wanted) in zip(result.doubles, expected) {
      #expect(abs(value - wanted) <= 1e-12 * (1 + abs(wanted)), "\(equation)")
    }
  }

  @Test(
    arguments: [
      ("ij,jk", "ij,jk->ik", [[2, 3], [3, 4]]), ("ba", "ba->ab", [[2, 3]]),
      ("ii", "ii->", [[3, 3]]),
      ("jb,ja", "jb,ja->ab", [[2, 3], [2, 2]]), (" i j , j -> i ", "ij,j->i", [[2, 3], [3]]),
      ("...ij,...jk", "xyij,xyjk->xyik", [[2, 2, 3, 2], [2, 2, 2, 3]]),
      ("...ij,jk->...ik", "xij,jk->xik", [[2, 3, 2], [2, 3]]),
      ("i...->...", "ixy->xy", [[2, 3, 2]]), ("...i->i...", "xyi->ixy", [[2, 3, 2]]),
      ("...,...->...", "xy,xy->xy", [[2, 3], [2, 3]]),
      ("...a,...a->...", "yxa,xa->yx", [[2, 3, 4], [3, 4]]),
    ] as [(String, String, [[Int]])])
  func shortFormsMeanTheirLongForms(_ short: String, _ long: String, _ shapes: [[Int]]) throws {
    let (result, operands) = try evaluated(short, shapes.map { Shape($0) })
    let expected = looped(long, operands)
    #expect(result.count == expected.count)
    for (value, wanted) in zip(result.doubles, expected) {
      #expect(abs(value - wanted) <= 1e-12 * (1 + abs(wanted)), "\(short)")
    }
  }

  @Test func recordsOneProductWhereTheOperandsLieRight() throws {
    for (equation, b) in [("ij,jk->ik", [3, 4]), ("ij,kj->ik", [4, 3])] {
      let graph = try graph(equation, [.f32(2, 3), TensorType(.f32, Shape(b))])
      #expect(graph.nodes.map(\.op.mnemonic) == ["matmul"])
    }
  }

  @Test func contractsTheSmallestPairFirst() throws {
    // (ab)(bc) first would make 100x100 of two vectors.
    let graph = try graph("ab,bc,cd->ad", [.f32(100, 1), .f32(1, 100), .f32(100, 1)])
    let largest = graph.nodes.flatMap(\.results).map { graph.type(of: $0).count }.max()
    #expect(largest == 100)
  }

  @Test(
    arguments: [
      ("ij,jk->ik", [[2, 3]], "inputs for 1 operands"), ("ijk->k", [[2, 3]], "3 labels"),
      ("ij->ik", [[2, 3]], "'k', which no input has"), ("ij->ii", [[2, 3]], "'i' twice"),
      ("i->j->k", [[2]], "more than one"), ("i1->i", [[2, 3]], "label '1'"),
      ("......i->i", [[2]], "twice"), ("ijk...->i", [[2, 3]], "3 labels"),
      ("i.->i", [[2, 3]], "label '.'"),
      ("é->é", [[2]], "label"),
    ] as [(String, [[Int]], String)])
  func malformedEquationsAreRefused(_ equation: String, _ shapes: [[Int]], _ words: String) {
    let error = #expect(throws: ApusError.self) {
      try graph(equation, shapes.map { TensorType(.f32, Shape($0)) })
    }
    #expect(error?.kind == .invalidArgument)
    #expect(error?.what.contains(words) == true, "\(String(describing: error?.what))")
    #expect(error?.location?.contains("EinsumTests.swift") == true)
  }

  @Test func extentsThatDifferAreRefused() {
    let error = #expect(throws: ApusError.self) {
      try graph("ij,jk->ik", [.f32(2, 3), .f32(4, 5)])
    }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.what.contains("'j' the extents 3 and 4") == true)
  }
}
