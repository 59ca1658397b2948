// The four files of Fashion-MNIST, wherever they are found.

import ApusGraph
import Foundation
import Testing

@testable import ApusData

@Suite struct FashionMNISTTests {
  @Test func thePackageIsRead() throws {
    let data = try FashionMNIST(folder: FashionMNIST.packageFolder)
    #expect(data.train.count == 60000)
    #expect(data.test.count == 10000)
    #expect(data.train.pixels.type == .u8(60000, 28, 28, 1))
    #expect(data.train.fields[0].type == .f32(28, 28, 1))
    // Every class has as many examples as every other.
    for set in [data.train, data.test] {
      var counts = [Int](repeating: 0, count: 10)
      for label in set.labels.integers { counts[label] += 1 }
      #expect(counts == [Int](repeating: set.count / 10, count: 10))
    }
    // The first training image is an ankle boot.
    #expect(FashionMNIST.classNames[data.train.labels.integers[0]] == "Ankle boot")
  }

  @Test func theErrorOfAMissingFolderTellsThePackage() {
    let failure = error { _ = try FashionMNIST(folder: "/nowhere") }
    #expect(failure?.kind == .io)
    #expect(failure?.location == "/nowhere")
    #expect(failure?.expected?.contains("apt install dataset-fashion-mnist") == true)
  }

  @Test func aFolderWithAnotherDataSetIsRefused() throws {
    try withTemporaryFolder { folder in
      let bytes = try contents(fixture("u1.idx"))
      try AtomicFile.write(to: "\(folder)/train-images-idx3-ubyte") { try $0.write(bytes) }
      try AtomicFile.write(to: "\(folder)/train-labels-idx1-ubyte") { try $0.write(bytes) }
      let failure = error { _ = try FashionMNIST(folder: folder) }
      #expect(failure?.what == "the file holds u8[2,3]")
      #expect(failure?.location == "\(folder)/train-images-idx3-ubyte")
    }
  }

  @Test func aLabelThatIsNoClassIsNamed() {
    let pixels = NDArray(zeros: .u8(3, 2, 2))
    let labels = NDArray([1, 10, 2] as [UInt8], shape: [3])
    let failure = error {
      _ = try LabeledImages(pixels: pixels, labels: labels, classCount: 10)
    }
    #expect(failure?.kind == .outOfRange)
    #expect(failure?.what == "the label 10 of example 1 is not a class")
    let none = error {
      _ = try LabeledImages(pixels: pixels, labels: labels, classCount: -1)
    }
    #expect(none?.what == "the label 1 of example 0 is not a class")
  }

  @Test func pixelsAreDividedBy255AsADivisionWould() throws {
    let pixels = NDArray((0..<256).map { UInt8($0) }, shape: [1, 16, 16])
    let labels = NDArray([3] as [Int32], shape: [1])
    let unit = try LabeledImages(pixels: pixels, labels: labels, classCount: 4)
    let batch = try #require(try unit.batched(1).makeIterator(epoch: 0).next())
    #expect(batch.images?.type == .f32(1, 16, 16, 1))
    #expect(batch.images?.floats == (0..<256).map { Float($0) / 255 })
    #expect(batch.labels?.integers == [3])

    let scaled = try unit.scaled(.normalized(mean: 0.25, deviation: 0.5))
    let other = try #require(try scaled.batched(1).makeIterator(epoch: 0).next())
    let expected = (0..<256).map { (Float($0) / 255 - 0.25) / Float(0.5) }
    #expect(other.images?.floats == expected)
    #expect(error { _ = try unit.scaled(.normalized(mean: 0, deviation: 0)) } != nil)
  }

  @Test func imagesAndLabelsMustMatch() {
    let pixels = NDArray(zeros: .u8(3, 2, 2))
    for (labels, kind) in [
      (NDArray(zeros: .u8(4)), ApusError.Kind.shapeMismatch),
      (NDArray(zeros: .f32(3)), .dtypeMismatch),
    ] {
      let failure = error {
        _ = try LabeledImages(pixels: pixels, labels: labels, classCount: 10)
      }
      #expect(failure?.kind == kind)
    }
  }
}
