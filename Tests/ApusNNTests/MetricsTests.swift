// Accuracies count the rows that count.

import Apus
import Testing

@Suite struct MetricsTests {
  static let logits = NDArray(
    [3, 1, 2, 0, /**/ 0, 1, 2, 3, /**/ 1, 1, 0, 0, /**/ 0, 2, 1, 3], shape: [4, 4])

  private func value(
    _ labels: NDArray, _ metric: @escaping (Tensor, Tensor) -> Tensor
  ) throws -> Double {
    let f = try compile(Self.logits.type, labels.type) { metric($0, $1) }
    let result: NDArray = try f(Self.logits, labels)
    return result.scalar
  }

  @Test func accuracy_isTheShareOfRightRows() throws {
    let labels = NDArray([0, 3, 1, 2] as [Int32], shape: [4])
    #expect(try value(labels) { accuracy($0, $1) } == 0.5)
  }

  @Test func ignoredRows_doNotCount() throws {
    let labels = NDArray([0, -1, 1, -1] as [Int32], shape: [4])
    #expect(try value(labels) { accuracy($0, $1, ignoring: -1) } == 0.5)
    #expect(try value(labels) { accuracy($0, $1) } == 0.25)
    let none = NDArray([-1, -1, -1, -1] as [Int32], shape: [4])
    #expect(try value(none) { accuracy($0, $1, ignoring: -1) } == 0)
    // A row that is ignored does not count where it is right, either.
    let right = NDArray([0, 3, 2, 2] as [UInt8], shape: [4])
    #expect(try abs(value(right) { accuracy($0, $1, ignoring: 3) } - 1.0 / 3) < 1e-6)
  }

  @Test func topK_takesTheLabelAmongTheBest() throws {
    let labels = NDArray([2, 2, 1, 0] as [Int64], shape: [4])
    #expect(try value(labels) { topKAccuracy($0, $1, k: 1) } == 0)
    #expect(try value(labels) { topKAccuracy($0, $1, k: 2) } == 0.75)
    #expect(try value(labels) { topKAccuracy($0, $1, k: 4) } == 1)
    #expect(try value(labels) { topKAccuracy($0, $1, k: 2, ignoring: 0) } == 1)
  }

  @Test func labelsOfAnotherShape_areRefused() {
    for types in [
      [TensorType.f32(4, 3), .i32(4, 1)], [.f32(4, 3), .i32(3)], [.f32(4, 3), .f32(4)],
    ] {
      for metric in [{ accuracy($0, $1) }, { topKAccuracy($0, $1, k: 2) }]
        as [(Tensor, Tensor) -> Tensor]
      {
        let error = #expect(throws: ApusError.self) { try traced(types) { [metric($0[0], $0[1])] } }
        #expect(error?.location?.hasPrefix("ApusNNTests/MetricsTests.swift") == true)
      }
    }
    #expect(throws: ApusError.self) {
      try traced([.f32(4, 3), .i32(4)]) { [topKAccuracy($0[0], $0[1], k: 4)] }
    }
  }
}
