// Configurations as trees of keys: places, types, defaults, what is refused and how it is told.

import Apus
import ApusRecipes
import Foundation
import Testing

/// The error of a configuration.
private func mistake(_ text: String, _ settings: [String] = []) throws -> ApusError {
  try #require(
    #expect(throws: ApusError.self) {
      var node = try ConfigurationNode(json: text, path: "run.json")
      for setting in settings { try node.set(setting) }
      _ = try RunConfiguration(node, name: "run")
    })
}

private func run(_ text: String, _ settings: [String] = []) throws -> RunConfiguration {
  var node = try ConfigurationNode(json: text, path: "run.json")
  for setting in settings { try node.set(setting) }
  return try RunConfiguration(node, name: "run")
}

private let small = """
  {
    "model": ["flatten", {"linear": 16}, "relu", {"linear": 10}],
    "data": {"name": "fashion_mnist", "batch": 32},
    "optimizer": {"name": "sgd", "rate": 0.1}
  }
  """

@Suite struct ConfigurationTests {
  @Test func theResolvedConfigurationHasEveryKey_andIsResolvedToItself() throws {
    let first = try run(small)
    let json = first.resolved
    #expect(json["optimizer"]?["momentum"] == 0.0)
    #expect(json["optimizer"]?["weight_decay"] == 0.0)
    #expect(json["data"]?["shuffle"] == true)
    #expect(json["model"]?.elements?[1]["linear"]?["bias"] == true)
    #expect(json["epochs"] == 10 && json["seed"] == 0 && json["precision"] == "highest")
    #expect(json["loss"]?["name"] == "cross_entropy")
    #expect(try run(json.text).resolved == json)
  }

  @Test func everyOptimizerAndScheduleIsResolvedToItself() throws {
    let optimizers = [
      "sgd", "adam", "adamw", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta", "lion",
      "lamb", "adafactor", "muon",
    ]
    let schedules = [
      #"{"name": "constant"}"#, #"{"name": "step", "every_epochs": 2, "factor": 0.5}"#,
      #"{"name": "multi_step", "milestones": [100, 200]}"#,
      #"{"name": "multi_step", "milestone_epochs": [1, 2.5]}"#,
      #"{"name": "linear", "from": 0, "to": 1, "steps": 50}"#,
      #"{"name": "exponential", "factor": 0.7}"#, #"{"name": "polynomial", "power": 2}"#,
      #"{"name": "cosine", "warm_up": 10}"#, #"{"name": "cosine_restarts", "growth": 2}"#,
      #"{"name": "inverse_root", "rising": 400}"#, #"{"name": "one_cycle", "rise": 0.2}"#,
      #"{"name": "reduce_on_plateau", "patience": 1, "warm_up_epochs": 0.5}"#,
      #"[{"name": "linear", "from": 0, "to": 1, "epochs": 1}, "cosine"]"#,
    ]
    let cases = optimizers.map { ($0, schedules[0]) } + schedules.map { ("adam", $0) }
    for (optimizer, schedule) in cases {
      let setting = ["optimizer={\"name\": \"\(optimizer)\"}", "schedule=\(schedule)"]
      let resolved = try run(small, setting).resolved
      #expect(resolved["optimizer"]?["name"] == .string(optimizer))
      #expect(try run(resolved.text).resolved == resolved, "\(optimizer) \(schedule)")
    }
  }

  @Test func everyLayerIsResolvedToItself() throws {
    for name in try layerNames() {
      let value =
        [
          "linear": "8", "conv1d": "4", "conv2d": "4", "conv3d": "4", "group_norm": "1",
          "reshape": "[28, 28]", "residual": "[\"relu\"]", "parallel": "[\"relu\", \"tanh\"]",
          "concat": "[[\"relu\", \"tanh\"], \"identity\"]",
        ][name] ?? "null"
      let resolved = try run(small, ["model=[{\"\(name)\": \(value)}]"]).resolved
      #expect(resolved["model"]?.elements?[0].members?[0].0 == name)
      #expect(try run(resolved.text).resolved == resolved, "\(name)")
    }
  }

  /// As an error lists them.
  private func layerNames() throws -> [String] {
    let expected = try mistake(small, ["model=[\"nothing\"]"]).expected ?? ""
    let names =
      expected.components(separatedBy: "one of ").last?.components(separatedBy: ", ") ?? []
    #expect(names.count > 40)
    return names
  }

  @Test func anUnknownKeyIsToldWithItsPlaceAndTheOneThatLooksLikeIt() throws {
    let error = try mistake(
      """
      {"model": ["flatten", {"linear": 10}],
       "data": "fashion_mnist",
       "optimizer": {"name": "adamw", "wieght_decay": 0.1}}
      """)
    #expect(error.kind == .missing)
    #expect(error.what == "there is no key 'optimizer.wieght_decay'")
    #expect(error.location == "run.json:3:33")
    #expect(error.expected?.hasPrefix("weight_decay") == true)
    #expect(try mistake(small, ["optimizer.learning_rate=1"]).expected?.hasPrefix("rate") == true)
    #expect(try mistake(small, ["data.batch_size=1"]).expected?.hasPrefix("batch") == true)
    #expect(try mistake(small, ["epoch=1"]).expected?.hasPrefix("epochs") == true)
  }

  @Test func typesAndRangesAreToldWithTheirPlace() throws {
    let cases: [(String, String, String)] = [
      ("optimizer.rate=fast", "optimizer.rate is 'fast'", "a number"),
      ("optimizer.rate=-1", "optimizer.rate is -1", "above 0"),
      ("optimizer.rate=nan", "optimizer.rate is 'nan'", "a number"),
      ("epochs=0", "epochs is 0", "from 1"),
      ("epochs=1.5", "epochs is '1.5'", "a whole number"),
      ("data.batch=[1,2]", "data.batch is a list", "a whole number"),
      ("data.shuffle=maybe", "data.shuffle is 'maybe'", "true or false"),
      ("optimizer.momentum=1", "optimizer.momentum is 1", "up to 1"),
      ("optimizer.name=adamv", "optimizer.name is 'adamv'", "adamw"),
      ("data.name=fashion", "data.name is 'fashion'", "fashion_mnist"),
      ("model.1.linear=0", "model.1.linear.units is 0", "from 1"),
      ("model.2=rellu", "model.2 is 'rellu'", "relu"),
      ("model=[]", "model is a list", "a list of layers"),
      ("schedule.name=cosinus", "schedule.name is 'cosinus'", "cosine"),
      ("schedule=[\"cosine\", \"constant\"]", "schedule.0 has no length", "steps or epochs"),
      ("schedule={\"steps\": 5, \"epochs\": 1}", "both schedule.steps and schedule.epochs", "one"),
      ("groups={\"*.bias\": {\"rat\": 1}}", "there is no key 'groups.'*.bias'.rat'", "rate"),
      ("records.every=0", "records.every is 0", "from 1"),
      ("checkpoint={}", "checkpoint says 0 times", "one of every_steps"),
      ("data.validation=1", "data.validation is 1", "up to 1"),
      ("metrics=[\"accuracy\", \"Accuracy\"]", "metrics names one twice", "each once"),
      ("name=../other", "name is ../other", "letters"),
      ("optimizer.nesterov=true", "SGD: Nesterov's momentum without momentum", "momentum > 0"),
      ("recipe=fashion-mnist", "a model and a recipe are there", "model"),
      ("early_stopping=loss", "there is no key 'early_stopping.name'", "(of delta"),
    ]
    for (setting, what, expected) in cases {
      let error = try mistake(small, [setting])
      #expect(error.what.hasPrefix(what), "\(setting): \(error)")
      #expect(error.expected?.contains(expected) == true, "\(setting): \(error)")
      #expect(error.location?.isEmpty == false, "\(setting): \(error)")
    }
    #expect(try mistake(small, ["optimizer.rate=fast"]).location == "--set optimizer.rate=fast")
  }

  @Test func namesMayBeWrittenAsInOtherLibraries() throws {
    let resolved = try run(
      small, ["optimizer.name=AdamW", "model=[\"Flatten\", {\"Linear\": 4}, \"LeakyReLU\"]"]
    ).resolved
    #expect(resolved["optimizer"]?["name"] == "adamw")
    #expect(
      resolved["model"]?.elements?.map { $0.members?[0].0 } == [
        "flatten", "linear", "leaky_relu",
      ])
  }

  @Test func settingsAreMade_andReplaceWhatStandsThere() throws {
    let resolved = try run(
      small,
      [
        "optimizer.rate=3e-4", "model.1.linear.units=64", "schedule=cosine", "schedule.to=0.5",
        "clip_norm=2",
      ]
    ).resolved
    #expect(resolved["optimizer"]?["rate"] == 3e-4)
    #expect(resolved["optimizer"]?["name"] == "sgd")
    #expect(resolved["schedule"]?["name"] == "cosine" && resolved["schedule"]?["to"] == 0.5)
    #expect(resolved["clip_norm"] == 2.0)
    let update = try run(small, ["clip_value=0.5", "accumulate=4", "non_finite=skip"])
      .resolved
    #expect(
      update["clip_value"] == 0.5 && update["accumulate"] == 4 && update["non_finite"] == "skip")
    #expect(try mistake(small, ["clip_norm=1", "clip_value=1"]).what.contains("both there"))
    let synonym = try mistake(small, ["accumulate_grad_batches=4"]).expected
    #expect(synonym?.hasPrefix("accumulate (") == true)
    #expect(try mistake(small, ["accumulate=0"]).what.contains("accumulate is 0"))
    #expect(try mistake(small, ["non_finite=ignore"]).expected?.contains("raise, skip") == true)
    for wrong in ["", "=1", "a", "a..b=1", ".a=1", "model.9=relu", "model.x=relu", "epochs=[1"] {
      let error = try mistake(small, [wrong])
      #expect(error.kind == .invalidArgument, "\(wrong): \(error)")
    }
  }

  @Test func brokenJSONIsToldWithLineAndColumn() throws {
    let error = try mistake("{\n  \"epochs\": 3,\n  \"seed\" 4\n}")
    #expect(error.kind == .invalidFile && error.location == "run.json:3:10")
    #expect(try mistake("{\"a\": \"é\", \"ä\": }").location == "run.json:1:17")
    #expect(try mistake("[1]").what.contains("a list"))
    #expect(try mistake("{}").what.contains("neither a model nor a recipe"))
  }

  @Test func aRecipeTakesItsOptions_andAnotherUpdate() throws {
    let text = #"{"recipe": "fashion-mnist", "options": {"hidden": 32, "batch": 128}, "epochs": 2}"#
    let configuration = try run(text)
    let (recipe, options) = try configuration.recipe()
    #expect(recipe.name == "fashion-mnist" && options.epochs == 2 && options.batch == 128)
    #expect(configuration.resolved["options"]?["hidden"] == "32")
    #expect(try run(configuration.resolved.text).resolved == configuration.resolved)
    #expect(try run(text, ["optimizer=lion"]).resolved["optimizer"]?["beta2"] == 0.99)
    #expect(try mistake(text, ["clip_norm=1"]).what == "clip_norm is there, but optimizer is not")
    #expect(try mistake(text, ["options.hidden=0"]).what == "hidden is 0")
    #expect(try mistake(text, ["options.hiden=9"]).expected?.hasPrefix("hidden") == true)
    #expect(try mistake(text, ["recipe=fashion"]).expected?.contains("fashion-mnist") == true)
  }

  @Test func everyTransformOfImagesIsResolvedToItself() throws {
    let names = [
      "random_horizontal_flip", "random_vertical_flip", "random_crop", "random_resized_crop",
      "color_jitter", "random_grayscale", "random_erasing", "cutout",
    ]
    for name in names {
      let value = name.hasSuffix("crop") || name == "cutout" ? "28" : "0.25"
      let resolved = try run(small, ["data.augment=[{\"\(name)\": \(value)}]"]).resolved
      let element = resolved["data"]?["augment"]?.elements?.first
      #expect(element?.members?[0].0 == name && element?.members?[0].1.members?.isEmpty == false)
      #expect(try run(resolved.text).resolved == resolved, "\(name)")
    }
    let two = try run(
      small,
      ["data.augment=[\"RandomHorizontalFlip\", {\"random_crop\": {\"size\": 28, \"padding\": 2}}]"]
    )
    #expect(two.resolved["data"]?["augment"]?.elements?[1]["random_crop"]?["padding"] == 2)
  }

  @Test func mistakesOfImagesAreToldWithTheirPlace() throws {
    let cases: [(String, String, String)] = [
      ("data.augment=mirror", "data.augment is 'mirror'", "a list of transforms"),
      ("data.augment=[\"mirror\"]", "data.augment.0 is 'mirror'", "random_horizontal_flip"),
      ("data.augment=[\"random_crop\"]", "random_crop.size is not there", "1"),
      ("data.augment=[{\"cutout\": 0}]", "data.augment.0.cutout.size is 0", "1"),
      ("data.augment=[{\"random_erasing\": 2}]", "random_erasing.p is 2", "0 to 1"),
      ("data.augment=[{\"cutout\": {\"size\": 4, \"sise\": 4}}]", "no key", "size"),
      ("data={\"name\": \"cifar10\"}", "data.folder is not there", ""),
      (
        "data={\"name\": \"cifar100\", \"folder\": \"x\", \"labels\": \"rough\"}", "'rough'",
        "coarse"
      ),
      (
        "data={\"name\": \"csv\", \"train\": \"x\", \"target\": \"y\", \"augment\": []}", "no key",
        ""
      ),
    ]
    for (setting, what, expected) in cases {
      let error = try mistake(small, [setting])
      #expect(error.what.contains(what), "\(setting): \(error)")
      let isTold = expected.isEmpty || error.expected?.contains(expected) == true
      #expect(isTold, "\(setting): \(error)")
      #expect(error.location?.isEmpty == false)
    }
  }

  /// Whatever a text says, it is a configuration or an error of ours with its place.
  @Test func mutatedTextsAreConfigurationsOrErrors() throws {
    var state: UInt64 = 7
    func random(_ below: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % below
    }
    let whole = try run(small, ["schedule=cosine", "early_stopping={}"]).resolved.text
    let extremes = ["-1", "1e308", "9223372036854775807", "null", "[]", "{}", "\"\"", "1e-320"]
    var refused = 0
    for _ in 0..<400 {
      var bytes = Array(whole.utf8)
      switch random(4) {
      case 0: bytes[random(bytes.count)] ^= UInt8(1 << random(8))
      case 1: bytes.removeSubrange(random(bytes.count)...)
      case 2:
        let start = random(bytes.count)
        let end = min(start + 1 + random(20), bytes.count)
        bytes.insert(contentsOf: bytes[start..<end], at: random(bytes.count))
      default:
        let colons = bytes.indices.filter { bytes[$0] == UInt8(ascii: ":") }
        let start = colons[random(colons.count)] + 1
        let end = bytes[start...].firstIndex { ",}]".utf8.contains($0) } ?? bytes.count
        bytes.replaceSubrange(start..<end, with: Array(extremes[random(extremes.count)].utf8))
      }
      guard let text = String(validating: bytes, as: UTF8.self) else { continue }
      do { _ = try run(text) } catch let error as ApusError {
        refused += 1
        #expect(error.location?.isEmpty == false, "\(error)\n\(text)")
      }
    }
    #expect(refused > 100)
  }
}
