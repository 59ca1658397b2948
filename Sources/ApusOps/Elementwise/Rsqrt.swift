// One over the square root.

import ApusGraph

/// `y = 1/√x`, correctly rounded or one unit off, not the processor's estimate.
package struct Rsqrt: PlainElementwiseOp {
  package static let mnemonic = "rsqrt"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = -y³/2
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * ((context.result * square(context.result)) * -0.5)]
  }

  package func evaluate(_ x: [Double]) -> Double { 1 / x[0].squareRoot() }
}

/// One over the square root of every element.
public func rsqrt(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Rsqrt(), to: x, location: sourceLocation(file, line))
}
