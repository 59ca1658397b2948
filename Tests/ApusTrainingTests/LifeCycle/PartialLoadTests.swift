// Weights of another model, in part: backbones, other heads, other names; and nothing by halves.

import Apus
import Foundation
import Testing

@Suite struct PartialLoadTests {
  /// The file of a LeNet of ten classes, and its values.
  private func pretrained() throws -> (path: String, values: [String: NDArray]) {
    let path = try LifeCycle.folder().appendingPathComponent("pretrained.safetensors").path
    let model = LeNet()
    try model.initialize(seed: 3)
    try model.save(path)
    return (path, try LifeCycle.values(model))
  }

  private struct Tasks: Module {
    let body = LeNet()
    let turn = Linear(128, 4)
  }

  @Test func allButTheHead_isRead_andTheHeadKeepsItsOwn() throws {
    let (path, values) = try pretrained()
    let model = LeNet(classes: 5)
    let report = try model.load(path, except: ["fc2.*"])
    #expect(report.loaded.count == 6 && report.excepted == ["fc2.weight", "fc2.bias"])
    #expect(report.missing.isEmpty && report.unexpected.isEmpty && report.mismatched.isEmpty)
    #expect(!model.fc2.weight.isInitialized)
    try model.initialize(seed: 1)
    let now = try LifeCycle.values(model)
    for (path, value) in values where !path.hasPrefix("fc2") { #expect(now[path] == value) }
    #expect(now["fc2.weight"]?.shape == [5, 128])
  }

  @Test func anotherShape_isAnError_orReportedWhereNotAllHasToFit() throws {
    let (path, _) = try pretrained()
    let model = LeNet(classes: 5)
    try model.initialize(seed: 1)
    let before = try LifeCycle.values(model)
    let error = #expect(throws: ApusError.self) { try model.load(path) }
    #expect(error?.kind == .shapeMismatch && error?.what.contains("'fc2.weight'") == true)
    #expect(error?.expected?.contains(#"except: ["fc2.weight"]"#) == true, "\(error!)")
    // Nothing is half-loaded.
    #expect(try LifeCycle.values(model) == before)
    let report = try model.load(path, strict: false)
    #expect(
      report.mismatched == [
        "fc2.weight ([10,128] in the file, [5,128] in the model)",
        "fc2.bias ([10] in the file, [5] in the model)",
      ])
    #expect(report.loaded.count == 6 && report.missing.isEmpty)
    #expect(try model.fc2.weight.value() == before["fc2.weight"])
  }

  @Test func aFileOfWhichNothingFits_isAnError_evenWhereNotAllHasTo() throws {
    let path = try LifeCycle.folder().appendingPathComponent("other.safetensors").path
    try SafetensorsFile.write(["fc2.weight": NDArray(zeros: .f32(3, 128))], metadata: [:], to: path)
    let error = #expect(throws: ApusError.self) { try LeNet().load(path, strict: false) }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.what.contains("fc2.weight ([3,128] in the file, [10,128]") == true, "\(error!)")
  }

  @Test func theOtherLayout_isAnError_evenWhereNotAllHasToFit() throws {
    let path = try LifeCycle.folder().appendingPathComponent("layout.safetensors").path
    let model = LeNet()
    try model.initialize(seed: 3)
    try model.save(path, layout: .channelsFirst)
    let error = #expect(throws: ApusError.self) { try model.load(path, strict: false) }
    #expect(error?.expected?.hasSuffix("or layout: .channelsFirst") == true)
  }

  @Test func namesWithABeginning_areRenamed() throws {
    let (path, values) = try pretrained()
    let tasks = Tasks()
    let report = try tasks.load(path, renaming: ["": "body."], except: ["turn.*"])
    #expect(report.loaded.count == 8 && report.loaded.allSatisfy { $0.hasPrefix("body.") })
    #expect(try tasks.body.conv1.weight.value() == values["conv1.weight"])
    try tasks.initialize()
    try tasks.save(path)
    // And back: a part reads itself out of a file of the whole.
    let alone = LeNet()
    let back = try alone.load(path, renaming: ["body.": ""], except: ["turn.*"])
    #expect(back.loaded.count == 8 && back.excepted == ["turn.bias", "turn.weight"])
    #expect(try LifeCycle.values(alone) == values)
    // The first beginning that fits counts.
    let swapped = try Tasks().load(
      path, strict: false, renaming: ["body.conv": "other.", "body.": "body."])
    #expect(swapped.missing.count == 4 && swapped.unexpected.count == 4)
  }

  @Test func whatIsMissing_isToldWithTheRenamingThatFits() throws {
    let (path, _) = try pretrained()
    let tasks = Tasks()
    let error = #expect(throws: ApusError.self) { try tasks.load(path) }
    #expect(error?.kind == .missing)
    #expect(error?.expected?.contains(#"renaming: ["": "body."] fits"#) == true, "\(error!)")
    try tasks.initialize()
    try tasks.save(path)
    let other = #expect(throws: ApusError.self) { try LeNet().load(path) }
    #expect(other?.expected?.contains(#"renaming: ["body.": ""] fits"#) == true, "\(other!)")
    // What no beginning explains has no such advice.
    let none = #expect(throws: ApusError.self) { try ResNet.resNet18().load(path) }
    #expect(none?.expected?.contains("renaming") == false)
  }

  @Test func patternsAndBeginnings_ofNothing_areErrors() throws {
    let (path, _) = try pretrained()
    let model = LeNet()
    let pattern = #expect(throws: ApusError.self) { try model.load(path, except: ["fc3.*"]) }
    #expect(pattern?.kind == .missing && pattern?.what.contains("'fc3.*'") == true)
    #expect(pattern?.expected?.contains("fc2.bias") == true, "\(pattern!)")
    let beginning = #expect(throws: ApusError.self) {
      try model.load(path, renaming: ["modul.": ""])
    }
    #expect(beginning?.kind == .missing && beginning?.what.contains("'modul.'") == true)
    let clash = #expect(throws: ApusError.self) {
      try model.load(path, renaming: ["conv1": "x", "conv2": "x"])
    }
    #expect(clash?.kind == .invalidArgument && clash?.what.contains("both named 'x.") == true)
    #expect(!model.conv1.weight.isInitialized)
  }

  @Test func theModelsPartOfACheckpoint_isReadAsWeights() throws {
    let path = try LifeCycle.folder().appendingPathComponent("run.safetensors").path
    let trainer = try Trainer(TwoLayers(), optimizer: Adam(), loss: LifeCycle.loss)
    try trainer.train(on: LifeCycle.batch())
    try trainer.saveCheckpoint(path)
    let model = TwoLayers()
    let report = try model.load(path)
    #expect(report.loaded.count == 4 && report.unexpected.isEmpty)
    #expect(try LifeCycle.values(model) == LifeCycle.values(trainer.model))
  }

  @Test func aTiedWeight_isLeftAloneUnderAnyOfItsNames() throws {
    struct Tied: Module {
      let a: Parameter
      let b: Parameter
      let c = Parameter([2], .ones)
      init() {
        a = Parameter([2], .zeros)
        b = a.tied()
      }
    }
    let path = try LifeCycle.folder().appendingPathComponent("tied.safetensors").path
    try SafetensorsFile.write(
      ["b": NDArray([1, 2], shape: [2]), "c": NDArray([3, 4], shape: [2])], metadata: [:], to: path)
    let model = Tied()
    try model.initialize()
    let report = try model.load(path, except: ["b"])
    #expect(report.loaded == ["c"] && report.excepted == ["a"])
    #expect(try model.a.value().floats == [0, 0] && model.c.value().floats == [3, 4])
    #expect(try model.load(path).loaded == ["a", "c"])
    #expect(try model.b.value().floats == [1, 2])
  }

  @Test func frozenBackbones_stayAsTheyWereRead_underANewHead() throws {
    let (path, values) = try pretrained()
    let model = LeNet(classes: 5)
    try model.load(path, except: ["fc2.*"])
    model.freeze()
    model.head.unfreeze()
    let trainer = try Trainer(model, optimizer: Adam(learningRate: 1e-2), seed: 1) {
      crossEntropy($0($1.images), $1.labels)
    }
    let images = NDArray((0..<4 * 784).map { Float($0 % 13) / 13 }, shape: [4, 28, 28, 1])
    let batch = Batch(["images": images, "labels": NDArray([0, 1, 2, 4] as [Int32], shape: [4])])
    let losses = try (0..<10).map { _ in try trainer.train(on: batch).loss }
    #expect(losses[9] < losses[0])
    let now = try LifeCycle.values(model)
    for (path, value) in values where !path.hasPrefix("fc2") { #expect(now[path] == value) }
    model.unfreeze()
    try trainer.train(on: batch)
    #expect(try model.conv1.weight.value() != values["conv1.weight"])
  }
}
