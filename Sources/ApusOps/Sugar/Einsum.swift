// Sums of products in Einstein's notation: sugar over matrix products, sums and transposes.
//
// Not an op: what is recorded are pairwise contractions, cheapest first. A pair's shared labels that
// nobody needs any more are summed by a matrix product; labels that both keep are its batch.

import ApusGraph

/// The sum of products that `equation` describes, as NumPy's `einsum`.
///
///     einsum("bik,bkj->bij", a, b)       // batched matrix product
///     einsum("ij,ij->", a, b)            // inner product
///     einsum("ii->i", a)                 // diagonal
///     einsum("...ij,...j", m, v)         // matrices times vectors, over whatever leading axes
///
/// Labels are letters, one an axis; `...` stands for any further axes, which broadcast from the right.
/// A label that is not in the output is summed over. Without `->` the output is the labels that occur
/// once, in alphabetical order, after `...`. Axes of extent 1 broadcast. Any number of operands; they
/// are contracted in pairs, the smallest result first.
///
/// An equation that is malformed or does not fit the operands is reported when the graph is compiled:
/// `invalidArgument`, or `shapeMismatch` where extents differ.
public func einsum(
  _ equation: String, _ first: Tensor, _ rest: Tensor..., file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  let operands = [first] + rest
  if let poisoned = operands.first(where: \.isPoisoned) { return poisoned }
  do {
    let parsed = try EinsumEquation(equation, operands.map(\.type))
    return EinsumContraction(parsed, file, line).result(of: operands)
  } catch {
    return .poisoned(
      asApusError(error), like: operands[0], location: sourceLocation(file, line))
  }
}

/// An equation fitted to its operands: labels are numbers, those of `...` negative.
struct EinsumEquation {
  var inputs: [[Int]]
  var output: [Int]
  var extents: [Int: Int] = [:]

  init(_ equation: String, _ operands: [TensorType]) throws {
    func fail(_ what: String, _ expected: String) -> ApusError {
      ApusError(.invalidArgument, "einsum: '\(equation)' \(what)", expected: expected)
    }
    let text = equation.filter { !$0.isWhitespace }
    let sides = try Self.sides(of: text) {
      fail("has more than one '->'", "inputs->output")
    }
    let words = sides.input.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    guard words.count == operands.count else {
      throw fail("has \(words.count) inputs for \(operands.count) operands", "one an operand")
    }
    /// The labels of a word; those of `...` for so many axes.
    func labels(_ word: String, ellipsis: (Int) throws -> [Int]) throws -> [Int] {
      let parts = word.components(separatedBy: "...")
      guard parts.count <= 2 else { throw fail("has '...' twice in '\(word)'", "it once at most") }
      let letters = try parts.map { part in
        try part.unicodeScalars.map { scalar -> Int in
          guard scalar.isASCII, scalar.properties.isAlphabetic else {
            throw fail("has the label '\(scalar)'", "letters, ',', '...' and '->'")
          }
          return Int(scalar.value)
        }
      }
      if letters.count == 1 { return letters[0] }
      return letters[0] + (try ellipsis(letters[0].count + letters[1].count)) + letters[1]
    }
    var widest = 0
    inputs = try zip(words, operands).map { word, type in
      let labels = try labels(word) { named in
        guard type.rank >= named else {
          throw fail("has \(named) labels for \(type)", "at most \(type.rank)")
        }
        widest = max(widest, type.rank - named)
        // Counted from the right: -1 is the last axis of every ellipsis.
        return Array(-(type.rank - named)..<0)
      }
      guard labels.count == type.rank else {
        throw fail("has \(labels.count) labels for \(type)", "one an axis")
      }
      return labels
    }
    let known = Set(inputs.joined())
    if let output = sides.output {
      self.output = try labels(output) { _ in Array(-widest..<0) }
      for (index, label) in self.output.enumerated() {
        guard known.contains(label) || label < 0 else {
          throw fail(
            "has the output label '\(Self.name(label))', which no input has", "input labels")
        }
        guard !self.output[..<index].contains(label) else {
          throw fail("has the output label '\(Self.name(label))' twice", "each once")
        }
      }
    } else {
      let all = Array(inputs.joined())
      output =
        Array(-widest..<0)
        + known.filter { label in label > 0 && all.filter { $0 == label }.count == 1 }.sorted()
    }
    for (labels, type) in zip(inputs, operands) {
      for (axis, label) in labels.enumerated() {
        let extent = type.shape[axis], known = extents[label] ?? 1
        guard extent == known || extent == 1 || known == 1 else {
          throw ApusError(
            .shapeMismatch,
            "einsum: '\(equation)' gives label '\(Self.name(label))' the extents \(known) and "
              + "\(extent)", expected: "one extent")
        }
        extents[label] = known == 1 ? extent : known
      }
    }
    // Only a dense `...` in the output that no input spells out is left: it has no axes.
    output.removeAll { extents[$0] == nil }
  }

  private static func name(_ label: Int) -> String {
    label < 0 ? "..." : Unicode.Scalar(UInt32(label)).map { String($0) } ?? "?"
  }

  private static func sides(of text: String, _ error: () -> ApusError) throws -> (
    input: String, output: String?
  ) {
    let parts = text.components(separatedBy: "->")
    guard parts.count <= 2 else { throw error() }
    return (parts[0], parts.count == 2 ? parts[1] : nil)
  }
}

extension String {
  /// The parts between occurrences of `separator`; the standard library has it for characters only.
  fileprivate func components(separatedBy separator: String) -> [String] {
    var parts: [String] = []
    var rest = self[...]
    while let range = rest.ranges(of: separator).first {
      parts.append(String(rest[..<range.lowerBound]))
      rest = rest[range.upperBound...]
    }
    return parts + [String(rest)]
  }
}

/// Records the ops of an equation.
private struct EinsumContraction {
  let equation: EinsumEquation
  /// The user's call, which stands for all that is recorded.
  let file: StaticString
  let line: UInt
  var location: String { sourceLocation(file, line) }

  init(_ equation: EinsumEquation, _ file: StaticString, _ line: UInt) {
    self.equation = equation
    (self.file, self.line) = (file, line)
  }

  /// A tensor and the labels of its axes, each once.
  struct Term {
    var tensor: Tensor
    var labels: [Int]

    func extent(_ label: Int) -> Int? {
      labels.firstIndex(of: label).map { tensor.shape[$0] }
    }
  }

  func result(of operands: [Tensor]) -> Tensor {
    let dtype = operands.dropFirst().reduce(operands[0].dtype) { DType.promoted($0, $1.dtype) }
    var terms = zip(operands, equation.inputs).map {
      diagonal(Term(tensor: $0.cast(to: dtype, location: location), labels: $1))
    }
    while terms.count > 1 {
      let (i, j) = cheapestPair(terms)
      let b = terms.remove(at: j), a = terms.remove(at: i)
      terms.insert(contract(a, b, needed: needed(by: terms)), at: i)
    }
    let last = sum(terms[0], to: equation.output)
    return ordered(last, equation.output)
  }

  /// The labels that the output or a remaining term needs.
  private func needed(by terms: [Term]) -> Set<Int> {
    Set(equation.output + terms.flatMap(\.labels))
  }

  /// The pair whose contraction has the smallest result, the first such.
  private func cheapestPair(_ terms: [Term]) -> (Int, Int) {
    var best = (0, 1)
    var least = Double.infinity
    for i in terms.indices {
      for j in terms.indices where j > i {
        let others = terms.indices.filter { $0 != i && $0 != j }.map { terms[$0] }
        let kept = needed(by: others)
        let all = Set(terms[i].labels + terms[j].labels)
        func size(_ labels: some Sequence<Int>) -> Double {
          labels.reduce(1) { $0 * Double(equation.extents[$1] ?? 1) }
        }
        let cost = size(all.filter(kept.contains)) + 1e-3 * size(all)
        if cost < least { (best, least) = ((i, j), cost) }
      }
    }
    return best
  }

  // MARK: One term

  /// Each label once: a repeated one takes the elements where its axes agree.
  private func diagonal(_ term: Term) -> Term {
    var term = term
    while let second = term.labels.indices.first(where: {
      term.labels[..<$0].contains(term.labels[$0])
    }) {
      let label = term.labels[second]
      let first = term.labels.firstIndex(of: label)!
      // To the end, as [n, n]; an axis of extent 1 repeats.
      let rest = term.labels.indices.filter { $0 != first && $0 != second }
      let moved = term.tensor.transposed(rest + [first, second], file: file, line: line)
      let lead = Array(moved.shape.dimensions.dropLast(2))
      let n = max(moved.shape[-1], moved.shape[-2])
      let square = moved.broadcast(to: Shape(lead + [n, n]), file: file, line: line)
      let mask = square.trace.constant(
        NDArray((0..<n * n).map { $0 / max(n, 1) == $0 % max(n, 1) }, shape: [n, n]))
      let kept = Tensor.apply(
        Select(), to: mask, square, square.scalar(0), location: location)
      term = Term(
        tensor: kept.sum(axes: [lead.count + 1], file: file, line: line),
        labels: rest.map { term.labels[$0] } + [label])
    }
    return term
  }

  /// The term summed over all labels that are not in `kept`.
  private func sum(_ term: Term, to kept: some Sequence<Int>) -> Term {
    let kept = Set(kept)
    let axes = term.labels.indices.filter { !kept.contains(term.labels[$0]) }
    if axes.isEmpty { return term }
    return Term(
      tensor: term.tensor.sum(axes: Array(axes), file: file, line: line),
      labels: term.labels.filter { kept.contains($0) })
  }

  /// The term without those labels, whose axes have extent 1.
  private func squeezed(_ term: Term, _ labels: Set<Int>) -> Term {
    if labels.isDisjoint(with: term.labels) { return term }
    let kept = term.labels.indices.filter { !labels.contains(term.labels[$0]) }
    return Term(
      tensor: reshaped(term.tensor, kept.map { term.tensor.shape[$0] }),
      labels: kept.map { term.labels[$0] })
  }

  /// The tensor with its axes in the order of `labels`, all of which it has or which have extent 1.
  private func ordered(_ term: Term, _ labels: [Int]) -> Tensor {
    let present = labels.filter { term.labels.contains($0) }
    let permutation = present.map { term.labels.firstIndex(of: $0)! }
    let isInOrder = permutation == Array(permutation.indices)
    return isInOrder ? term.tensor : term.tensor.transposed(permutation, file: file, line: line)
  }

  private func reshaped(_ tensor: Tensor, _ dimensions: [Int]) -> Tensor {
    tensor.reshaped(Shape(dimensions), file: file, line: line)
  }

  // MARK: Two terms

  private func contract(_ first: Term, _ second: Term, needed: Set<Int>) -> Term {
    var a = sum(first, to: needed.union(second.labels))
    var b = sum(second, to: needed.union(first.labels))
    // A label of extent 1 on one side only is the other side's alone.
    let shared = a.labels.filter { b.labels.contains($0) }
    a = squeezed(a, Set(shared.filter { a.extent($0) == 1 && b.extent($0) != 1 }))
    b = squeezed(b, Set(shared.filter { b.extent($0) == 1 && a.extent($0) != 1 }))
    a = sum(a, to: needed.union(b.labels))
    b = sum(b, to: needed.union(a.labels))
    let both = a.labels.filter { b.labels.contains($0) }
    let summed = both.filter { !needed.contains($0) }
    let batch = both.filter { needed.contains($0) }
    let rows = a.labels.filter { !both.contains($0) }
    let columns = b.labels.filter { !both.contains($0) }
    if summed.isEmpty { return product(a, b, batch, rows, columns) }
    // The result is [batch, rows, columns]; the other way round where the output wants it so.
    if let row = rows.compactMap({ equation.output.firstIndex(of: $0) }).min(),
      let column = columns.compactMap({ equation.output.firstIndex(of: $0) }).min(), column < row
    {
      return matrixProduct(b, a, batch, columns, summed, rows)
    }
    return matrixProduct(a, b, batch, rows, summed, columns)
  }

  private func matrixProduct(
    _ a: Term, _ b: Term, _ batch: [Int], _ rows: [Int], _ summed: [Int], _ columns: [Int]
  ) -> Term {
    func extents(_ labels: [Int], _ term: Term) -> [Int] { labels.map { term.extent($0) ?? 1 } }
    func matrix(_ term: Term, _ outer: [Int], _ inner: [Int]) -> Tensor {
      let sides = [outer, inner].map { extents($0, term).reduce(1, *) }
      return reshaped(ordered(term, batch + outer + inner), extents(batch, term) + sides)
    }
    // Whichever of [rows, summed] and [summed, rows] the term already is needs no transpose.
    let turnsA = a.labels == batch + summed + rows && a.labels != batch + rows + summed
    let turnsB = b.labels == batch + columns + summed && b.labels != batch + summed + columns
    let left = turnsA ? matrix(a, summed, rows) : matrix(a, rows, summed)
    let right = turnsB ? matrix(b, columns, summed) : matrix(b, summed, columns)
    let result = left.product(right, turnsA, turnsB, location: location)
    return Term(
      tensor: reshaped(result, extents(batch, a) + extents(rows, a) + extents(columns, b)),
      labels: batch + rows + columns)
  }

  /// Nothing to sum: an elementwise product that broadcasts.
  private func product(_ a: Term, _ b: Term, _ batch: [Int], _ rows: [Int], _ columns: [Int])
    -> Term
  {
    let labels = batch + rows + columns
    func spread(_ term: Term) -> Tensor {
      reshaped(ordered(term, labels), labels.map { term.extent($0) ?? 1 })
    }
    return Term(
      tensor: .apply(Multiply(), to: spread(a), spread(b), location: location), labels: labels)
  }
}
