// A folder of pictures as a configuration's data: learnt, evaluated, and asked about a picture of another size.

import Apus
import Foundation
import Testing

@Suite struct ImageFolderRunTests {
  /// A picture whose left or right part is bright.
  private func picture(_ height: Int, _ width: Int, isRight: Bool, _ number: Int) -> Data {
    var data = Data("P6\n\(width) \(height)\n255\n".utf8)
    for y in 0..<height {
      for x in 0..<width {
        let isBright = (2 * x >= width) == isRight
        for channel in 0..<3 {
          data.append(UInt8((isBright ? 190 : 10) + (x * 7 + y * 5 + number + channel) % 50))
        }
      }
    }
    return data
  }

  private func withPictures(_ body: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-pets-\(UUID())")
    defer { try? FileManager.default.removeItem(at: folder) }
    for part in ["train", "test"] {
      for (place, name) in ["left", "right"].enumerated() {
        let own = folder.appending(path: "\(part)/\(name)")
        try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
        for number in 0..<20 {
          try picture(9 + number % 5, 12 + number % 7, isRight: place == 1, number)
            .write(to: own.appending(path: "\(number).ppm"))
        }
      }
    }
    try body(folder)
  }

  private func configuration(_ folder: URL, _ data: String) throws -> String {
    let file = folder.appending(path: "run.yaml")
    try """
    folder: \(folder.appending(path: "run").path)
    model: [flatten, linear: 2]
    data: {name: image_folder, train: \(folder.appending(path: "train").path), batch: 8, \(data)}
    optimizer: {name: adam, rate: 1e-2}
    epochs: 6
    """.write(to: file, atomically: true, encoding: .utf8)
    return file.path
  }

  @Test func picturesOfAnySize_areLearntEvaluatedAndToldApart() throws {
    try withPictures { folder in
      let test = folder.appending(path: "test").path
      let file = try configuration(
        folder,
        "test: \(test), height: 8, width: 10, fit: cropped, augment: [random_vertical_flip]")
      let run = try apus("train", file, "--json")
      #expect(run.status == 0, "\(run.errors)")
      #expect(try JSON(parsing: try #require(run.lines.last))["test_accuracy"]?.double == 1)

      let place = folder.appending(path: "run").path
      let evaluated = try apus("evaluate", place, "--json")
      #expect(evaluated.status == 0, "\(evaluated.errors)")
      for (name, isRight) in [("left", false), ("right", true)] {
        let path = folder.appending(path: "\(name).ppm")
        try picture(31, 44, isRight: isRight, 5).write(to: path)
        let told = try apus("predict", place, path.path)
        #expect(told.status == 0 && told.lines.last?.contains(name) == true, "\(told.errors)")
      }
      let model = try JSON(
        parsing: String(contentsOfFile: place + "/model.json", encoding: .utf8))
      #expect(model["input"]?["shape"] == [8, 10, 3] && model["input"]?["fit"] == "cropped")
      #expect(model["output"]?["class_names"] == ["left", "right"])
      try model.text.replacing("cropped", with: "cut")
        .write(toFile: place + "/model.json", atomically: true, encoding: .utf8)
      let damaged = try apus("predict", place, folder.appending(path: "left.ppm").path)
      #expect(
        damaged.status == 1 && damaged.errors.contains("fitted by 'cut'"), "\(damaged.errors)")
    }
  }

  @Test func aPartIsHeldOut_whereThereIsNoTest() throws {
    try withPictures { folder in
      let file = try configuration(folder, "height: 8, channels: gray, validation: 0.25")
      let run = try apus("train", file, "--json")
      #expect(run.status == 0, "\(run.errors)")
      let last = try JSON(parsing: try #require(run.lines.last))
      #expect(last["test_accuracy"]?.double == 1, "\(run.lines.last ?? "")")
      // A file that is no picture any more is named.
      let broken = folder.appending(path: "train/left/3.ppm")
      try Data("P6\n4 4\n255\n".utf8).write(to: broken)
      let again = try apus("train", file, "--set", "folder=\(folder.path)/again")
      #expect(again.status == 1 && again.errors.contains("left/3.ppm"), "\(again.errors)")
    }
  }

  @Test func mistakesAreNamed() throws {
    try withPictures { folder in
      let lost = try configuration(folder, "fit: stretched")
      let run = try apus("train", lost)
      #expect(run.status == 1 && run.errors.contains("data.height is not there"), "\(run.errors)")

      let other = folder.appending(path: "other/up")
      try FileManager.default.createDirectory(at: other, withIntermediateDirectories: true)
      try picture(4, 4, isRight: true, 0).write(to: other.appending(path: "a.ppm"))
      for (data, words) in [
        ("height: 8, test: \(folder.path)/other", "the classes of the test are up"),
        ("height: 8, fit: squeezed", "squeezed"), ("height: 0", "data.height"),
        ("height: 8, channels: cmyk", "cmyk"),
        ("height: 8, augment: [random_crop: 5]", "the images become f32[5,5,3]"),
        ("height: 8, test: \(folder.path)/nowhere", "nowhere"),
      ] {
        let run = try apus("train", try configuration(folder, data))
        #expect(run.status != 0 && run.errors.contains(words), "\(data): \(run.errors)")
      }
    }
  }
}
