// What stands in a folder, sorted, without Foundation.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Lists folders.
package enum Folder {
  /// The names of a folder's entries in the order of their bytes, hidden ones left out.
  ///
  /// - `folders`: whether those of folders or those of regular files are wanted. Links are followed; what leads nowhere,
  ///   and pipes and devices, are left out.
  /// - Throws: `io` where the folder cannot be read.
  package static func names(in path: String, folders: Bool) throws -> [String] {
    guard let stream = opendir(path) else {
      throw systemError("open the folder", path, expected: "a folder")
    }
    defer { closedir(stream) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = readdir(stream) else { break }
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name.hasPrefix(".") { continue }
      var status = stat()
      guard stat("\(path)/\(name)", &status) == 0 else { continue }
      let kind = status.st_mode & S_IFMT
      if kind == (folders ? S_IFDIR : S_IFREG) { names.append(name) }
    }
    guard errno == 0 else { throw systemError("read the folder", path) }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// The regular files below a folder at any depth whose names end in one of `suffixes` (in lower case, with the dot), in
  /// torchvision's order: folders by their whole paths, and each one's files by their names.
  ///
  /// - Throws: `io` where a folder cannot be read, or is reached twice: a link may lead back to where it stands.
  package static func files(below path: String, suffixes: [String]) throws -> [String] {
    var folders: [String] = []
    var seen = Set<Place>()
    var waiting = [path]
    while let folder = waiting.popLast() {
      var status = stat()
      guard stat(folder, &status) == 0 else { throw systemError("examine the folder", folder) }
      guard
        seen.insert(Place(device: UInt64(status.st_dev), number: UInt64(status.st_ino))).inserted
      else {
        throw ApusError(
          .io, "the folder is reached twice", at: folder,
          expected: "each once; a link may lead back to where it stands")
      }
      folders.append(folder)
      waiting += try names(in: folder, folders: true).map { "\(folder)/\($0)" }
    }
    return try folders.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.flatMap { folder in
      try names(in: folder, folders: false).filter { name in
        let lower = name.lowercased()
        return suffixes.contains { lower.hasSuffix($0) }
      }.map { "\(folder)/\($0)" }
    }
  }

  /// Which folder it is, whatever the way to it.
  private struct Place: Hashable {
    let device: UInt64
    let number: UInt64
  }
}

/// Files in a folder for each class.
package struct ClassFolders: Sendable {
  /// The names of the folders, in the order of their bytes.
  package let classNames: [String]
  package let paths: [String]
  /// Places in `classNames`, one for each path.
  package let labels: [Int]

  /// - `suffixes`: of the files that count, in lower case with the dot.
  /// - Throws: `io` where a folder cannot be read, `missing` where there is no folder, or none of its files counts: an
  ///   empty class is a mistake.
  package init(_ root: String, suffixes: [String]) throws {
    classNames = try Folder.names(in: root, folders: true)
    guard !classNames.isEmpty else {
      throw ApusError(
        .missing, "there is no folder of a class", at: root, expected: "a folder for each class")
    }
    var paths: [String] = []
    var labels: [Int] = []
    for (label, name) in classNames.enumerated() {
      let own = try Folder.files(below: "\(root)/\(name)", suffixes: suffixes)
      guard !own.isEmpty else {
        throw ApusError(
          .missing, "the class '\(name)' has no file", at: "\(root)/\(name)",
          expected: "files that end in one of \(suffixes.joined(separator: ", "))")
      }
      paths += own
      labels += [Int](repeating: label, count: own.count)
    }
    self.paths = paths
    self.labels = labels
  }
}
