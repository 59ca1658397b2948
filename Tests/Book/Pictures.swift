// The examples of Docs/Pictures.md.

import Apus
import Foundation
import Testing

@Suite struct Pictures {
  @Test func whatANetworkLooksAt() throws {
    let folder = try Book.folder()
    let model = LeNet()
    try model.initialize(seed: 1)
    let batch = NDArray(
      (0..<8 * 784).map { Float($0 * 7 % 29) / 29 }, shape: [8, 28, 28, 1])
    let image = try batch[0]
    try Picture(image).write(png: "\(folder)/image.png")
    try Picture(batch, scale: .range(0...1), columns: 4).enlarged(by: 4).write(
      png: "\(folder)/batch.png")
    let explainer = try Explainer(model)
    let said = try explainer.classes(batch)  // [Int]
    let heat = try explainer.saliency(image, classes: [3])  // [1, 28, 28, 1]
    try Picture(heat, map: .magma).write(png: "\(folder)/saliency.png")
    #expect(said.count == 8 && heat.shape == [1, 28, 28, 1])
    let filters = try model.conv1.weight.value()  // [32, 3, 3, 1]
    try Picture(filters, scale: .symmetric).enlarged(by: 8).write(png: "\(folder)/filters.png")
    let maps = try explainer.features(image, of: "conv2")  // [1, 14, 14, 64]
    try Picture(channelsOf: maps, map: .viridis).write(png: "\(folder)/maps.png")
    #expect(filters.shape == [32, 3, 3, 1] && maps.shape == [1, 14, 14, 64])
    let why = try explainer.gradCAM(image, layer: "conv2")  // [1, 14, 14, 1]
    try Picture(image).enlarged(by: 4).overlaid(with: why, opacity: 0.4)
      .write(png: "\(folder)/why.png")
    print(try explainer.layers(for: image).map(\.path))  // ["conv1", "conv2"]
    #expect(why.shape == [1, 14, 14, 1])
    #expect(try explainer.layers(for: image).map(\.path) == ["conv1", "conv2"])
    let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    #expect(
      files == [
        "batch.png", "filters.png", "image.png", "maps.png", "saliency.png", "why.png",
      ])
    let look = try Predictor(model) { model, inputs in
      let (logits, maps) = try model.capturing(["conv1", "fc1"]) { model(inputs[0]) }
      return [softmax(logits, axis: -1)] + maps
    }
    let results = try look.run([batch])
    #expect(results.map(\.shape) == [[8, 10], [8, 28, 28, 32], [8, 128]])
    let trainer = try Trainer(model, optimizer: Adam()) { model, batch in
      let (logits, hidden) = try model.capturing(["fc1"]) { model(batch.images) }
      return crossEntropy(logits, batch.labels) + 1e-4 * abs(hidden[0]).mean()
    }
    let labels = NDArray((0..<8).map { Int32($0) }, shape: [8])
    let learnt = Batch(["images": batch, "labels": labels])
    #expect(try trainer.train(on: learnt).loss > trainer.train(on: learnt).loss)
  }
}
