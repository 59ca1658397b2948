// A model beside a moving average of itself, as checkpoints and callbacks see the two.

import ApusNN

/// A model, and the average of its weights that follows it. The model's states keep their paths; the average's stand
/// under `moving_average`.
struct AveragedModel<Model: Module>: Module {
  let model: Model
  let average: Model

  var parts: [(name: String, value: Any)] {
    model.parts + [("moving_average", average)]
  }
}
