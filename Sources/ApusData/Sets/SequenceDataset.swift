// Examples of their own lengths: token ids, labels of tokens, series of vectors.

import ApusGraph

/// What one field of a ``SequenceDataset`` has for each example: a sequence of a length of its own.
public struct Sequences: Sendable {
  /// Of all sequences, one behind the other, without the axis of the steps.
  let step: TensorType
  /// Where each sequence begins, in steps, and where the last one ends.
  let starts: [Int]
  let bytes: NDArray
  /// One element.
  let padding: NDArray

  var count: Int { starts.count - 1 }

  /// The steps of a sequence.
  func length(_ example: Int) -> Int { starts[example + 1] - starts[example] }

  /// Numbers of tokens: i32[length], padded with 0.
  ///
  /// - Throws: `outOfRange` naming a number beyond i32.
  public static func tokens(_ ids: [[Int]], padding: Int = 0) throws -> Sequences {
    try integers(ids, padding)
  }

  /// Numbers of classes, one for each step: i32[length], padded with -100, which losses and metrics leave out.
  ///
  /// - Throws: `outOfRange` naming a number beyond i32.
  public static func labels(_ classes: [[Int]], padding: Int = -100) throws -> Sequences {
    try integers(classes, padding)
  }

  /// Arrays whose first axis is that of the steps: [length, …], padded with `padding`.
  ///
  /// - Throws: `shapeMismatch` for a scalar or where element types or the other axes differ, `outOfRange` for a
  ///   padding that the element type does not have.
  public static func arrays(_ arrays: [NDArray], padding: Double = 0) throws -> Sequences {
    let first = arrays.first?.type ?? .f32(0)
    for (place, array) in arrays.enumerated()
    where array.shape.rank == 0 || array.dtype != first.dtype
      || array.shape.dimensions.dropFirst() != first.shape.dimensions.dropFirst()
    {
      throw ApusError(
        .shapeMismatch, "sequence \(place) is \(array.type), the first one \(first)",
        expected: "arrays [length, …] of one element type that differ in their length alone")
    }
    guard first.dtype.isFloat || first.dtype.holds(padding) else {
      throw ApusError(
        .outOfRange, "\(first.dtype) padded with \(padding)", expected: "a number of that type")
    }
    let step = first.with(Shape(Array(first.shape.dimensions.dropFirst())))
    var starts = [0]
    for array in arrays { starts.append(try Shape.sum([starts.last!, array.shape[0]])) }
    var all = try NDArray(
      checking: step.with(Shape([starts.last!] + step.shape.dimensions)))
    all.withUnsafeMutableBytes { target in
      for (place, array) in arrays.enumerated() {
        array.withUnsafeBytes { bytes in
          UnsafeMutableRawBufferPointer(rebasing: target[(starts[place] * step.byteCount)...])
            .copyMemory(from: bytes)
        }
      }
    }
    return Sequences(
      step: step, starts: starts, bytes: all,
      padding: try NDArray(checking: [padding], type: TensorType(.f64, [])).cast(to: step.dtype))
  }

  private static func integers(_ lists: [[Int]], _ padding: Int) throws -> Sequences {
    guard let pad = Int32(exactly: padding) else {
      throw ApusError(.outOfRange, "i32 padded with \(padding)", expected: "a number of 32 bits")
    }
    var starts = [0]
    var all: [Int32] = []
    all.reserveCapacity(lists.reduce(0) { $0 + $1.count })
    for (place, list) in lists.enumerated() {
      for number in list {
        guard let number = Int32(exactly: number) else {
          throw ApusError(
            .outOfRange, "sequence \(place) has the number \(number)",
            expected: "numbers of 32 bits")
        }
        all.append(number)
      }
      starts.append(all.count)
    }
    return Sequences(
      step: .i32(), starts: starts, bytes: try NDArray(checking: all, shape: [all.count]),
      padding: try NDArray(checking: [pad], shape: []))
  }

  /// Writes a sequence and the padding behind it.
  func write(_ example: Int, to target: UnsafeMutableRawBufferPointer) {
    let size = step.byteCount
    guard size > 0, let start = target.baseAddress else { return }
    let count = length(example) * size
    bytes.withUnsafeBytes { source in
      start.copyMemory(from: source.baseAddress! + starts[example] * size, byteCount: count)
    }
    padding.withUnsafeBytes { element in
      for place in stride(from: count, to: target.count, by: element.count) {
        (start + place).copyMemory(from: element.baseAddress!, byteCount: element.count)
      }
    }
  }

  /// The sequences of some examples, none longer than `most`.
  func selecting(_ examples: [Int], most: Int = .max) throws -> Sequences {
    let size = step.byteCount
    var starts = [0]
    for example in examples { starts.append(starts.last! + min(length(example), most)) }
    var all = try NDArray(checking: step.with(Shape([starts.last!] + step.shape.dimensions)))
    all.withUnsafeMutableBytes { target in
      bytes.withUnsafeBytes { source in
        for (place, example) in examples.enumerated() where size > 0 {
          let count = (starts[place + 1] - starts[place]) * size
          guard count > 0 else { continue }
          (target.baseAddress! + starts[place] * size).copyMemory(
            from: source.baseAddress! + self.starts[example] * size, byteCount: count)
        }
      }
    }
    return Sequences(step: step, starts: starts, bytes: all, padding: padding)
  }
}

/// Examples whose sequences have lengths of their own, to be padded batch by batch.
///
///     let data = try SequenceDataset(["words": .tokens(ids), "tags": .labels(tags)])
///     let batches = try data.batched(32, lengths: [16, 32, 64])
///     // words i32[32,16] or [32,32] or [32,64], tags the same with -100 behind each end, lengths i32[32]
///
/// The sequences of an example may differ in length, as those of a text and its translation; what counts for a batch
/// is the longest.
public struct SequenceDataset: Sendable {
  public let count: Int
  /// What has a length of its own, by name.
  let sequences: [(name: String, field: Sequences)]
  /// What every example has alike, by name: [count, …] each.
  let fixed: [(name: String, array: NDArray)]
  /// Steps of each example's longest sequence.
  public let lengths: [Int]
  let identity: String

  /// - `sequences`: of tokens, labels or arrays.
  /// - `fixed`: arrays of one element for each example, such as classes i32[n].
  /// - Throws: `invalidArgument` without sequences, for a name that stands twice or that batches use themselves
  ///   (`lengths`, `mask`), for a sequence without a step; `shapeMismatch` where the numbers of examples differ.
  public init(
    _ sequences: KeyValuePairs<String, Sequences>, fixed: KeyValuePairs<String, NDArray> = [:]
  ) throws {
    try self.init(
      sequences.map { ($0.key, $0.value) }, fixed.map { ($0.key, $0.value) }, identity: nil)
  }

  private init(
    _ sequences: [(name: String, field: Sequences)], _ fixed: [(name: String, array: NDArray)],
    identity: String?
  ) throws {
    guard let first = sequences.first else {
      throw ApusError(.invalidArgument, "a data set without sequences", expected: "one at least")
    }
    let count = first.field.count
    for (name, field) in sequences {
      guard field.count == count else {
        throw ApusError(
          .shapeMismatch, "there are \(field.count) sequences '\(name)'",
          expected: "\(count), as '\(first.name)' has")
      }
      if let place = (0..<count).first(where: { field.length($0) == 0 }) {
        throw ApusError(
          .invalidArgument, "sequence \(place) of '\(name)' is empty", expected: "a step at least")
      }
    }
    for (name, array) in fixed where array.shape.rank == 0 || array.shape[0] != count {
      throw ApusError(
        .shapeMismatch, "array '\(name)' of the data set is \(array.type)",
        expected: "\(count) examples along the first axis, as '\(first.name)' has")
    }
    self.count = count
    self.sequences = sequences
    self.fixed = fixed
    lengths = (0..<count).map { example in sequences.map { $0.field.length(example) }.max()! }
    self.identity = identity ?? "\(count) sequences of \(lengths.reduce(0, +)) steps"
    let names = batchNames(mask: true)
    if let name = names.first(where: { name in names.count { $0 == name } > 1 }) {
      throw ApusError(
        .invalidArgument, "two arrays of a batch would be named '\(name)'",
        expected: "unique names, other than those of lengths and masks")
    }
  }

  /// The fields whose lengths are told: the first, and those that differ from it.
  var measured: [(name: String, field: Sequences)] {
    let first = sequences[0].field
    return [("", first)]
      + sequences.dropFirst().filter { $0.field.starts != first.starts }.map { ($0.name, $0.field) }
  }

  /// The names of a batch's arrays: sequences, fixed arrays, lengths, masks.
  func batchNames(mask: Bool) -> [String] {
    let measured = measured.map(\.name)
    return sequences.map(\.name) + fixed.map(\.name)
      + measured.map { $0.isEmpty ? "lengths" : "\($0)Lengths" }
      + (mask ? measured.map { $0.isEmpty ? "mask" : "\($0)Mask" } : [])
  }

  /// Steps of the longest sequence; 0 where there is none.
  public var longest: Int { lengths.max() ?? 0 }

  /// Some examples as a set of their own.
  ///
  /// - Throws: `outOfRange` naming the first number that is no example.
  public func selecting(_ examples: [Int]) throws -> SequenceDataset {
    try checkSelection(examples, of: count)
    return try SequenceDataset(
      sequences.map { ($0.name, try $0.field.selecting(examples)) },
      fixed.map { ($0.name, try $0.array.rows(at: examples)) },
      identity: "\(examples.count) examples \(sign(of: examples)) of \(identity)")
  }

  /// The same examples without what lies behind the first `length` steps.
  ///
  /// - Throws: `invalidArgument` for a length below 1.
  public func truncated(to length: Int) throws -> SequenceDataset {
    guard length >= 1 else {
      throw ApusError(
        .invalidArgument, "sequences truncated to \(length) steps", expected: "a step at least")
    }
    let all = Array(0..<count)
    return try SequenceDataset(
      sequences.map { ($0.name, try $0.field.selecting(all, most: length)) }, fixed,
      identity: "\(identity), truncated to \(length)")
  }

  /// The set cut at random into parts; see ``Dataset/split(_:seed:)``.
  ///
  /// - Throws: as there.
  public func split(_ fractions: [Double], seed: UInt64 = 0) throws -> [SequenceDataset] {
    try ExampleSplit.parts(fractions, of: count, seed: seed).map { try selecting($0) }
  }

  /// The set cut at random into parts in which each class has its share; see
  /// ``Dataset/split(_:stratifiedBy:seed:)``.
  ///
  /// - Throws: as there.
  public func split(
    _ fractions: [Double], stratifiedBy labels: [Int], seed: UInt64 = 0
  ) throws -> [SequenceDataset] {
    try ExampleSplit.parts(fractions, stratifiedBy: labels, of: count, seed: seed)
      .map { try selecting($0) }
  }

  /// The rounds of a cross-validation; see ``Dataset/folds(_:seed:)``.
  ///
  /// - Throws: as there.
  public func folds(_ folds: Int, seed: UInt64? = nil) throws -> [Fold<SequenceDataset>] {
    try rounds(try ExampleSplit.folds(folds, stratifiedBy: nil, of: count, seed: seed))
  }

  /// The rounds of a cross-validation with classes spread evenly; see ``Dataset/folds(_:stratifiedBy:seed:)``.
  ///
  /// - Throws: as there.
  public func folds(
    _ folds: Int, stratifiedBy labels: [Int], seed: UInt64? = nil
  ) throws -> [Fold<SequenceDataset>] {
    try rounds(try ExampleSplit.folds(folds, stratifiedBy: labels, of: count, seed: seed))
  }

  private func rounds(_ folds: [[Int]]) throws -> [Fold<SequenceDataset>] {
    try folds.map { kept in
      Fold(
        training: try selecting(ExampleSplit.others(than: kept, of: count)),
        validation: try selecting(kept))
    }
  }
}

extension LabeledSeries {
  /// The series as a set whose batches are padded to lengths of their own: `series` f32[n, length, channels],
  /// `labels` i32[n] and `lengths` i32[n].
  ///
  /// - Throws: `invalidArgument` for a series without a step.
  public func sequences() throws -> SequenceDataset {
    try SequenceDataset(
      ["series": .arrays(series)],
      fixed: ["labels": NDArray(checking: labels.map { Int32($0) }, shape: [count])])
  }
}
