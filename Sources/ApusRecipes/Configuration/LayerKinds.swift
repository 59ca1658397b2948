// The layers that a configuration knows by name.

import Apus

extension LayerKind {
  static let dense = [
    LayerKind("linear", "units") { reader in
      let units: Int = try reader.required("units", .width)
      let bias = try reader.value("bias", true)
      let initializer = try reader.initializer()
      return { Linear(try $0.width(), units, bias: bias, initializer: initializer) }
    },
    LayerKind("flatten") { Flatten() },
    LayerKind("reshape", "shape") { reader in
      guard let shape: [Int] = try reader.list("shape", .between(-1, 1 << 20)), !shape.isEmpty
      else {
        throw ApusError(
          .missing, "\(reader.path(of: "shape")) is not there", at: reader.node.place,
          expected: "extents of the axes behind the batch's; one of them may be -1")
      }
      return { _ in Lambda { $0.reshaped(Shape([$0.shape[0]] + shape)) } }
    },
  ]

  static let convolutions = (1...3).map { axes in
    LayerKind("conv\(axes)d", "channels") { reader in
      let channels: Int = try reader.required("channels", .width)
      let kernel = try reader.perAxis("kernel", 3, axes)
      let stride = try reader.perAxis("stride", 1, axes)
      let dilation = try reader.perAxis("dilation", 1, axes)
      let padding = try reader.padding()
      let groups = try reader.value("groups", 1, .width)
      let bias = try reader.value("bias", true)
      let initializer = try reader.initializer()
      return { input in
        let inputs = try input.width()
        switch axes {
        case 1:
          return Conv1d(
            inputs, channels, kernel.numbers(1)[0], stride: stride, padding: padding,
            dilation: dilation, groups: groups, bias: bias, initializer: initializer)
        case 2:
          return Conv2d(
            inputs, channels, kernel, stride: stride, padding: padding, dilation: dilation,
            groups: groups, bias: bias, initializer: initializer)
        default:
          return Conv3d(
            inputs, channels, kernel, stride: stride, padding: padding, dilation: dilation,
            groups: groups, bias: bias, initializer: initializer)
        }
      }
    }
  }

  static let pooling =
    (1...3).flatMap { axes in
      ["max", "avg"].map { kind in
        LayerKind("\(kind)_pool\(axes)d", "size") { reader in
          let size = try reader.perAxis("size", 2, axes)
          let stride = try reader.optionalPerAxis("stride", axes)
          let padding = try reader.padding()
          return { _ in
            switch (kind, axes) {
            case ("max", 1): MaxPool1d(size, stride: stride, padding: padding)
            case ("max", 2): MaxPool2d(size, stride: stride, padding: padding)
            case ("max", _): MaxPool3d(size, stride: stride, padding: padding)
            case (_, 1): AvgPool1d(size, stride: stride, padding: padding)
            case (_, 2): AvgPool2d(size, stride: stride, padding: padding)
            default: AvgPool3d(size, stride: stride, padding: padding)
            }
          }
        }
      }
    } + [
      LayerKind("global_avg_pool") { GlobalAveragePool() },
      LayerKind("global_max_pool") { GlobalMaxPool() },
    ]

  static let normalizations = [
    LayerKind("batch_norm") { reader in
      let epsilon = try reader.value("epsilon", 1e-5, .positive)
      let momentum = try reader.value("momentum", 0.1, .unit)
      return { BatchNorm(try $0.width(), epsilon: epsilon, momentum: momentum) }
    },
    LayerKind("layer_norm") { reader in
      let epsilon = try reader.value("epsilon", 1e-5, .positive)
      return { LayerNorm(try $0.width(), epsilon: epsilon) }
    },
    LayerKind("rms_norm") { reader in
      let epsilon = try reader.value("epsilon", 1e-6, .positive)
      return { RMSNorm(try $0.width(), epsilon: epsilon) }
    },
    LayerKind("group_norm", "groups") { reader in
      let groups: Int = try reader.required("groups", .width)
      let epsilon = try reader.value("epsilon", 1e-5, .positive)
      return { GroupNorm(groups, try $0.width(), epsilon: epsilon) }
    },
    LayerKind("instance_norm") { reader in
      let epsilon = try reader.value("epsilon", 1e-5, .positive)
      return { InstanceNorm(try $0.width(), epsilon: epsilon) }
    },
  ]

  static let activations = [
    LayerKind("relu") { ReLU() },
    LayerKind("leaky_relu", "slope", 0.01, .finite) { LeakyReLU(slope: $0) },
    LayerKind("prelu", "initial") { reader in
      let initial = try reader.value("initial", 0.25, .finite)
      let isEach = try reader.value("per_channel", false)
      return { PReLU(isEach ? try $0.width() : 1, initial: initial) }
    },
    LayerKind("gelu") { reader in
      let approximate = try reader.value("approximate", false)
      return { _ in GELU(approximate: approximate) }
    },
    LayerKind("silu") { SiLU() },
    LayerKind("sigmoid") { Sigmoid() },
    LayerKind("tanh") { Tanh() },
    LayerKind("softmax") { Softmax() },
    LayerKind("log_softmax") { LogSoftmax() },
    LayerKind("elu", "alpha", 1, .finite) { ELU(alpha: $0) },
    LayerKind("selu") { SELU() },
    LayerKind("celu", "alpha", 1, .positive) { CELU(alpha: $0) },
    LayerKind("mish") { Mish() },
    LayerKind("relu6") { ReLU6() },
    LayerKind("hard_tanh") { HardTanh() },
    LayerKind("hard_sigmoid") { HardSigmoid() },
    LayerKind("hard_swish") { HardSwish() },
    LayerKind("softplus") { Softplus() },
    LayerKind("softsign") { Softsign() },
    LayerKind("log_sigmoid") { LogSigmoid() },
    LayerKind("hard_shrink", "lambda", 0.5, .factor) { HardShrink(lambda: $0) },
    LayerKind("soft_shrink", "lambda", 0.5, .factor) { SoftShrink(lambda: $0) },
    LayerKind("tanh_shrink") { TanhShrink() },
    LayerKind("softmin") { Softmin() },
    LayerKind("glu", "gate") { reader in
      let gates = GLU.Gate.allCases.map(\.rawValue)
      let gate = GLU.Gate(rawValue: try reader.choice("gate", "sigmoid", of: gates))
      return { _ in GLU(gate ?? .sigmoid) }
    },
  ]

  static let others = [
    LayerKind("dropout", "p", 0.5, .share) { Dropout($0) },
    LayerKind("alpha_dropout", "p", 0.5, .share) { AlphaDropout($0) },
    LayerKind("gaussian_noise", "deviation", 0.1, .factor) { GaussianNoise($0) },
    LayerKind("identity") { Identity() },
    LayerKind("residual", "layers") { reader in
      let layers = try reader.layers("layers")!
      let shortcut = try reader.layers("shortcut", isOptional: true)
      return { input in
        let around = try shortcut.map { try LayerConfiguration.layers($0, for: input).layers }
        let inner = try LayerConfiguration.layers(layers, for: input).layers
        return Residual(shortcut: around.map { Sequential($0) }) { inner }
      }
    },
    LayerKind("parallel", "branches") { reader in
      let branches = try reader.branches()
      return { input in
        let made = try branches.map {
          Sequential(try LayerConfiguration.layers($0, for: input).layers) as any Layer
        }
        return Parallel { made }
      }
    },
    LayerKind("concat", "branches") { reader in
      let branches = try reader.branches()
      return { input in
        let made = try branches.map {
          Sequential(try LayerConfiguration.layers($0, for: input).layers) as any Layer
        }
        return Concat { made }
      }
    },
  ]
}

extension OptionRange<Double> {
  static var finite: OptionRange {
    OptionRange(description: "a finite number") { $0.isFinite }
  }
  /// 0…1.
  static var unit: OptionRange {
    OptionRange(description: "a number from 0 to 1") { (0...1).contains($0) }
  }
}

extension ConfigurationReader {
  /// A number for all axes, or one for each.
  func perAxis(_ key: String, _ fallback: Int, _ axes: Int) throws -> PerAxis {
    if let found = try optionalPerAxis(key, axes) { return found }
    note(key, .integer(fallback))
    return PerAxis(fallback)
  }

  func optionalPerAxis(_ key: String, _ axes: Int) throws -> PerAxis? {
    guard let numbers: [Int] = try list(key, .between(1, 1 << 20)) else { return nil }
    if numbers.count == 1 {
      note(key, .integer(numbers[0]))
      return PerAxis(numbers[0])
    }
    guard numbers.count == axes else {
      throw ApusError(
        .invalidArgument, "\(path(of: key)) has \(numbers.count) numbers", at: place(of: key),
        expected: "one, or \(axes)")
    }
    return PerAxis(numbers)
  }

  /// `valid`, `same`, or elements on both sides.
  func padding() throws -> Padding {
    guard case .scalar(let text, _)? = ask("padding")?.content, Int(text) == nil else {
      return .all(try value("padding", 0, .between(0, 1 << 20)))
    }
    return try choice("padding", nil, of: ["valid", "same"]) == "same" ? .same : .valid
  }

  func initializer() throws -> Initializer {
    let all: [(String, Initializer)] = [
      ("fan_in_uniform", .fanInUniform()), ("xavier_uniform", .xavierUniform),
      ("xavier_normal", .xavierNormal), ("kaiming_uniform", .kaimingUniform),
      ("kaiming_normal", .kaimingNormal), ("lecun_uniform", .lecunUniform),
      ("lecun_normal", .lecunNormal), ("orthogonal", .orthogonal()), ("zeros", .zeros),
    ]
    let name = try choice("initializer", "fan_in_uniform", of: all.map(\.0))
    return all.first { $0.0 == name }?.1 ?? .fanInUniform()
  }

  /// A list of layers within a layer.
  func layers(_ key: String, isOptional: Bool = false) throws -> [LayerConfiguration]? {
    guard let node = ask(key) else {
      if isOptional { return nil }
      throw ApusError(
        .missing, "\(path(of: key)) is not there", at: self.node.place, expected: "a list of layers"
      )
    }
    let layers = try LayerConfiguration.list(node, path(of: key))
    note(key, .array(layers.map(\.resolved)))
    return layers
  }

  /// A list of lists of layers; a layer alone is a list of one.
  func branches() throws -> [[LayerConfiguration]] {
    guard let node = ask("branches"), case .list(let nodes) = node.content, !nodes.isEmpty else {
      throw ApusError(
        .invalidArgument, "\(path(of: "branches")) is no list", at: place(of: "branches"),
        expected: "a list of layers, or of lists of them")
    }
    let branches = try nodes.enumerated().map { place, branch in
      let path = "\(path(of: "branches")).\(place)"
      if case .list = branch.content { return try LayerConfiguration.list(branch, path) }
      return [try LayerConfiguration(branch, path)]
    }
    note("branches", .array(branches.map { .array($0.map(\.resolved)) }))
    return branches
  }
}
