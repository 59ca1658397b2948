// The types of what a layer computes, before anything has a value.

import ApusGraph

extension ModelState {
  /// Whether states without values are recorded as inputs: nobody runs what is recorded.
  @TaskLocal static var isOutlined = false
}

extension Layer {
  /// The type of what the layer makes of an input of that type, in evaluation. It need not be initialised, and
  /// nothing is drawn.
  ///
  ///     try Conv2d(1, 8, 3).outlined(.f32(2, 28, 28, 1))   // f32[2,26,26,8]
  ///
  /// - Throws: mistakes of the layer, such as `shapeMismatch` for an input that it does not take.
  package func outlined(_ input: TensorType) throws -> TensorType {
    let trace = Trace()
    trace.mode = .evaluation
    return try Trace.$current.withValue(trace) {
      let result = ModelState.$isOutlined.withValue(true) { self(trace.input("x", input)) }
      try trace.check()
      return result.type
    }
  }
}
