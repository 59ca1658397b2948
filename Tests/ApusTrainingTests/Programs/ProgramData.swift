// Weights and data of the programs, by the formulas of Tests/reference/programs.py, and PyTorch's curves.

import Apus
import Foundation
import TestSupport
import Testing

enum ProgramData {
  /// Multiples of 2^-23 in [-1, 1).
  static func array(_ seed: Int, _ shape: Shape) -> NDArray {
    var generator = SplitMix(seed: UInt64(seed))
    let values = (0..<shape.count).map { _ in Float(Double(generator.next() >> 40) / 0x1p23 - 1) }
    return NDArray(values, shape: shape)
  }

  static func map(_ array: NDArray, _ body: (Float) -> Float) -> NDArray {
    NDArray(array.floats.map(body), shape: array.shape)
  }

  /// Parameter i of the model gets `first + i`'s numbers over the root of the fan-in.
  static func fill(_ model: some Module, first: Int = 100) throws {
    var fan: Float = 1
    for (index, (_, parameter)) in model.parameters.enumerated() {
      if parameter.shape.rank > 1 { fan = Float(parameter.shape[1]) }
      try parameter.set(map(array(first + index, parameter.shape)) { $0 / fan.squareRoot() })
    }
  }

  /// PyTorch's numbers, in double.
  static func curve(_ name: String) throws -> [Double] {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Reference/programs.json")
    let all = try JSONDecoder().decode([String: [Double]].self, from: Data(contentsOf: url))
    return try #require(all[name])
  }

  /// Compares a curve with PyTorch's: each number within a part of the largest.
  static func expectEqual(_ ours: [Double], _ name: String, tolerance: Double = 2e-5) throws {
    let theirs = try curve(name)
    #expect(ours.count == theirs.count)
    let scale = theirs.map(abs).max() ?? 1
    for (step, (a, b)) in zip(ours, theirs).enumerated() {
      #expect(abs(a - b) <= tolerance * scale, "\(name), number \(step): \(a), PyTorch \(b)")
    }
  }
}
