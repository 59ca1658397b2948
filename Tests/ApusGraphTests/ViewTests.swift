// Views compose and reshape as the arrays they stand for.

import ApusGraph
import Testing

@Suite struct ViewTests {
  /// Random views onto a dense tensor, built by the operations that passes fold.
  static func random(_ shape: Shape, _ generator: inout SystemRandomNumberGenerator) -> View {
    var view = View(dense: shape)
    for _ in 0..<Int.random(in: 0...3, using: &generator) {
      switch Int.random(in: 0..<4, using: &generator) {
      case 0: view = view.transposed(Array(0..<view.shape.rank).shuffled(using: &generator))
      case 1:
        let starts = view.shape.dimensions.map { Int.random(in: 0..<$0, using: &generator) }
        let steps = view.shape.dimensions.map { _ in [1, 2, -1].randomElement(using: &generator)! }
        let counts = zip(zip(starts, steps), view.shape.dimensions).map { pair, extent in
          pair.1 > 0 ? (extent - pair.0 + pair.1 - 1) / pair.1 : pair.0 + 1
        }
        view = view.sliced(starts: starts, steps: steps, shape: Shape(counts))
      case 2: view = view.broadcast(to: Shape([2] + view.shape.dimensions))
      default:
        view = view.reshaped(Shape([view.shape.count])) ?? view
      }
    }
    return view
  }

  @Test func composedView_readsWhatTheTwoRead() throws {
    var generator = SystemRandomNumberGenerator()
    var composedCount = 0
    for _ in 0..<3000 {
      let shape = Shape((0..<3).map { _ in Int.random(in: 1...4, using: &generator) })
      let inner = Self.random(shape, &generator)
      let outer = Self.random(inner.shape, &generator)
      let source = NDArray((0..<shape.count).map { Float($0) }, shape: shape)
      let expected = source.viewed(through: inner).viewed(through: outer)
      guard let composed = inner.composed(with: outer) else { continue }
      composedCount += 1
      #expect(source.viewed(through: composed) == expected, "\(inner) \(outer) \(composed)")
    }
    #expect(composedCount > 1500)
  }

  @Test func reshapedView_readsTheSameElements() throws {
    var generator = SystemRandomNumberGenerator()
    var reshapedCount = 0
    for _ in 0..<3000 {
      let shape = Shape([2, 3, 4].shuffled(using: &generator))
      let view = Self.random(shape, &generator)
      let count = view.shape.count
      let divisor =
        (1...max(count, 1)).filter { count % $0 == 0 }.randomElement(using: &generator) ?? 1
      guard let reshaped = view.reshaped([divisor, count / divisor]) else { continue }
      reshapedCount += 1
      #expect(reshaped.elements == view.elements)
    }
    #expect(reshapedCount > 1000)
  }

  @Test func extent_isTheRangeOfElementsRead() {
    let view = View(shape: [2, 3], strides: [-3, 1], offset: 3)
    #expect(view.extent == 0...5)
    #expect(View(shape: [0, 3], strides: [3, 1]).extent == nil)
  }
}
