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
  Exp.self,
  Multiply.self,
  Reshape.self,
  Select.self,
  StopGradient.self,
  Sum.self,
]
