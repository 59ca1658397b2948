// What recurrent layers tell somebody who looks at their steps while a model is recorded.

import ApusGraph

/// Collects what recurrent layers do: who measures how gradients come back through time has one.
///
///     let watch = RecurrenceWatch()
///     let loss = try RecurrenceWatch.$current.withValue(watch) { try loss(model, batch) }
///     watch.layers[0].sums   // what the gates of each step take in
package final class RecurrenceWatch: @unchecked Sendable {  // of the thread that records
  @TaskLocal package static var current: RecurrenceWatch?

  /// One application of a module: layers on top of each other, in one or two directions.
  package struct Layers {
    /// The module's path.
    package let path: String
    /// 1, or 2 where there is a backward direction.
    package let directions: Int
    /// What the top layer gives: `[batch, time, directions · hidden]`.
    package let outputs: Tensor
    /// The last states: `[layers · directions, batch, hidden]` each.
    package let last: [Tensor]
    /// `i32[batch]`.
    package let lengths: Tensor?
    /// What the gates of each step take in, `[time, batch, gates · hidden]`: by layer, by direction.
    package let sums: [Tensor]
  }

  package private(set) var layers: [Layers] = []
  private var sums: [Tensor] = []

  package init() {}

  func begin() { sums = [] }

  func note(sums tensor: Tensor) { sums.append(tensor) }

  func end(path: String, directions: Int, outputs: Tensor, last: [Tensor], lengths: Tensor?) {
    layers.append(
      Layers(
        path: path, directions: directions, outputs: outputs, last: last, lengths: lengths,
        sums: sums))
    sums = []
  }
}
