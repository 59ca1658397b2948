// The models: as many parameters as their papers and torchvision have, the same names, results of the right
// shape for images of any size, and gradients for all of them.

import Apus
import Foundation
import TestSupport
import Testing

@Suite struct ModelTests {
  /// Compiled forward and backward: the logits' shape, and whether every gradient is finite and some are not 0.
  private func check(
    _ model: some Layer, _ image: TensorType, _ expected: Shape,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try model.initialize(seed: 3)
    let function = try compile([image]) { inputs in
      let y = model(inputs[0])
      let all = model.parameters.map(\.parameter.tensor)
      return [y] + gradients(of: (y * y).sum(), withRespectTo: all)
    }
    var random = SplitMix("models")
    let x = NDArray(doubles: (0..<image.count).map { _ in random.uniform(-1...1) }, type: image)
    let found: [NDArray] = try function(x)
    #expect(found[0].shape == expected, sourceLocation: sourceLocation)
    for ((path, _), gradient) in zip(model.parameters, found.dropFirst()) {
      let values = gradient.doubles
      #expect(values.allSatisfy { $0.isFinite }, "\(path)", sourceLocation: sourceLocation)
      // Nothing of an empty batch is anything.
      if expected[0] > 0 {
        #expect(values.contains { $0 != 0 }, "\(path)", sourceLocation: sourceLocation)
      }
    }
  }

  @Test func leNets_classifyImagesOf28Pixels() throws {
    #expect(LeNet().parameterCount == 421_642)
    #expect(LeNet5().parameterCount == 61_706)
    try check(LeNet(), .f32(2, 28, 28, 1), [2, 10])
    try check(LeNet(classes: 3, channels: 3), .f32(1, 28, 28, 3), [1, 3])
    try check(LeNet(), .f32(0, 28, 28, 1), [0, 10])
    try check(LeNet5(), .f32(2, 28, 28, 1), [2, 10])
    #expect(
      LeNet().parameters.map(\.path) == [
        "conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight", "fc1.bias",
        "fc2.weight", "fc2.bias",
      ])
  }

  @Test func residualNetworks_haveTorchvisionsParameters() throws {
    #expect(ResNet.resNet18().parameterCount == 11_689_512)
    #expect(ResNet.resNet34().parameterCount == 21_797_672)
    #expect(ResNet.resNet50().parameterCount == 25_557_032)
    let paths = ResNet.resNet50().parameters.map(\.path)
    #expect(paths.count == 161)
    for path in [
      "conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer1.0.bn3.bias",
      "layer1.0.downsample.0.weight", "layer1.0.downsample.1.bias", "layer3.5.conv3.weight",
      "layer4.2.bn2.weight", "fc.weight", "fc.bias",
    ] {
      #expect(paths.contains(path), "\(path)")
    }
    #expect(!paths.contains("layer1.1.downsample.0.weight"))
    let small = ResNet.resNet18()
    // The first stage keeps channels and extents: no projection.
    #expect(!small.parameters.contains { $0.path.hasPrefix("layer1.0.downsample") })
    #expect(
      small.buffers.map(\.path).filter { $0.hasPrefix("layer2.0.downsample") } == [
        "layer2.0.downsample.1.running_mean", "layer2.0.downsample.1.running_var",
        "layer2.0.downsample.1.num_batches_tracked",
      ])
    #expect(small.layer2[0].conv1.weight.shape == [128, 3, 3, 64])
  }

  @Test func residualNetworks_takeImagesOfAnySize() throws {
    try check(ResNet.resNet18(classes: 7), .f32(2, 33, 40, 3), [2, 7])
    try check(ResNet.resNet50(classes: 3, channels: 1), .f32(2, 32, 32, 1), [2, 3])
    try check(ResNet.cifar(blocks: 1, width: 4, channels: 1), .f32(3, 9, 12, 1), [3, 10])
  }

  @Test func resNet20_hasThePapersLayers() throws {
    let model = ResNet.cifar(blocks: 3)
    let convolutions = model.parameters.filter {
      $0.path.contains("conv") && $0.path.hasSuffix("weight")
    }
    #expect(convolutions.count == 19)
    // 0.27 million without projections, as in the paper; two of them with their normalisations.
    #expect(model.parameterCount == 269_722 + 16 * 32 + 64 + 32 * 64 + 128)
    try check(model, .f32(2, 32, 32, 3), [2, 10])
  }

  @Test func otherModels_haveTorchvisionsParameters() throws {
    #expect(VGG.vgg11().parameterCount == 132_863_336)
    #expect(VGG.vgg16().parameterCount == 138_357_544)
    #expect(VGG.vgg16(batchNorm: true).parameterCount == 138_365_992)
    #expect(MobileNetV2().parameterCount == 3_504_872)
    let paths = VGG.vgg11().parameters.map(\.path)
    #expect(paths.first == "features.0.weight" && paths.last == "classifier.6.bias")
    #expect(paths.contains("features.18.bias") && paths.count == 22)
    let mobile = MobileNetV2().parameters.map(\.path)
    for path in [
      "features.0.0.weight", "features.1.conv.0.0.weight", "features.1.conv.1.weight",
      "features.1.conv.2.bias", "features.2.conv.1.0.weight", "features.17.conv.3.weight",
      "features.18.1.bias", "classifier.1.weight",
    ] {
      #expect(mobile.contains(path), "\(path)")
    }
    #expect(mobile.count == 158)
  }

  /// The largest one, on the smallest image.
  @Test func vgg_classifiesAndLearns() throws {
    let model = VGG.vgg11(classes: 3, channels: 1)
    let trainer = try Trainer(model, optimizer: SGD(learningRate: 1e-3), seed: 1) { model, batch in
      crossEntropy(model(batch.images), batch.labels)
    }
    var random = SplitMix("vgg")
    let images = NDArray(
      (0..<2048).map { _ in Float(random.uniform(-1...1)) }, shape: [2, 32, 32, 1])
    let batch = Batch(["images": images, "labels": NDArray([2, 0] as [Int32], shape: [2])])
    let first = try model.parameters[0].parameter.value()
    let head = try model.head.bias!.value()
    let before = try trainer.train(on: batch).loss
    #expect(abs(before - log(3.0)) < 0.1)
    #expect(try model.parameters[0].parameter.value() != first)
    #expect(try model.head.bias!.value() != head)
    let logits = try Predictor(model) { $0($1) }
    let found = try logits(images)
    #expect(found.shape == [2, 3] && found.isFinite)
  }

  @Test func headsOfAllClassifiers_areReplacedByName() throws {
    func check(_ model: some ImageClassifier, _ path: String, _ features: Int) throws {
      var model = model
      #expect(model.headPath == path)
      #expect(model.head.weight.shape[1] == features)
      model.head = Linear(features, 7)
      #expect(model.headPath == path)
      let states = model.parameters.map(\.parameter.shape)
      #expect(states.last == [7] && states[states.count - 2] == [7, features])
    }
    try check(LeNet(), "fc2", 128)
    try check(LeNet5(), "fc3", 84)
    try check(ResNet.resNet18(), "fc", 512)
    try check(VGG.vgg16(), "classifier.6", 4096)
    try check(MobileNetV2(), "classifier.1", 1280)
    var small = LeNet5(classes: 3)
    small.head = Linear(84, 2)
    try self.check(small, .f32(2, 28, 28, 1), [2, 2])
    let copy = try small.copy()
    #expect(copy.head.weight !== small.head.weight && copy.headPath == "fc3")
  }

  @Test func mobileNet_andUNet_areDifferentiated() throws {
    try check(MobileNetV2(classes: 3, dropout: 0), .f32(2, 33, 40, 3), [2, 3])
    let net = UNet(classes: 2, channels: 1, width: 4, depth: 2)
    try check(net, .f32(1, 12, 8, 1), [1, 12, 8, 2])
    #expect(net.parameters.count == 4 * 6 + 6 + 4 + 2)
    // 31 million in the paper; normalisations take the place of biases.
    #expect(UNet(classes: 2, channels: 1).parameterCount == 31_036_546)
    let odd = Result { try compile(.f32(1, 10, 8, 1)) { net($0) } }
    guard case .failure(let error) = odd else {
      Issue.record("extents that do not halve are taken")
      return
    }
    #expect("\(error)".contains("concat"), "\(error)")
  }

  @Test func headsAreReplaced_andBackbonesGiveFeatures() throws {
    var model = ResNet.cifar(blocks: 1, width: 4)
    model.fc = Linear(16, 37)
    try check(model, .f32(1, 8, 8, 3), [1, 37])
    let features = try compile(.f32(2, 8, 8, 3)) { model.features($0) }
    let found: NDArray = try features(NDArray(zeros: .f32(2, 8, 8, 3)))
    #expect(found.shape == [2, 16])
  }

  @Test func firstValues_areTorchvisions() throws {
    let model = ResNet.resNet18()
    try model.initialize(seed: 1)
    let values = try model.layer3[1].conv2.weight.value().doubles
    let deviation = (values.reduce(0) { $0 + $1 * $1 } / Double(values.count)).squareRoot()
    #expect(abs(deviation / (2 / (9 * 256.0)).squareRoot() - 1) < 0.01)
    #expect(try model.bn1.weight?.value().doubles.allSatisfy { $0 == 1 } == true)
  }

  @Test func imagesThatDoNotFit_areToldWithTheLayer() throws {
    func failure(_ model: some Layer, _ type: TensorType) throws -> String {
      try model.initialize()
      let result = Result { try compile(type) { model($0) } }
      guard case .failure(let error) = result else { return "" }
      return "\(error)"
    }
    let large = try failure(LeNet(), .f32(4, 32, 32, 1))
    #expect(large.contains("fc1") && large.contains("4096"), "\(large)")
    let grey = try failure(ResNet.resNet18(), .f32(4, 32, 32, 1))
    #expect(grey.contains("conv1") && grey.contains("takes 3"), "\(grey)")
    let first = try failure(ResNet.cifar(blocks: 1), .f32(4, 3, 32, 32))
    #expect(first.contains("axis 1 has 3"), "\(first)")
    #expect(throws: ApusError.self) { try ResNet.cifar(blocks: -1).initialize() }
    #expect(throws: ApusError.self) { try ResNet.cifar(blocks: 1, width: .max).initialize() }
    #expect(throws: ApusError.self) { try LeNet(classes: -1).initialize() }
  }
}
