// By which rules a `minimize` updates, and how large it lets gradients be.

import ApusGraph
import ApusNN
import ApusOps

extension StepRecorder {
  /// The rule of each parameter.
  struct Rules {
    let all: [(pattern: String, optimizer: any Optimizer)]

    /// - Throws: `invalidArgument` for settings that make no sense.
    init(_ optimizer: any Optimizer, _ groups: ParameterGroups) throws {
      all = groups.map { ($0.key, $0.value) } + [("*", optimizer)]
      for (_, optimizer) in all { try optimizer.validate() }
    }

    /// All of them in words, as checkpoints compare them.
    func text(_ limit: GradientLimit) -> String {
      all[all.count - 1].optimizer.rule
        + all.dropLast().map { "; \($0.pattern): \($0.optimizer.rule)" }.joined() + limit.text
    }
  }
}

/// How large the gradients of a `minimize` may be; both nil where nothing is said.
struct GradientLimit {
  /// Of all together, by their L2 norm.
  let norm: Double?
  /// Of each element.
  let value: Double?

  /// - Throws: `invalidArgument` for what is no limit, or for both.
  init(norm: Double?, value: Double?) throws {
    for (name, limit) in [("clipNorm", norm), ("clipValue", value)] {
      // Not `limit <= 0`: a NaN is no limit.
      if let limit, !(limit > 0) {
        throw ApusError(.invalidArgument, "\(name) is \(limit)", expected: "a number above 0")
      }
    }
    if let norm, let value {
      throw ApusError(
        .invalidArgument, "gradients are clipped by norm (\(norm)) and by value (\(value))",
        expected: "one of both")
    }
    self.norm = norm
    self.value = value
  }

  var isSet: Bool { norm != nil || value != nil }

  /// In words, as checkpoints compare them.
  var text: String {
    (norm.map { ", clipNorm: \($0)" } ?? "") + (value.map { ", clipValue: \($0)" } ?? "")
  }

  /// The gradients, none of them beyond the limit.
  ///
  /// - `joint`: their norm, where there is a limit for it.
  func applied(to gradients: [Tensor], _ joint: Tensor?) -> [Tensor] {
    if let norm, let joint {
      // As PyTorch's clip_grad_norm_: 1e-6 keeps a zero gradient from dividing by zero.
      let scale = minimum(joint.scalar(norm) / (joint + 1e-6), joint.scalar(1))
      return gradients.map { $0 * scale }
    }
    if let value { return gradients.map { clamp($0, low: -value, high: value) } }
    return gradients
  }
}
