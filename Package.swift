// swift-tools-version: 6.2
// Apus: the C kernels, the Swift modules above them, the command, the benchmarks and the tests.
import PackageDescription

// -fopenmp needs an unsafe flag, which SwiftPM accepts in packages consumed by version from tools 6.2
// on. -O3 in both configurations: a debug build debugs Swift, not the kernels' arithmetic.
let kernelSettings: [CSetting] = [
  .unsafeFlags([
    "-fopenmp", "-O3", "-Wall", "-Wextra", "-std=c17", "-ffp-contract=off", "-fno-math-errno",
    "-D_GNU_SOURCE",
  ]),
  .define("NDEBUG", .when(configuration: .release)),
]

let package = Package(
  name: "Apus",
  products: [
    .library(name: "Apus", targets: ["Apus"]),
    // Apart, since it needs libpng and libjpeg of the system.
    .library(name: "ApusImages", targets: ["ApusImages"]),
    // Apart, since it needs Oniguruma of the system.
    .library(name: "ApusText", targets: ["ApusText"]),
    // Apart, since it needs tokenizers.
    .library(name: "ApusLanguage", targets: ["ApusLanguage"]),
    // Apart, since it needs Open MPI; empty without the trait.
    .library(name: "ApusMPI", targets: ["ApusMPI"]),
    .executable(name: "apus", targets: ["ApusCommand"]),
  ],
  traits: [
    .trait(
      name: "Command", description: "The command line, which needs swift-argument-parser and Yams."),
    .trait(
      name: "MPI",
      description: "Training by several processes, which needs Open MPI (libopenmpi-dev)."),
    // Who only wants the library says `traits: []` and fetches nothing else.
    .default(enabledTraits: ["Command"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"),
  ],
  targets: [
    .target(
      name: "CKernels", path: "CKernels", publicHeadersPath: "include",
      cSettings: kernelSettings,
      linkerSettings: [.linkedLibrary(":libomp.so.5"), .linkedLibrary("m")]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
    .systemLibrary(name: "CJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg-dev"])]),
    .systemLibrary(name: "COniguruma", pkgConfig: "oniguruma", providers: [.apt(["libonig-dev"])]),
    .systemLibrary(name: "CMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
    .target(name: "CImageCodecs", dependencies: ["CPNG", "CJPEG"]),
    .target(name: "CText", dependencies: ["COniguruma"]),

    .target(name: "ApusGraph"),
    .target(name: "ApusOps", dependencies: ["ApusGraph", "CKernels"]),
    .target(name: "ApusAutodiff", dependencies: ["ApusGraph", "ApusOps"]),
    .target(name: "ApusPasses", dependencies: ["ApusGraph", "ApusOps"]),
    .target(
      name: "ApusRuntime", dependencies: ["ApusGraph", "ApusOps", "ApusPasses", "CKernels"]),
    .target(name: "ApusNN", dependencies: ["ApusGraph", "ApusOps", "ApusAutodiff", "ApusRuntime"]),
    .target(name: "ApusData", dependencies: ["ApusGraph", "CKernels", "CZlib"]),
    .target(name: "ApusImages", dependencies: ["ApusGraph", "ApusData", "CImageCodecs"]),
    .target(name: "ApusText", dependencies: ["ApusGraph", "ApusData", "CText"]),
    .target(
      name: "ApusTraining",
      dependencies: ["ApusGraph", "ApusOps", "ApusAutodiff", "ApusRuntime", "ApusNN", "ApusData"]),
    .target(name: "Apus", dependencies: ["ApusNN", "ApusData", "ApusTraining"]),
    .target(name: "ApusLanguage", dependencies: ["Apus", "ApusText"]),
    .target(
      name: "ApusMPI",
      dependencies: [
        "ApusGraph", "ApusRuntime", .target(name: "CMPI", condition: .when(traits: ["MPI"])),
      ]),
    .target(
      name: "ApusRecipes", dependencies: ["Apus", "ApusImages", "ApusLanguage", "ApusText"]),
    .target(
      name: "ApusBenchmarks",
      dependencies: ["Apus", "ApusLanguage", "ApusRecipes", "ApusText", "CKernels"],
      path: "Benchmarks",
      exclude: ["peers", "results"]),
    .executableTarget(
      name: "ApusCommand",
      dependencies: [
        "Apus", "ApusBenchmarks", "ApusImages", "ApusLanguage", "ApusMPI", "ApusPasses",
        "ApusRecipes", "ApusText",
        .product(
          name: "ArgumentParser", package: "swift-argument-parser",
          condition: .when(traits: ["Command"])),
        .product(name: "Yams", package: "Yams", condition: .when(traits: ["Command"])),
      ]),

    .target(
      name: "TestSupport",
      dependencies: [
        "ApusGraph", "ApusOps", "ApusAutodiff", "ApusPasses", "ApusRuntime", "CKernels", "CZlib",
      ],
      path: "Tests/TestSupport"),
    .testTarget(name: "CKernelsTests", dependencies: ["CKernels"]),
    .testTarget(name: "ApusGraphTests", dependencies: ["ApusGraph", "ApusOps", "TestSupport"]),
    .testTarget(
      name: "ApusOpsTests", dependencies: ["ApusOps", "ApusAutodiff", "ApusRuntime", "TestSupport"]),
    .testTarget(name: "ApusAutodiffTests", dependencies: ["ApusAutodiff", "TestSupport"]),
    .testTarget(
      name: "ApusPassesTests", dependencies: ["ApusPasses", "TestSupport"], exclude: ["Golden"]),
    .testTarget(name: "ApusRuntimeTests", dependencies: ["ApusRuntime", "TestSupport"]),
    .testTarget(
      name: "ApusNNTests", dependencies: ["Apus", "TestSupport"], resources: [.copy("Reference")]),
    .testTarget(
      name: "ApusDataTests", dependencies: ["ApusData", "Apus", "TestSupport"],
      exclude: ["Fixtures"]),
    .testTarget(
      name: "ApusImagesTests", dependencies: ["ApusImages", "Apus", "TestSupport"],
      exclude: ["Fixtures"]),
    .testTarget(
      name: "ApusTextTests", dependencies: ["ApusText", "Apus", "TestSupport"],
      exclude: ["Fixtures"]),
    .testTarget(
      name: "ApusLanguageTests",
      dependencies: ["Apus", "ApusLanguage", "ApusText", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(
      name: "ApusTrainingTests", dependencies: ["Apus", "ApusTraining", "TestSupport"],
      exclude: ["Reference"]),
    .testTarget(
      name: "ApusRecipesTests", dependencies: ["Apus", "ApusRecipes", "TestSupport"]),
    .testTarget(
      name: "ApusBenchmarksTests", dependencies: ["ApusBenchmarks", "ApusRecipes", "CKernels"]),
    .testTarget(
      name: "ApusCommandTests",
      dependencies: ["Apus", "ApusCommand", "ApusRecipes", "TestSupport"]),
    // As a package of somebody else's sees the library: public names alone.
    .testTarget(
      name: "BookTests", dependencies: ["Apus", "ApusImages", "ApusLanguage", "ApusText"],
      path: "Tests/Book",
      packageAccess: false),
    .testTarget(name: "HouseTests", exclude: ["PublicNames.txt"]),
    // Random cases: a few in `make test`, for a given time under sanitizers in `make fuzz`.
    .testTarget(
      name: "FuzzTests",
      dependencies: [
        "Apus", "ApusData", "ApusImages", "ApusLanguage", "ApusPasses", "ApusRecipes", "ApusText",
        "TestSupport",
      ]),
  ],
  swiftLanguageModes: [.v6]
)

// `make test` builds our own targets with every warning an error; a user's build never does.
if Context.environment["APUS_STRICT"] != nil {
  for target in package.targets where target.type != .system {
    target.swiftSettings = (target.swiftSettings ?? []) + [.treatAllWarnings(as: .error)]
    target.cSettings = (target.cSettings ?? []) + [.treatAllWarnings(as: .error)]
  }
}

// `make fuzz`: undefined behaviour in our C ends the process.
if Context.environment["APUS_SANITIZE"] != nil {
  for target in package.targets where ["CKernels", "CImageCodecs", "CText"].contains(target.name) {
    target.cSettings =
      (target.cSettings ?? []) + [
        .unsafeFlags([
          "-fsanitize=undefined", "-fsanitize-trap=undefined", "-fno-omit-frame-pointer", "-g",
        ])
      ]
  }
}
