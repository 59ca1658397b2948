// The folder of a configured run: what stands in it, and who may write there.

import Apus
import Foundation

/// A run of a configuration, in its folder.
///
///     runs/fashion/config.json            every key with its value: `apus train` makes the same run of it
///     runs/fashion/model.json             what goes into the model and what comes out
///     runs/fashion/weights.safetensors    at the end
///
/// and what `RunFolder` has besides.
package struct ConfiguredRun {
  package let configuration: RunConfiguration
  package let files: RunFolder
  package let recipe: any TrainableRecipe
  package let options: RecipeOptions

  package var folder: String { files.path }
  var signatureFile: String { Self.signatureFile(in: files) }

  static func signatureFile(in files: RunFolder) -> String { files.file("model.json") }

  /// - `folder`: where the run stands, where that is not what the configuration says: it may have been moved.
  package init(_ configuration: RunConfiguration, in folder: String? = nil) throws {
    self.configuration = configuration
    let path = folder ?? configuration.folder
    files = RunFolder(path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path)
    (recipe, options) = try configuration.recipe()
  }

  /// The run that stands in a folder.
  ///
  /// - Throws: `io` where there is none, `invalidFile` for a configuration that is damaged, and what reading it throws.
  package init(openedIn folder: String) throws {
    let file = RunFolder(folder).configuration
    guard TextFile.exists(file) else {
      throw ApusError(
        .io, "there is no run: no file config.json", at: folder,
        expected: "the folder of a run that 'apus train' wrote from a configuration")
    }
    let text = try TextFile.contents(file, expected: "a run's configuration")
    let node = try ConfigurationNode(json: text, path: file)
    try self.init(RunConfiguration(node, name: "run"), in: folder)
  }

  /// The run, ready to start. The folder is made, and what the run is stands in it.
  ///
  /// - `resume`, `progress`, `isInterrupted`, `hearGradients`, `hearEvidence`: as for `RecipeRun`.
  /// - Throws: `invalidArgument` where the folder has another run; `io` where it cannot be written; what reading the data
  ///   throws.
  package func prepared(
    compile: CompileOptions, resume: String? = nil, progress: [any Callback] = [],
    isInterrupted: @escaping () -> Bool = { false },
    hearGradients: ((Int, GradientReport) -> Void)? = nil,
    hearEvidence: ((RunEvidence) throws -> Void)? = nil
  ) throws -> RecipeRun {
    // Of several processes the first writes.
    if compile.processes?.isFirst ?? true { try prepareFolder(resumes: resume != nil) }
    return RecipeRun(
      recipe, options, compile: configuration.compileOptions(compile), files: files,
      resume: resume, every: configuration.checkpoint ?? .time(.seconds(600)),
      isQuick: configuration.isQuick, progress: progress, isInterrupted: isInterrupted,
      hearGradients: hearGradients, hearEvidence: hearEvidence)
  }

  private func prepareFolder(resumes: Bool) throws {
    // A model that cannot be made leaves nothing behind.
    let signature = try (recipe as? ConfiguredRecipe)?.signatureText()
    try RunFolder.make(folder, for: "the run")
    if !resumes, hasResults {
      let old = try? JSON(parsing: TextFile.contents(files.configuration, expected: "JSON"))
      guard old?.isSameRun(as: configuration.resolved) == true else {
        throw ApusError(
          .invalidArgument, "the folder has another run", at: folder,
          expected: "another folder (--set folder=…), or --resume")
      }
    }
    try AtomicFile.write(configuration.text, to: files.configuration)
    if let signature { try AtomicFile.write(signature + "\n", to: signatureFile) }
  }

  /// Whether something was learnt in the folder.
  private var hasResults: Bool {
    let checkpoint = files.checkpoint
    return [files.weights, files.metrics, checkpoint, AtomicFile.previous(checkpoint)].contains {
      TextFile.exists($0)
    }
  }

  /// The recipe, as one whose model is known.
  ///
  /// - Throws: `unsupported` for a recipe of the command's.
  func configured() throws -> ConfiguredRecipe {
    guard let recipe = recipe as? ConfiguredRecipe else {
      throw ApusError(
        .unsupported, "\(recipe.name) is a recipe, whose inputs have a form of their own",
        at: folder,
        expected: "the run of a configuration with a model")
    }
    return recipe
  }

  /// What goes into the model, without its data.
  ///
  /// - Throws: `io` or `invalidFile` where the file is not what the run wrote.
  func signature() throws -> ModelSignature {
    try ModelSignature(
      parsing: TextFile.contents(signatureFile, expected: "what goes into the model"),
      path: signatureFile)
  }

  /// The model with what it has learnt.
  ///
  /// - `weights`: another file than the run's own.
  /// - Throws: what reading the files throws.
  func model(_ weights: String? = nil) throws -> (ConfiguredModel, ModelSignature) {
    let recipe = try configured()
    let signature = try signature()
    let model = try recipe.model(for: signature)
    try model.load(weights ?? files.weights)
    return (model, signature)
  }
}

extension ConfiguredRecipe {
  /// What goes into the model and what comes out, as JSON.
  func signatureText() throws -> String {
    let signature = try signature()
    _ = try model(for: signature)
    return signature.json(
      outputs: [lossConfiguration.outputs(signature)], loss: lossConfiguration.name
    ).lines
  }
}

extension RunConfiguration {
  /// All keys with their values, as `config.json` has them.
  package var text: String { resolved.lines + "\n" }

  /// Every value by the path of its key, for tables: `optimizer.rate`, `model.1.linear.units`.
  package var settings: [(name: String, value: String)] { resolved.leaves("") }
}

extension JSON {
  fileprivate func leaves(_ path: String) -> [(name: String, value: String)] {
    func inner(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
    switch self {
    case .object(let members): return members.flatMap { $0.1.leaves(inner($0.0)) }
    case .array(let values):
      return values.enumerated().flatMap { $0.element.leaves(inner("\($0.offset)")) }
    case .string(let text): return [(path, text)]
    default: return [(path, text)]
    }
  }

  /// Whether two resolved configurations are one run, wherever it stands.
  func isSameRun(as other: JSON) -> Bool {
    func essence(_ json: JSON) -> JSON? {
      json.members.map { .object($0.filter { !["name", "folder", "records"].contains($0.0) }) }
    }
    return essence(self) == essence(other)
  }

  /// The value over several lines, for people: what fits into one stays in one.
  var lines: String { text(indent: "") }

  private func text(indent: String) -> String {
    let line = text
    if line.count + indent.count <= 96 { return line }
    let inner = indent + "  "
    switch self {
    case .array(let values):
      return "[\n" + values.map { inner + $0.text(indent: inner) }.joined(separator: ",\n")
        + "\n\(indent)]"
    case .object(let members):
      let all = members.map { key, value in
        "\(inner)\(JSON.string(key).text): \(value.text(indent: inner))"
      }
      return "{\n" + all.joined(separator: ",\n") + "\n\(indent)}"
    default: return line
    }
  }
}
