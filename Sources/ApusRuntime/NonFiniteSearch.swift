// Finds the first op that makes a NaN or an infinity out of finite numbers (`APUS_CHECK=nan`).

import ApusGraph

/// Looks at what a step reads before it runs and at what it wrote after.
struct NonFiniteSearch {
  private let binding: Binding
  /// What the operands of the step to be run hold.
  private var read: NonFinite = []

  init(_ binding: Binding) { self.binding = binding }

  /// - Throws: `nonFinite` where an input or a state holds a NaN before the run.
  func start(_ plan: Plan) throws {
    for (ports, kind) in [(plan.inputs, "input"), (plan.states, "state")] {
      for port in ports where scan(port.type, port.place).contains(.nan) {
        throw ApusError(
          .nonFinite, "\(kind) '\(port.name)' holds a NaN before the run",
          expected: "finite numbers")
      }
    }
  }

  mutating func before(_ step: Plan.Step) {
    read = step.operands.reduce(into: []) { found, access in
      found.formUnion(scan(access.type.dtype, access.place.space, access.extent))
    }
  }

  /// - Throws: `nonFinite` naming the op, where it made a NaN or an infinity that it had not read.
  func after(_ step: Plan.Step) throws {
    for result in step.results {
      let made = scan(result.type, result.place).subtracting(read)
      // inf - inf is how an infinity that was read becomes a NaN: still a NaN made here.
      guard !made.isEmpty else { continue }
      throw ApusError(
        .nonFinite,
        "\(step.mnemonic) made \(made.contains(.nan) ? "a NaN" : "an infinity") in \(result.name) "
          + "\(result.type)",
        at: step.origins.map(\.description).filter { !$0.isEmpty }.joined(separator: ", "),
        expected: "finite numbers")
    }
  }

  private func scan(_ type: TensorType, _ place: Place) -> NonFinite {
    scan(type.dtype, place.space, place.offset..<place.offset + type.byteCount)
  }

  private func scan(_ dtype: DType, _ space: Place.Space, _ bytes: Range<Int>) -> NonFinite {
    guard dtype.isFloat, !bytes.isEmpty,
      let base = binding.address(of: Place(space: space, offset: bytes.lowerBound))
    else { return [] }
    return NonFinite(in: UnsafeRawBufferPointer(start: base, count: bytes.count), of: dtype)
  }
}
