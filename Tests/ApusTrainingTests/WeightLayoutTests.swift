// Weights of convolutions go to PyTorch's files and come from them with their channels where they belong.

import Apus
import Foundation
import Testing

@Suite struct WeightLayoutTests {
  private struct Net: Module {
    let line = Conv1d(2, 3, 4)
    let plane = Conv2d(4, 6, [3, 2], groups: 2)
    let volume = Conv3d(2, 2, 3)
    let up = ConvTranspose2d(5, 4, 2, groups: 2)
    let norm = BatchNorm(4)
    let last = Linear(3, 2)
  }

  private func net(seed: UInt64) throws -> Net {
    let net = Net()
    try net.initialize(seed: seed)
    return net
  }

  @Test func channelsAreBroughtForward_andBack() throws {
    let path = try LifeCycle.folder().appendingPathComponent("first.safetensors").path
    let (net, other) = (try net(seed: 1), try net(seed: 2))
    try net.save(path, layout: .channelsFirst)
    let file = try SafetensorsFile(path)
    let shapes: [String: Shape] = [
      "line.weight": [3, 2, 4], "plane.weight": [6, 2, 3, 2], "volume.weight": [2, 2, 3, 3, 3],
      "up.weight": [5, 2, 2, 2], "last.weight": [2, 3], "norm.running_mean": [4],
    ]
    for (name, shape) in shapes { #expect(file.entry(name)?.shape == shape, "\(name)") }
    let stored = try file.array("plane.weight").doubles
    let own = try net.plane.weight.value().doubles
    for m in 0..<6 {
      for tap in 0..<6 {
        for c in 0..<2 { #expect(stored[(m * 2 + c) * 6 + tap] == own[(m * 6 + tap) * 2 + c]) }
      }
    }
    #expect(try other.load(path, layout: .channelsFirst).loaded.count == net.parameters.count + 3)
    for ((path, a), (_, b)) in zip(net.parameters, other.parameters) {
      #expect(try a.value() == b.value(), "\(path)")
    }
  }

  @Test func theOtherLayout_isToldByItsName_andNothingIsRead() throws {
    let path = try LifeCycle.folder().appendingPathComponent("layout.safetensors").path
    try net(seed: 1).save(path, layout: .channelsFirst)
    let net = try net(seed: 2)
    let before = try net.last.weight.value()
    let error = #expect(throws: ApusError.self) { try net.load(path) }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.expected == "[3,4,2], or layout: .channelsFirst")
    #expect(try net.last.weight.value() == before)
    try net.save(path)
    #expect(throws: ApusError.self) { try net.load(path, layout: .channelsFirst) }
  }
}
