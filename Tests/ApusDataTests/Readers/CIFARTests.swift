// CIFAR's binary files, made here.

import ApusGraph
import Foundation
import Testing

@testable import ApusData

@Suite struct CIFARTests {
  /// A record: labels, then red, green and blue planes of pixel numbers that tell them apart.
  private static func record(_ labels: [UInt8], _ shift: Int) -> [UInt8] {
    labels + (0..<3).flatMap { plane in (0..<1024).map { UInt8(($0 + plane * 85 + shift) % 251) } }
  }

  @Test func aFolderOfSixFilesIsRead_channelsLast() throws {
    try withTemporaryFolder { folder in
      for number in 1...5 {
        let bytes = Self.record([UInt8(number)], number) + Self.record([9], 100 + number)
        try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/data_batch_\(number).bin"))
      }
      try Data(Self.record([0], 7)).write(to: URL(fileURLWithPath: "\(folder)/test_batch.bin"))
      let data = try CIFAR10(folder: folder)
      #expect(data.train.pixels.type == .u8(10, 32, 32, 3) && data.test.count == 1)
      #expect(data.train.labels.integers == [1, 9, 2, 9, 3, 9, 4, 9, 5, 9])
      #expect(data.train.classCount == 10 && CIFAR10.classNames.count == 10)
      // Row 2, column 3 of the third file's first image: pixel 67 of each plane.
      let pixel = try data.train.pixels[4].slice(axis: 0, 2..<3).slice(axis: 1, 3..<4).integers
      #expect(pixel == [0, 1, 2].map { (67 + $0 * 85 + 3) % 251 })
      try FileManager.default.removeItem(atPath: "\(folder)/data_batch_3.bin")
      let missing = error { _ = try CIFAR10(folder: folder) }
      #expect(missing?.kind == .io && missing?.location == "\(folder)/data_batch_3.bin")
    }
  }

  @Test func theHundredHaveTwoLabels() throws {
    let bytes = Self.record([19, 99], 0) + Self.record([0, 5], 1)
    #expect(try CIFAR100.parse(bytes).labels.integers == [99, 5])
    let coarse = try CIFAR100.parse(
      bytes, labels: .coarse, scale: .normalized(mean: 0, deviation: 2))
    #expect(coarse.labels.integers == [19, 0] && coarse.classCount == 20)
    try withTemporaryFolder { folder in
      try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/train.bin"))
      try Data(Self.record([1, 2], 0)).write(to: URL(fileURLWithPath: "\(folder)/test.bin"))
      let data = try CIFAR100(folder: folder)
      #expect(data.train.count == 2 && data.test.labels.integers == [2])
    }
  }

  @Test func whatIsWrongIsNamed() throws {
    let good = Self.record([3], 0)
    let short = error { _ = try CIFAR10.parse(good + good.dropLast(), path: "f") }
    #expect(short?.kind == .invalidFile && short?.location == "f, byte 3073")
    let wrong = error { _ = try CIFAR10.parse(good + Self.record([10], 0), path: "f") }
    #expect(
      wrong?.what == "the label 10 of record 1 is not a class" && wrong?.location == "f, byte 3073")
    let fine = error { _ = try CIFAR100.parse(Self.record([0, 100], 0), path: "f") }
    #expect(fine?.location == "f, byte 1")
    // The label that is not wanted is looked at too: another file's records would be read.
    #expect(error { _ = try CIFAR100.parse(Self.record([20, 0], 0)) }?.kind == .invalidFile)
    #expect(
      error { _ = try CIFAR10.parse(good, scale: .normalized(mean: 0, deviation: 0)) }?.kind
        == .invalidArgument)
    #expect(try CIFAR10.parse([]).count == 0)
  }
}
