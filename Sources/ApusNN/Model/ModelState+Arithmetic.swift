// Parameters and buffers in arithmetic with tensors, without `.tensor`.
//
// Only the forms that models are full of: every further overload of an operator makes the compiler slower
// in all arithmetic of all users.

import ApusGraph
import ApusOps

extension ModelState {
  /// Elementwise sum, as of tensors.
  public static func + (a: ModelState, b: Tensor) -> Tensor { a.tensor + b }
  public static func + (a: Tensor, b: ModelState) -> Tensor { a + b.tensor }

  /// Elementwise difference, as of tensors.
  public static func - (a: ModelState, b: Tensor) -> Tensor { a.tensor - b }
  public static func - (a: Tensor, b: ModelState) -> Tensor { a - b.tensor }
  public static prefix func - (a: ModelState) -> Tensor { -a.tensor }

  /// Elementwise product, as of tensors.
  public static func * (a: ModelState, b: Tensor) -> Tensor { a.tensor * b }
  public static func * (a: Tensor, b: ModelState) -> Tensor { a * b.tensor }

  /// Elementwise quotient, as of tensors.
  public static func / (a: ModelState, b: Tensor) -> Tensor { a.tensor / b }
  public static func / (a: Tensor, b: ModelState) -> Tensor { a / b.tensor }
}
