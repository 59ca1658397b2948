// A package of somebody else's, which depends on Apus by version.
//
// SwiftPM refuses unsafe flags, which OpenMP needs, in packages that are used by version unless their
// tools version is 6.2 or later; only a tagged clone shows that it works. The README's program is
// built in the same package.

import Foundation
import Testing

@Suite struct ConsumerTests {
  @Test(.timeLimit(.minutes(20)))
  func packageThatDependsByVersionBuildsAndTrainsAStep() throws {
    let folder = FileManager.default.temporaryDirectory
      .appending(path: "apus-consumer-\(ProcessInfo.processInfo.processIdentifier)")
    try? FileManager.default.removeItem(at: folder)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let apus = folder.appending(path: "apus"), consumer = folder.appending(path: "consumer")
    try copyTree(to: apus)
    try tag(apus, "1.0.0")

    try write(manifest(dependingOn: apus), to: consumer.appending(path: "Package.swift"))
    try write(stepProgram, to: consumer.appending(path: "Sources/Step/main.swift"))
    try write(try readmeProgram, to: consumer.appending(path: "Sources/Readme/main.swift"))
    // What SwiftPM keeps of the temporary repository is kept out of the user's own caches.
    let cache = SourceTree.root.appending(path: ".build/consumer-cache")
    let command = [
      "swift", "build", "--cache-path", cache.path, "--security-path", "\(folder.path)/security",
    ]
    let build = try run(command + ["--product", "Step"], in: consumer)
    try #require(build.status == 0, "\(build.output.suffix(4000))")
    let checkouts = consumer.appending(path: ".build/checkouts").path
    #expect(try FileManager.default.contentsOfDirectory(atPath: checkouts) == ["apus"])
    let readme = try run(command + ["--target", "Readme"], in: consumer)
    #expect(readme.status == 0, "\(readme.output.suffix(4000))")

    let step = try run([".build/debug/Step"], in: consumer)
    #expect(step.status == 0, "\(step.output)")
    let losses = step.output.split(separator: "\n").compactMap { Double($0) }
    try #require(losses.count == 2, "\(step.output)")
    #expect(losses[1] < losses[0])
  }

  @Test func readmeProgramIsShort() throws {
    let lines = try readmeProgram.split(separator: "\n")
    #expect(lines.count <= 15)
  }

  /// The first block of the README that imports Apus.
  private var readmeProgram: String {
    get throws {
      try #require(
        try SourceTree.file("README.md").codeBlocks.first { $0.contains("import Apus\n") })
    }
  }

  /// What is committed or would be: the files that git does not ignore, as they are now.
  private func copyTree(to target: URL) throws {
    let listing = try run(
      ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], in: SourceTree.root)
    try #require(listing.status == 0, "\(listing.output)")
    for path in listing.output.split(separator: "\0").map(String.init) {
      let source = SourceTree.root.appending(path: path)
      // Deleted, not yet committed as such. (A link to a page is there even where its page is not.)
      let isThere = (try? FileManager.default.attributesOfItem(atPath: source.path)) != nil
      guard isThere else { continue }
      let copy = target.appending(path: path)
      try FileManager.default.createDirectory(
        at: copy.deletingLastPathComponent(), withIntermediateDirectories: true)
      try FileManager.default.copyItem(at: source, to: copy)
    }
  }

  private func tag(_ repository: URL, _ version: String) throws {
    let author = ["-c", "user.name=Apus tests", "-c", "user.email=tests@example.org"]
    for command in [
      ["init", "--quiet"], ["add", "--all"], author + ["commit", "--quiet", "-m", "As it is"],
      ["tag", version],
    ] {
      let result = try run(["git"] + command, in: repository)
      try #require(result.status == 0, "git \(command): \(result.output)")
    }
  }

  private func write(_ text: String, to file: URL) throws {
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try text.write(to: file, atomically: true, encoding: .utf8)
  }

  private func manifest(dependingOn repository: URL) -> String {
    """
    // swift-tools-version: 6.2
    import PackageDescription

    let apus = Target.Dependency.product(name: "Apus", package: "apus")
    let package = Package(
      name: "Consumer",
      dependencies: [.package(url: "file://\(repository.path)", from: "1.0.0", traits: [])],
      targets: [
        .executableTarget(name: "Step", dependencies: [apus]),
        .executableTarget(name: "Readme", dependencies: [apus]),
      ],
      swiftLanguageModes: [.v6])
    """
  }

  private let stepProgram = """
    import Apus

    struct Line: Module {
      let layer = Linear(3, 2)
      let drop = Dropout(0)  // the layer: the op of that name is not seen from outside
      func callAsFunction(_ x: Tensor) -> Tensor { layer(drop(x)) }
    }

    let trainer = try Trainer(Line(), optimizer: SGD(learningRate: 0.1)) { model, batch in
      crossEntropy(model(batch.x), batch.labels)
    }
    let batch = Batch([
      "x": NDArray([1, 0, 2, -1, 3, 1, 0, -2, 1, 2, 2, 2], shape: [4, 3]),
      "labels": NDArray([0, 1, 1, 0] as [Int32], shape: [4]),
    ])
    print(try trainer.train(on: batch).loss)
    print(try trainer.train(on: batch).loss)
    """
}
