// The list of all ops: what the parser knows and what the tests cover.

import ApusGraph

extension OpRegistry {
  /// Every op of the library, one a line.
  public static let all = OpRegistry(opSet)
}

/// Every op of the library.
public let opSet: [any Op.Type] = [
  Add.self,
  Broadcast.self,
  Cast.self,
  CustomGradientOp.self,
  Divide.self,
  Equal.self,
  Exp.self,
  Gate.self,
  Greater.self,
  GreaterOrEqual.self,
  Less.self,
  LessOrEqual.self,
  Loop.self,
  Maximum.self,
  Minimum.self,
  Multiply.self,
  Negate.self,
  NotEqual.self,
  ReLU.self,
  Reshape.self,
  Select.self,
  Sqrt.self,
  StopGradient.self,
  Subtract.self,
  Sum.self,
]
