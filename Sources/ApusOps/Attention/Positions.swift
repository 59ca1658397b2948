// Positions as users ask for them: rotations of queries and keys, tables of sines, slopes.

import ApusGraph
import Glibc

/// `x` with each pair of its elements turned by `position · base^(-2 p / rotated)` (Su et al., "RoFormer", 2021):
/// products of queries and keys that were turned so depend on the difference of their positions.
///
///     let q = rotaryPositions(heads(q)), k = rotaryPositions(heads(k))   // f32[8,128,12,64]
///
/// - `x`: `[batch, time, heads, width]`.
/// - `base`: the wavelengths go from 2π to 2π · base.
/// - `offset`: the position of the first time, where `positions` are not given.
/// - `positions`: integers or floats `[time]` or `[batch, time]`.
/// - `rotated`: how many of the first elements are turned, an even number; all by default.
/// - `isInterleaved`: pairs are neighbours, as in GPT-J; else p and `p + rotated / 2`, as in Llama.
///
/// Returns x's type. Its gradient is the inverse rotation. A number of elements that cannot be turned gives
/// `invalidArgument`, positions that do not fit `shapeMismatch`, both when the graph is compiled.
public func rotaryPositions(
  _ x: Tensor, base: Float = 10_000, offset: Int = 0, positions: Tensor? = nil,
  rotated: Int? = nil, interleaved isInterleaved: Bool = false, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    guard x.rank == 4, x.dtype.isFloat else {
      throw ApusError(
        .shapeMismatch, "rotaryPositions: x is \(x.type)",
        expected: "floats [batch, time, heads, width]")
    }
    let rotated = rotated ?? x.shape[3]
    guard rotated >= 0, rotated % 2 == 0, rotated <= x.shape[3], base > 0, base.isFinite else {
      throw ApusError(
        .invalidArgument,
        "rotaryPositions: \(rotated) of \(x.shape[3]) elements turned, base \(base)",
        expected: "an even number of elements at most \(x.shape[3]), and a base above 0")
    }
    _ = try tableType(x.shape[1], rotated / 2, what: "rotaryPositions")
    let wide = DType.attentionArithmetic([x.dtype])
    let frequencies = (0..<rotated / 2).map {
      pow(Double(base), -2 * Double($0) / Double(rotated))
    }
    let (cosines, sines): (Tensor, Tensor)
    if let positions {
      guard positions.shape == [x.shape[1]] || positions.shape == [x.shape[0], x.shape[1]],
        positions.dtype != .bool
      else {
        throw ApusError(
          .shapeMismatch, "rotaryPositions: positions \(positions.type) for \(x.type)",
          expected: "numbers [\(x.shape[1])] or [\(x.shape[0]),\(x.shape[1])]")
      }
      let table = NDArray(doubles: frequencies, type: TensorType(wide, [rotated / 2]))
      let angles = positions.cast(to: wide).expandingDims(at: -1) * x.trace.constant(table)
      (cosines, sines) = (cos(angles), sin(angles))
    } else {
      // In double, so that far positions are as exact as near ones.
      let angles = (0..<x.shape[1]).flatMap { time in
        frequencies.map { $0 * (Double(time) + Double(offset)) }
      }
      let type = TensorType(wide, [x.shape[1], rotated / 2])
      func table(_ values: [Double]) -> Tensor {
        x.trace.constant(NDArray(doubles: values, type: type))
      }
      (cosines, sines) = (table(angles.map { cos($0) }), table(angles.map { sin($0) }))
    }
    return .apply(Rotary(isInterleaved: isInterleaved), to: x, cosines, sines)
  }
}

/// The type of a table that is worked out here.
///
/// - Throws: `invalidArgument` for negative extents, `resource` for more elements than anybody waits for.
private func tableType(_ extents: Int..., what: String) throws -> TensorType {
  let type = try TensorType(.f32, Shape(extents)).checked(what)
  guard type.count <= 1 << 24 else {
    throw ApusError(.resource, "\(what): a table of \(type)", expected: "at most 2^24 elements")
  }
  return type
}

extension NDArray {
  /// The table of Vaswani et al., "Attention is all you need" (2017), f32 `[length, width]`: column 2 p has
  /// `sin(t / 10000^(2 p / width))`, column 2 p + 1 the cosine.
  ///
  ///     try NDArray.sinusoidalPositions(length: 512, width: 64)
  ///
  /// - Throws: `invalidArgument` for negative extents, `resource` for more than memory can hold.
  public static func sinusoidalPositions(length: Int, width: Int) throws -> NDArray {
    let type = try tableType(length, width, what: "sinusoidalPositions")
    // By element, not by row: a table without columns may have more rows than anybody counts.
    let values = (0..<type.count).map { place -> Double in
      let (time, column) = place.quotientAndRemainder(dividingBy: width)
      let angle = Double(time) * pow(10_000, -Double(column / 2 * 2) / Double(width))
      return column % 2 == 0 ? sin(angle) : cos(angle)
    }
    return NDArray(doubles: values, type: type)
  }

  /// The slopes of Press et al., "Train short, test long: attention with linear biases" (2022), f32 `[heads]`:
  /// `2^(-8 (h + 1) / n)` for the first n heads, n a power of two, and what lies between for the rest.
  ///
  ///     try NDArray.alibiSlopes(heads: 8)   // [1/2, 1/4, … 1/256]
  ///
  /// - Throws: `invalidArgument` for a negative number of heads, `resource` for too many.
  public static func alibiSlopes(heads: Int) throws -> NDArray {
    let type = try tableType(heads, what: "alibiSlopes")
    var whole = 1
    while whole * 2 <= heads { whole *= 2 }
    let values = (0..<heads).map { head in
      head < whole
        ? exp2(-8 * Double(head + 1) / Double(whole))
        : exp2(-8 * Double(2 * (head - whole) + 1) / Double(2 * whole))
    }
    return NDArray(doubles: values, type: type)
  }
}

/// ``NDArray/sinusoidalPositions(length:width:)`` as a constant of the current trace.
///
///     let h = embedding(tokens, table) + sinusoidalPositions(length: 128, width: 768)
///
/// Extents that cannot be are recorded as a mistake.
public func sinusoidalPositions(
  length: Int, width: Int, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let trace = Trace.recording
  return trace.constant(0, .f32).located(file, line) {
    trace.constant(try .sinusoidalPositions(length: length, width: width))
  }
}

/// ``NDArray/alibiSlopes(heads:)`` as a constant of the current trace.
///
///     scaledDotProductAttention(q, k, v, isCausal: true, alibi: alibiSlopes(heads: 12))
///
/// A number of heads that cannot be is recorded as a mistake.
public func alibiSlopes(
  heads: Int, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let trace = Trace.recording
  return trace.constant(0, .f32).located(file, line) {
    trace.constant(try .alibiSlopes(heads: heads))
  }
}
