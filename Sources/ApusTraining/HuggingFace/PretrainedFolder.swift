// A folder of Hugging Face: the weights' files and which array stands in which.

import ApusData
import ApusGraph
import ApusNN

/// The files of a model's folder, opened and checked against each other.
///
///     config.json
///     model.safetensors                       or
///     model.safetensors.index.json            {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors", …}}
package struct PretrainedFolder {
  static let configurationName = "config.json"
  static let weightsName = "model.safetensors"
  static let indexName = "model.safetensors.index.json"
  let path: String
  let configurationPath: String
  private let files: [SafetensorsFile]
  /// The place of an array's file in `files`.
  private let places: [ByteName: Int]
  /// All arrays, file by file.
  package let names: [String]

  /// - Throws: `io` naming a file that is not there, `unsupported` for weights in another format, `invalidFile` or
  ///   `parse` with the byte offset, `missing` for an array that stands in the index alone.
  package init(_ folder: String) throws {
    path = folder.hasSuffix("/") && folder.count > 1 ? String(folder.dropLast()) : folder
    configurationPath = "\(path)/\(Self.configurationName)"
    let single = "\(path)/\(Self.weightsName)", index = "\(path)/\(Self.indexName)"
    if TextFile.exists(single) {
      files = [try SafetensorsFile(single)]
    } else if TextFile.exists(index) {
      files = try Self.shards(index, in: path)
    } else {
      let old = "\(path)/pytorch_model.bin"
      guard !TextFile.exists(old) else {
        throw ApusError(
          .unsupported, "the weights are a Python pickle", at: old,
          expected: "\(Self.weightsName): save_pretrained(…, safe_serialization=True) writes it")
      }
      throw ApusError(
        .io, "there are no weights in the folder", at: path,
        expected: "\(Self.weightsName), or \(Self.indexName) and its files")
    }
    var places: [ByteName: Int] = [:]
    for (place, file) in files.enumerated() {
      for name in file.names {
        guard places.updateValue(place, forKey: ByteName(name)) == nil else {
          throw ApusError(
            .invalidFile, "the array '\(name)' stands in two files", at: file.path,
            expected: "each array in one of them")
        }
      }
    }
    self.places = places
    names = files.flatMap(\.names)
  }

  private static func shards(_ index: String, in folder: String) throws -> [SafetensorsFile] {
    let json: JSON
    do {
      json = try JSON(parsing: TextFile.contents(index))
    } catch var error as ApusError where error.kind == .parse {
      error.location = [index, error.location].compactMap { $0 }.joined(separator: ", ")
      throw error
    }
    guard let map = json["weight_map"]?.members else {
      throw ApusError(
        .invalidFile, "there is no 'weight_map'", at: index, expected: "an object of file names")
    }
    var wanted: [(file: String, arrays: [String])] = []
    var places: [String: Int] = [:]
    for (name, value) in map {
      guard let file = value.string, !file.isEmpty, !file.contains("/"), file != "..", file != "."
      else {
        throw ApusError(
          .invalidFile, "'weight_map' has \(value.text) for '\(name)'", at: index,
          expected: "the name of a file in the folder")
      }
      if let place = places[file] {
        wanted[place].arrays.append(name)
      } else {
        places[file] = wanted.count
        wanted.append((file, [name]))
      }
    }
    return try wanted.map { file, arrays in
      let opened = try SafetensorsFile("\(folder)/\(file)")
      for name in arrays where opened.entry(name) == nil {
        throw ApusError(
          .missing, "there is no tensor '\(name)' in the file", at: opened.path,
          expected: "the arrays that \(index) lists for it")
      }
      return opened
    }
  }

  /// The file that an array stands in.
  private func file(of name: String) throws -> SafetensorsFile {
    guard let place = places[ByteName(name)] else {
      throw ApusError(.missing, "there is no tensor '\(name)'", at: path, expected: "another name")
    }
    return files[place]
  }

  func path(of name: String) throws -> String { try file(of: name).path }

  func shape(of name: String) throws -> Shape { try file(of: name).entry(name)?.shape ?? [] }

  func array(_ name: String) throws -> NDArray { try file(of: name).array(name) }
}
