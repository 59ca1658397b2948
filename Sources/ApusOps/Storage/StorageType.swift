// What ops have in common that can be told the element type of what they store.

import ApusGraph

extension AttributeReader {
  /// The element type that the op is told to store its result in; nil where it is not.
  func storageType() throws -> DType? { has("result") ? try dtype("result") : nil }

  /// Those of an op that stores several; none where it is not told.
  func storageTypes() throws -> [DType] {
    guard has("results") else { return [] }
    return try list("results").map {
      guard case .dtype(let type) = $0, type.isFloat else {
        throw ApusError(.parse, "results hold \($0)", expected: "types of floats")
      }
      return type
    }
  }
}

extension Attribute {
  /// That type as an op's last attribute.
  static func storageType(_ type: DType?) -> [Attribute] {
    type.map { [Attribute("result", .dtype($0))] } ?? []
  }

  static func storageTypes(_ types: [DType]) -> [Attribute] {
    types.isEmpty ? [] : [Attribute("results", .list(types.map { .dtype($0) }))]
  }
}

/// An op on rows of floats that is computed in f32 whatever the rows are stored in.
///
/// Without `result` all floats have one type, and that is computed in.
package protocol StoredRowsOp: CompositeOp, NarrowableOp {
  /// The element type of the rows made, or, where there are none, of what else is made; nil for that of
  /// the rows read.
  var result: DType? { get }
}

extension StoredRowsOp {
  /// The element type that rows of those types are computed in, which all that is no row has too.
  func arithmetic(_ rows: some Collection<DType>) -> DType {
    let wide = rows.dropFirst().reduce(rows.first ?? .f32, DType.promoted)
    return result != nil && wide.byteCount < DType.f32.byteCount ? .f32 : wide
  }

  /// Whether the kernels read rows of those types, and make those of `result`.
  func hasKernel(_ rows: some Sequence<DType>) -> Bool {
    (rows + (result.map { [$0] } ?? [])).allSatisfy { $0 == .f32 || result != nil && $0 == .bf16 }
  }

  /// In a decomposition, the rows made.
  func stored(_ rows: Tensor) -> Tensor { rows.cast(to: result ?? rows.dtype) }
}
