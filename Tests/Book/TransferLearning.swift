// The examples of Docs/TransferLearning.md.

import Apus
import Testing

@Suite struct TransferLearning {
  struct Tasks: Module {
    let body = LeNet()
    let turn = Linear(128, 4)
  }

  @Test func backbonesFromAFile() throws {
    let path = "\(try Book.folder())/pretrained.safetensors"
    let pretrained = LeNet()
    try pretrained.initialize(seed: 7)
    try pretrained.save(path)
    let model = LeNet(classes: 5)
    let report = try model.load(path, except: ["fc2.*"])
    print(report.loaded, report.excepted)
    try model.initialize(seed: 1)  // first values for the head
    #expect(report.loaded.count == 6)
    #expect(try model.conv2.weight.value() == pretrained.conv2.weight.value())
    #expect(model.head.weight.shape == [5, 128])
    let loose = try LeNet(classes: 5).load(path, strict: false)
    print(loose.mismatched)  // ["fc2.weight ([10,128] in the file, [5,128] in the model)", …]
    #expect(loose.mismatched[0] == "fc2.weight ([10,128] in the file, [5,128] in the model)")
    let tasks = Tasks()
    try tasks.load(path, renaming: ["": "body."], except: ["body.fc2.*", "turn.*"])
    #expect(try tasks.body.conv1.weight.value() == pretrained.conv1.weight.value())
    var tuned = try pretrained.copy()
    tuned.head = Linear(128, 5)
    try tuned.initialize(seed: 1)
    tuned.freeze()
    tuned.head.unfreeze()
    #expect(tuned.parameterCount == 5 * 128 + 5 && pretrained.parameterCount == 421_642)
  }

  @Test func whatIsFrozen() throws {
    let resnet = ResNet.cifar(blocks: 1, width: 4)
    try resnet.freeze("layer1.*")
    try resnet.freeze("*.running_*")  // normalise by the estimates; weights and biases learn
    try resnet.unfreeze("layer1.*.weight")
    print(resnet.bn1.runningMean!.isFrozen)  // true
    #expect(resnet.bn1.runningMean!.isFrozen)
    #expect(resnet.layer1[0].bn1.bias?.isTrainable == false)
    #expect(resnet.layer1[0].bn1.weight?.isTrainable == true)
  }

  @Test func severalTasks() throws {
    let trainer = try Trainer(Tasks(), optimizer: Adam()) { model, batch in
      let features = model.body.features(batch.images)
      let (labels, turns) = (model.body.head(features), model.turn(features))
      batch.report("turn_accuracy", accuracy(turns, batch.turns))
      return crossEntropy(labels, batch.labels) + 0.5 * crossEntropy(turns, batch.turns)
    }
    let images = NDArray((0..<4 * 784).map { Float($0 % 13) / 13 }, shape: [4, 28, 28, 1])
    let labels = NDArray([0, 1, 2, 3] as [Int32], shape: [4])
    let batch = Batch(["images": images, "labels": labels, "turns": labels])
    let losses = try (0..<5).map { _ in try trainer.train(on: batch).loss }
    #expect(losses[4] < losses[0])
  }
}
