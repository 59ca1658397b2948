// A sigmoid with polynomial tails.

import ApusGraph

/// `y = x / (1 + |x|)`.
public struct Softsign: PlainElementwiseOp {
  public static let mnemonic = "softsign"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = 1 / (1 + |x|)²
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / square(abs(context.operands[0]) + 1)]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0] / (1 + Swift.abs(x[0])) }
}

/// The softsign of every element.
public func softsign(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Softsign(), to: x, location: sourceLocation(file, line))
}
