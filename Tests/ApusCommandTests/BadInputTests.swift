// Whatever is wrong, a user sees one clear message, scripts see the right exit code, and no half-written
// file stays behind.

import Apus
import Foundation
import Testing

@Suite(.serialized) struct BadInputTests {
  /// Checks the form of a refusal: one message with all of `words`, nothing on standard output.
  private func check(
    _ run: CommandRun, status: Int32, _ words: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(run.status == status, "\(run.errors)", sourceLocation: sourceLocation)
    #expect(run.output.isEmpty, sourceLocation: sourceLocation)
    let heads = run.errors.split(separator: "\n").filter {
      $0.hasPrefix("Error: ") || $0.hasPrefix("apus: ")
    }
    #expect(heads.count == 1, "\(run.errors)", sourceLocation: sourceLocation)
    for word in words {
      #expect(run.errors.contains(word), "\(run.errors)", sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: [
    (["train"], "Missing expected argument"),
    (["train", "imagenet"], "imagenet"),
    (["train", "fashion-mnist", "--epochs", "0"], "--epochs is 0"),
    (["train", "fashion-mnist", "--epochs", "-1"], "--epochs"),
    (["train", "fashion-mnist", "--epochs", "many"], "many"),
    (["train", "fashion-mnist", "--batch", "0"], "--batch is 0"),
    (["train", "fashion-mnist", "--learning-rate", "0"], "--learning-rate is 0"),
    (["train", "fashion-mnist", "--learning-rate", "nan"], "--learning-rate is nan"),
    (["train", "fashion-mnist", "--learning-rate", "inf"], "--learning-rate is inf"),
    (["train", "fashion-mnist", "--seed", "-7"], "--seed"),
    (["train", "fashion-mnist", "--threads", "0"], "--threads is 0"),
    (["train", "fashion-mnist", "--threads", "1025"], "--threads is 1025"),
    (["train", "fashion-mnist", "--precision", "exact"], "--precision is 'exact'"),
    (["train", "fashion-mnist", "--isa", "sse9"], "--isa is 'sse9'"),
    (["train", "fashion-mnist", "--output", ""], "--output"),
    (["train", "fashion-mnist", "--gradient-norms", "norms.png"], ".svg or .json"),
    (["train", "fashion-mnist", "--gradient-norms", ""], ".svg or .json"),
    (["train", "fashion-mnist", "--colour"], "--colour"),
    (["dump", "fashion-mnist", "--stage", "linked"], "linked"),
    (["dump", "fashion-mnist", "--format", "png"], "png"),
    (["dump", "fashion-mnist", "--batch", "0"], "--batch is 0"),
    (["dump", "fashion-mnist", "--disable-pass", "magic"], "--disable-pass is 'magic'"),
    (["dump", "transformer"], "transformer"),
    (["dump", "resnet20", "--memory-limit", "much"], "much"),
    (["train", "fashion-mnist", "--memory-limit", "0"], "--memory-limit"),
    (["train", "fashion-mnist", "--memory-limit", "-1MiB"], "--memory-limit"),
    (["bench", "train", "resnet20", "--memory-limit", "1e3MiB"], "1e3MiB"),
    (["bench", "gemm", "--shape", "12x13"], "MxNxK"),
    (["bench", "gemm", "--set", "even"], "even"),
    (["bench", "gemm", "--peer", "abacus"], "abacus"),
    (["bench", "gemm", "--transpose", "ntn"], "ntn"),
    (["bench", "gemm", "--seconds", "0"], "--seconds is 0"),
    (["bench", "gemm", "--seconds", "1e308"], "at most 86400"),
    (["bench", "gemm", "--seconds", "nan"], "--seconds is nan"),
    (["bench", "gemm", "--shape", "9223372036854775807x1x1"], "MxNxK"),
    (["bench", "train", "mlp_tiny", "--batch", "9223372036854775807"], "from 1 to 1048576"),
    (["dump", "fashion-mnist", "--batch", "9223372036854775807"], "from 1 to 1048576"),
    (["bench", "eltwise", "sine"], "'sine' is no operation of eltwise"),
    (["bench", "eltwise", "--shape", "0"], "shape '0'"),
    (["bench", "norm", "--shape", "64"], "ROWSxCOLUMNS"),
    (["bench", "rnn", "--shape", "32x128"], "BxTxH"),
    (["bench", "rnn", "--shape", "32x128x0"], "BxTxH"),
    (["bench", "rnn", "lstm-length"], "lstm-length"),
    (["bench", "softmax", "--precision", "lowest"], "lowest"),
    (["bench", "reduce", "--threads", "0"], "--threads is 0"),
    (["bench", "optimizer", "--compare", "/nowhere/old.json"], "/nowhere/old.json"),
    (["bench", "compare", "/proc/version", "/proc/version"], "/proc/version, line 1"),
    (["bench", "compare"], "Missing expected argument"),
    (["bench", "report"], "--output"),
    (["bench", "report", "--output", ".", "--date", "a/b"], "--date is 'a/b'"),
    (["info", "extra"], "extra"),
    (["trian"], "trian"),
  ])
  func usageErrors_exitWith64(arguments: [String], words: String) throws {
    let run = try CommandProcess(arguments).finish()
    check(run, status: 64, [words])
    #expect(run.errors.contains("Usage: apus"))
  }

  @Test(arguments: [
    ("APUS_THREADS", "two"), ("APUS_THREADS", "0"), ("OMP_NUM_THREADS", "-1"),
    ("APUS_ISA", "sse9"), ("APUS_CHECK", "everything"),
  ])
  func senselessVariables_areNamed(name: String, value: String) throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors").path
      let run = try apus(
        "train", "fashion-mnist", "--epochs", "1", "--json", "--output", output,
        environment: [name: value])
      check(run, status: 1, [name, value])
      let left = try names(in: folder)
      #expect(left.isEmpty)
    }
  }

  /// Trains on damaged data: refused with the file, and nothing is written.
  private func train(
    replacing files: [String: Data?], _ words: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try withData(replacing: files) { data, output in
      let run = try apus(
        "train", "fashion-mnist", "--epochs", "1", "--json", "--data", data.path, "--output",
        output.appendingPathComponent("w.safetensors").path)
      check(run, status: 1, words, sourceLocation: sourceLocation)
      let left = try names(in: output)
      #expect(left.isEmpty, sourceLocation: sourceLocation)
    }
  }

  private static let labels = "train-labels-idx1-ubyte"
  private static let images = "t10k-images-idx3-ubyte"

  @Test func missingFolder_tellsThePackage() throws {
    try withFolder { folder in
      let run = try apus(
        "train", "fashion-mnist", "--json", "--data", "/nowhere/at/all", "--output",
        folder.appendingPathComponent("w").path)
      check(run, status: 1, ["/nowhere/at/all", "apt install dataset-fashion-mnist"])
    }
  }

  @Test func missingFile_isNamed() throws {
    try train(replacing: ["\(Self.labels).gz": nil], [Self.labels])
  }

  @Test func truncatedCompression_isNamedWithItsOffset() throws {
    let part = try original("\(Self.labels).gz").prefix(20_000)
    try train(
      replacing: ["\(Self.labels).gz": Data(part)],
      ["\(Self.labels).gz, byte 20000", "ends early"])
  }

  @Test func damagedCompression_isNamedWithItsOffset() throws {
    var bytes = try original("\(Self.labels).gz")
    bytes[bytes.count / 2] ^= 0x55
    try train(replacing: ["\(Self.labels).gz": bytes], ["\(Self.labels).gz, byte ", "damaged"])
  }

  @Test func wrongMagic_isNamedWithItsOffset() throws {
    let text = Data("This is not an IDX file at all.".utf8)
    try train(
      replacing: ["\(Self.labels).gz": nil, Self.labels: text],
      ["\(Self.labels), byte 0", "magic"])
  }

  @Test func truncatedHeader_isNamedWithItsOffset() throws {
    try train(
      replacing: ["\(Self.images).gz": nil, Self.images: Data([0, 0, 8, 3, 0, 0])],
      ["\(Self.images), byte 6", "ends within"])
  }

  @Test func truncatedElements_areNamedWithTheirOffset() throws {
    var bytes = Data([0, 0, 8, 3, 0, 0, 0x27, 0x10, 0, 0, 0, 28, 0, 0, 0, 28])
    bytes += Data(count: 1000)
    try train(
      replacing: ["\(Self.images).gz": nil, Self.images: bytes],
      ["\(Self.images), byte 1016", "ends within its elements"])
  }

  @Test func absurdExtents_areNamedWithTheirOffset() throws {
    let bytes = Data([0, 0, 14, 3]) + Data(repeating: 0xff, count: 12)
    try train(
      replacing: ["\(Self.images).gz": nil, Self.images: bytes],
      ["\(Self.images), byte 4", "absurd"])
  }

  @Test func anotherDataSet_isRefused() throws {
    let labels = try original("t10k-labels-idx1-ubyte.gz")
    try train(
      replacing: ["\(Self.labels).gz": labels], [Self.labels, "u8[10000]", "u8[60000]"])
  }

  @Test func labelOutsideTheClasses_isNamed() throws {
    var bytes = Data([0, 0, 8, 1, 0, 0, 0xea, 0x60]) + Data(count: 60000)
    bytes[8 + 1234] = 10
    try train(
      replacing: ["\(Self.labels).gz": nil, Self.labels: bytes],
      [Self.labels, "label 10 of example 1234"])
  }

  @Test(arguments: ["/nowhere/w.safetensors", "/tmp", "/proc/w.safetensors", "/dev/null/w"])
  func unwritableOutput_isFoundBeforeTraining(output: String) throws {
    // No data there either: it is not looked at.
    let run = try apus(
      "train", "fashion-mnist", "--json", "--data", "/nowhere", "--output", output)
    check(run, status: 1, [output])
    let dump = try apus("dump", "fashion-mnist", "-o", output)
    check(dump, status: 1, [output])
  }

  @Test func fullDisk_isAnError() throws {
    check(try apus("dump", "fashion-mnist", "-o", "/dev/full"), status: 1, ["No space left"])
  }

  @Test func lossThatIsNoNumber_endsTheRunWithoutWeights() throws {
    try withFolder { folder in
      let run = try apus(
        "train", "fashion-mnist", "--epochs", "1", "--learning-rate", "1e30", "--json", "--output",
        folder.appendingPathComponent("w").path)
      check(run, status: 1, ["the loss is", "at step", "finite"])
      let left = try names(in: folder)
      #expect(left.isEmpty)
    }
  }

  @Test func checkpointsThatAreNone_areRefused() throws {
    try withFolder { folder in
      let path = folder.appendingPathComponent("c.safetensors").path
      let output = folder.appendingPathComponent("w.safetensors").path
      func resume(_ words: [String], sourceLocation: SourceLocation = #_sourceLocation) throws {
        let run = try apus(
          "train", "fashion-mnist", "--epochs", "1", "--json", "--resume", path, "--output", output)
        check(run, status: 1, words, sourceLocation: sourceLocation)
      }
      try resume([path, "No such file"])
      try Data([1, 2, 3]).write(to: URL(fileURLWithPath: path))
      try resume(["\(path), byte 3"])
      try SafetensorsFile.write(["x": NDArray(1)], to: path)
      try resume([path, "no checkpoint"])
      let whole = try Data(contentsOf: URL(fileURLWithPath: path))
      try whole.dropLast(1).write(to: URL(fileURLWithPath: path))
      try resume(["\(path), byte \(whole.count - 1)", "ends within tensor 'x'"])
      try SafetensorsFile.write(
        ["x": NDArray(1)],
        metadata: [
          "apus.checkpoint": "1", "apus.step": "1", "apus.epoch": "0", "apus.batches_done": "1",
          "apus.seed": "9",
        ], to: path)
      try resume([path, "--seed 9"])
      let left = try names(in: folder)
      #expect(left == ["c.safetensors"])
    }
  }

  // MARK: Mistakes in a user's own model, which no command line sees

  private struct Inner: Module {
    let query = Linear(8, 4)
    func callAsFunction(_ x: Tensor) -> Tensor { query(x) }
  }

  private struct Outer: Module {
    let first = Linear(16, 7)
    let attention = Inner()
    func callAsFunction(_ x: Tensor) -> Tensor { attention(first(x)) }
  }

  @Test func shapeMismatchInANestedModule_namesItsPath() throws {
    let images = NDArray(zeros: .f32(2, 16))
    let data = try ArrayDataset(["x": images]).batched(2)
    let trainer = try Trainer(Outer(), optimizer: SGD(learningRate: 0.1)) { model, batch in
      model(batch.x).sum()
    }
    do {
      try trainer.fit(data, epochs: 1, callbacks: [])
      Issue.record("nothing was thrown")
    } catch let error as ApusError {
      #expect(error.kind == .shapeMismatch)
      #expect(error.location?.contains("attention.query") == true, "\(error)")
      #expect(error.location?.contains("BadInputTests.swift:") == true, "\(error)")
      #expect(error.what.contains("[2,7]") && error.what.contains("[4,8]"), "\(error)")
    }
  }

  private struct Words: Module {
    let table = Embedding(10, 16)
    let outer = Outer()
    func callAsFunction(_ x: Tensor) -> Tensor { outer(table(x)) }
  }

  @Test func wrongElementType_namesTheModule() throws {
    let data = try ArrayDataset(["x": NDArray(zeros: .f32(2))]).batched(2)
    let trainer = try Trainer(Words(), optimizer: SGD(learningRate: 0.1)) { model, batch in
      model(batch.x).sum()
    }
    do {
      try trainer.fit(data, epochs: 1, callbacks: [])
      Issue.record("nothing was thrown")
    } catch let error as ApusError {
      #expect(error.kind == .dtypeMismatch, "\(error)")
      #expect(error.location?.contains("table") == true, "\(error)")
    }
  }
}
