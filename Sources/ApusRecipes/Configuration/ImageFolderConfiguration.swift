// Pictures in a folder for each class, as a configuration says them.

import Apus
import ApusImages

/// Folders of pictures to learn from and to be judged by, and the size that all come to.
///
///     data: { name: image_folder, train: pets/train, test: pets/test, height: 64, width: 96, fit: cropped }
struct ImageFolderConfiguration: Sendable {
  private let train: String
  private let test: String?
  private let height: Int
  private let width: Int
  private let fit: ImageFolder.Fit
  private let channels: ImageFile.Channels

  var hasTest: Bool { test != nil }

  /// - Throws: what reading keys throws.
  init(_ reader: ConfigurationReader) throws {
    train = try reader.required("train") as String
    test = try reader.optional("test")
    height = try reader.required("height", .between(1, 4096))
    width = try reader.value("width", height, .between(1, 4096))
    fit = try ImageFolder.Fit(
      rawValue: reader.choice("fit", "stretched", of: ["stretched", "cropped"]))!
    channels = try reader.choice("channels", "rgb", of: ["rgb", "gray"]) == "gray" ? .gray : .rgb
  }

  /// Lists the pictures; none is read.
  ///
  /// - Throws: as `ImageFolder`; `invalidFile` where the test has other classes.
  func folders() throws -> (training: ImageFolder, test: ImageFolder?) {
    let training = try folder(train)
    let rest = try test.map { try folder($0) }
    if let rest, rest.classNames != training.classNames {
      func names(_ all: [String]) -> String {
        all.prefix(8).joined(separator: ", ") + (all.count > 8 ? ", …" : "")
      }
      throw ApusError(
        .invalidFile, "the classes of the test are \(names(rest.classNames))", at: test,
        expected: "a folder for each class of \(train): \(names(training.classNames))")
    }
    return (training, rest)
  }

  private func folder(_ path: String) throws -> ImageFolder {
    try ImageFolder(path, height: height, width: width, fit: fit, channels: channels)
  }

  /// What a model of such pictures takes and tells.
  func signature(_ images: ImageFolder) -> ModelSignature {
    var signature = ModelSignature(
      input: images.fields[0].type.shape.dimensions, inputName: "images", target: "labels",
      classes: images.classNames.count, classNames: images.classNames, pixels: "unit")
    signature.fit = fit
    return signature
  }
}
