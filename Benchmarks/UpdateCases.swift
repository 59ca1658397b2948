// Updates of parameters: one array, or many as a network has them.

import Apus

extension MemoryOperation {
  static let updates = [
    update("sgd", SGD(learningRate: 1e-3), flops: 2),
    update("momentum", SGD(learningRate: 1e-3, momentum: 0.9), flops: 4),
    update("adam", Adam(learningRate: 1e-3), flops: 12),
    update("adamw", AdamW(learningRate: 1e-3), flops: 13),
    update("rmsprop", RMSProp(learningRate: 1e-3), flops: 7),
    update("adagrad", Adagrad(learningRate: 1e-3), flops: 6),
    update("lion", Lion(learningRate: 1e-4), flops: 9),
    update("lamb", LAMB(learningRate: 1e-3), flops: 17),
    update("adamw_careful", AdamW(learningRate: 1e-3), flops: 19, isCareful: true),
  ]

  /// How many arrays a shape is of, and what each is.
  private static func parts(_ shape: Shape) -> (count: Int, each: Shape) {
    shape.rank == 1 ? (1, shape) : (shape[0], [shape[1]])
  }

  /// Operands are the parameters, their slots, an average of the parameters where `isCareful`, the gradients and the
  /// optimiser's scalars at its first step.
  ///
  /// - `isCareful`: gradients are clipped by their joint norm, which is a result, and the parameters averaged.
  private static func update(
    _ name: String, _ optimizer: some Optimizer & Sendable, flops: Double, isCareful: Bool = false
  ) -> MemoryOperation {
    let slots = UpdateOutline(optimizer, of: .f32(1)).slots.count
    let kept = slots + (isCareful ? 1 : 0)
    return MemoryOperation(
      .optimizer, name, flops: flops, updated: { (1 + kept) * parts($0).count },
      { shape in
        let (count, each) = parts(shape)
        return [Operand](repeating: Operand(each), count: count)
          + [Operand](repeating: Operand(each, .constant(0)), count: kept * count)
          + [Operand](repeating: Operand(each), count: count)
          + UpdateOutline(optimizer, of: .f32(1)).scalars.map {
            Operand([], .constant(Float($0.value(UpdateTime(step: 0, update: 0)))))
          }
      },
      { operands in
        let scalars = UpdateOutline(optimizer, of: .f32(1)).scalars.count
        let count = (operands.count - scalars) / (2 + kept)
        func arrays(_ place: Int) -> ArraySlice<Tensor> {
          operands[place * count..<(place + 1) * count]
        }
        var gradients = Array(arrays(1 + kept))
        var norm: Tensor?
        if isCareful {
          let joint = jointNorm(gradients)
          let scale = minimum(joint.scalar(1) / (joint + 1e-6), joint.scalar(1))
          gradients = gradients.map { $0 * scale }
          norm = joint
        }
        var results = [[Tensor]](repeating: [], count: 1 + kept)
        for index in 0..<count {
          let outline = UpdateOutline(optimizer, of: operands[index].type)
          var new = outline.record(
            operands[index], gradients[index],
            slots: (0..<slots).map { operands[(1 + $0) * count + index] },
            scalars: Array(operands.suffix(scalars)))
          if isCareful {
            let mean = operands[kept * count + index]
            new.append(mean + (new[0] - mean) * 0.001)
          }
          for (place, array) in new.enumerated() { results[place].append(array) }
        }
        return results.flatMap { $0 } + (norm.map { [$0] } ?? [])
      })
  }
}
