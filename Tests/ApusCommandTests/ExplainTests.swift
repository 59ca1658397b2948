// `apus explain`: pictures of a network in a folder, and what is told of mistakes.

import Apus
import Foundation
import TestSupport
import Testing

@Suite struct ExplainTests {
  private func weights(_ model: some Layer, _ folder: URL) throws -> String {
    let path = folder.appendingPathComponent("w.safetensors").path
    try model.initialize(seed: 2)
    try model.save(path)
    return path
  }

  private func picture(_ folder: URL, _ name: String) throws -> DecodedPNG {
    try DecodedPNG([UInt8](Data(contentsOf: folder.appendingPathComponent(name))))
  }

  @Test func picturesOfALeNet_areWritten() throws {
    try withFolder { folder in
      let path = try weights(LeNet(), folder)
      let output = folder.appendingPathComponent("pictures/of/it")
      let run = try apus(
        "explain", "fashion-mnist-cnn", "--weights", path, "--output", output.path, "--count", "3")
      #expect(run.status == 0, "\(run.errors)")
      let files = ["features.png", "filters.png", "grad-cam.png", "images.png", "saliency.png"]
      #expect(try names(in: output) == files)
      #expect(run.lines.count == files.count + 3)
      for file in files { #expect(run.output.contains("\(output.path)/\(file): "), "\(file)") }
      #expect(run.lines.last?.hasPrefix("image 3: ") == true)
      // Three images of 28 x 28, four times as large, in two columns.
      let images = try picture(output, "images.png")
      #expect(images.channels == 1 && images.width == 228 && images.height == 228)
      // Two pairs a row.
      let saliency = try picture(output, "saliency.png")
      #expect(saliency.channels == 3 && saliency.width == 4 * 112 + 12 && saliency.height == 228)
      // 32 filters of 3 x 3 in six columns, eight times as large.
      let filters = try picture(output, "filters.png")
      #expect(filters.width == 8 * (6 * 3 + 5) && filters.height == 8 * (6 * 3 + 5))
      #expect(Set(filters.pixels).count > 50)
    }
  }

  @Test func picturesOfAResidualNetwork_showClassActivationToo_andAsJSON() throws {
    try withFolder { folder in
      let path = try weights(ResNet.cifar(blocks: 2, channels: 1), folder)
      let run = try apus(
        "explain", "fashion-mnist-resnet", "--weights", path, "--output", folder.path, "--layer",
        "layer3.1", "--count", "1", "--json")
      #expect(run.status == 0 && run.lines.count == 1, "\(run.errors)")
      let result = try JSON(parsing: run.output)
      #expect(result["event"] == "pictures" && result["files"]?.elements?.count == 6)
      let file = result["files"]?.elements?.last
      #expect(file?["path"]?.string == folder.path + "/class-activation.png")
      #expect(file?["content"]?.string?.contains("layer3.1") == true)
      // The first test image is an ankle boot.
      #expect(result["images"]?.elements?.first?["label"] == "Ankle boot")
      #expect(try picture(folder, "class-activation.png").width == 2 * 112 + 4)
      #expect(try picture(folder, "features.png").channels == 3)
    }
  }

  @Test(arguments: [
    (["fashion-mnist"], "has no pictures"), (["mlp_tiny"], "has no pictures"),
    (["fashion-mnist-cnn", "--count", "0"], "--count is 0"),
    (["fashion-mnist-cnn", "--count", "101"], "from 1 to 100"),
    (["fashion-mnist-cnn", "--layer", ""], "--layer is empty"),
    (["fashion-mnist-cnn", "--colour", "red"], "--colour"), ([], "Missing expected argument"),
  ])
  func usageErrors_exitWith64(arguments: [String], words: String) throws {
    let run = try CommandProcess(["explain"] + arguments).finish()
    #expect(run.status == 64 && run.output.isEmpty)
    #expect(run.errors.contains(words), "\(run.errors)")
  }

  @Test func weightsAndLayersThatAreNot_areTold_andNothingIsWritten() throws {
    try withFolder { folder in
      let path = try weights(LeNet(), folder)
      let output = folder.appendingPathComponent("pictures")
      func explain(_ arguments: String...) throws -> CommandRun {
        try CommandProcess(["explain", "--output", output.path] + arguments).finish()
      }
      let none = try explain("fashion-mnist-cnn", "--weights", "/nowhere/w.safetensors")
      #expect(none.status == 1 && none.errors.contains("/nowhere/w.safetensors"))
      let other = try explain("fashion-mnist-resnet", "--weights", path)
      #expect(other.status == 1 && other.errors.contains("conv1.weight"), "\(other.errors)")
      let layer = try explain("fashion-mnist-cnn", "--weights", path, "--layer", "conv3")
      #expect(layer.status == 1 && layer.errors.contains("conv1"), "\(layer.errors)")
      let flat = try explain("fashion-mnist-cnn", "--weights", path, "--layer", "fc1")
      #expect(flat.status == 1 && flat.errors.contains("no places"), "\(flat.errors)")
      let left = (try? names(in: output)) ?? []
      #expect(left.isEmpty)
    }
  }
}
