// A configured run's model for use elsewhere: weights in a format of others, and what they have to know.

import Apus

/// The formats that weights are exported in.
package enum ExportFormat: String, Sendable, CaseIterable {
  /// For PyTorch, JAX, MLX and others.
  case safetensors
  /// For NumPy.
  case npz
}

extension ConfiguredRun {
  /// Writes the weights, the configuration and what goes into the model into a folder.
  ///
  /// - `layout`: `.channelsFirst` for PyTorch's convolutions.
  /// - Returns: the files.
  /// - Throws: what reading the run throws; `io` where the folder cannot be written; `invalidArgument` for the run's own
  ///   folder.
  package func export(
    to target: String, _ format: ExportFormat, layout: WeightLayout = .channelsLast,
    weights: String? = nil
  ) throws -> [String] {
    guard target != folder else {
      throw ApusError(
        .invalidArgument, "a run is not exported into itself", at: target,
        expected: "another folder")
    }
    let (model, signature) = try model(weights)
    try RunFolder.make(target, for: "the export")
    let file = "\(target)/weights.\(format.rawValue)"
    let arrays = try model.savedArrays(layout, for: file)
    switch format {
    case .safetensors: try model.save(file, layout: layout)
    case .npz: try NPZ.write(arrays, to: file)
    }
    let loss = try configured().lossConfiguration
    let description = signature.json(outputs: [loss.outputs(signature)], loss: loss.name)
    let layers: [(String, JSON)] = [
      ("layers", configuration.resolved["model"] ?? .null),
      (
        "weights",
        .object(
          arrays.sorted { $0.key < $1.key }.map { name, array in
            (name, .array(array.shape.dimensions.map { .integer($0) }))
          })
      ),
      ("layout", layout == .channelsFirst ? "channels_first" : "channels_last"),
    ]
    let own = RunFolder(target)
    let files = [file, Self.signatureFile(in: own), own.configuration]
    try AtomicFile.write(
      JSON.object((description.members ?? []) + layers).lines + "\n", to: files[1])
    try AtomicFile.write(configuration.text, to: files[2])
    return files
  }
}
