// What the losses of many elements or rows become.

import ApusGraph

/// What a loss over many elements or rows becomes.
public enum LossReduction: String, Sendable, Hashable, CaseIterable {
  /// A loss for each.
  case none
  /// Their sum.
  case sum
  /// Their mean. Where classes have weights, the sum over the rows' total weight: what PyTorch calls
  /// `mean`.
  case mean
}

extension Tensor {
  /// The losses of this tensor reduced: as they are, their sum or their mean.
  ///
  ///     abs(prediction - target).reduced(by: .mean)   // f32[64,3] → f32[]
  ///
  /// The mean of no elements is NaN, as the mean's.
  public func reduced(
    by reduction: LossReduction, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    switch reduction {
    case .none: self
    case .sum: sum(file: file, line: line)
    case .mean: mean(file: file, line: line)
    }
  }
}
