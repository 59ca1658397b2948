// The other form of what is usual both ways: a method for a function of layers, a function for a
// method. Docs/Conventions.md has the rule.

import ApusGraph

extension Tensor {
  /// Probabilities along `axis`; the function of the same name.
  ///
  ///     let p = logits.softmax()   // f32[64,10], each row sums to 1
  public func softmax(
    axis: Int = -1, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { alongAxis(axis, file, line) { Softmax(axis: $0) } }

  /// Logarithms of probabilities along `axis`; the function of the same name.
  ///
  ///     let logP = logits.logSoftmax()   // f32[64,10]
  public func logSoftmax(
    axis: Int = -1, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { alongAxis(axis, file, line) { LogSoftmax(axis: $0) } }
}

/// The matrix product over the last two axes; the method of the same name.
///
///     matmul(images, weight)   // f32[64,784], f32[784,128] → f32[64,128]
public func matmul(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { a.matmul(b, file: file, line: line) }

/// Elements dropped at random with probability `p`, in training alone; the method of the same name.
///
///     let h = dropout(relu(hidden(x)), 0.1)
public func dropout(
  _ x: Tensor, _ p: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { x.dropout(p, file: file, line: line) }
