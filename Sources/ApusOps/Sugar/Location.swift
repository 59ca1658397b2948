// How functions of users find their line, their axis and their common type.

import ApusGraph

extension Tensor {
  /// Brings two operands to their common element type (PyTorch's promotion); operators use it, which
  /// know no line of their own.
  static func promoted(_ a: Tensor, _ b: Tensor) -> (Tensor, Tensor) {
    let dtype = DType.promoted(a.dtype, b.dtype)
    return (a.cast(to: dtype, location: nil), b.cast(to: dtype, location: nil))
  }

  /// Brings two operands to their common element type for a function called at that line.
  static func promoted(
    _ a: Tensor, _ b: Tensor, _ file: StaticString, _ line: UInt
  ) -> (Tensor, Tensor) {
    let dtype = DType.promoted(a.dtype, b.dtype)
    return (a.cast(to: dtype, file: file, line: line), b.cast(to: dtype, file: file, line: line))
  }

  /// Applies an op made for an axis that may count from the end.
  func alongAxis(
    _ axis: Int, _ file: StaticString, _ line: UInt, _ make: (Int) -> some Op
  ) -> Tensor {
    do {
      return .apply(
        make(try shape.normalized(axis: axis)), to: self, location: sourceLocation(file, line))
    } catch {
      return .poisoned(asApusError(error), like: self, location: sourceLocation(file, line))
    }
  }

  /// What `body` gives, or a poisoned tensor where it throws. Operators within it stand at the user's
  /// line; functions are to be handed `file` and `line`.
  func located(_ file: StaticString, _ line: UInt, _ body: () throws -> Tensor) -> Tensor {
    let location = sourceLocation(file, line)
    do {
      return try trace.withCallLocation(location, body)
    } catch {
      return .poisoned(asApusError(error), like: self, location: location)
    }
  }
}
