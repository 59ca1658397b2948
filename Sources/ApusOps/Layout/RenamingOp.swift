// What ops have in common that compute nothing: their result is elements of an operand, where they lie.

import ApusGraph

/// An op whose result is another name for elements of one of its operands.
///
/// The planner gives such a result no memory of its own where the view is contiguous; an identity's always
/// is, if its operand's is.
package protocol RenamingOp: MovingOp {
  /// Which of `count` operands the result is elements of.
  func renamedOperand(of count: Int) -> Int
  /// The result as a view of what that operand is a view of, nil where strides cannot express it.
  func view(of operand: View) -> View?
}

/// A renaming op with one operand that only says where elements lie, so that readers can look through it.
///
/// `stopGradient` and its like rename too, but are kept until nobody needs to know of them.
package protocol ViewOp: RenamingOp {}

extension ViewOp {
  package func renamedOperand(of count: Int) -> Int { 0 }
}
