// A set whose examples are made of another one's by a closure.

import ApusGraph

/// Examples that a closure makes of another set's; made by ``Dataset/map(_:fields:_:)``.
public struct MappedDataset: Dataset {
  /// Makes an example: arrays by name, without the axis of the batch, and random numbers of this example's own.
  public typealias Transform =
    @Sendable (_ example: NamedArrays, _ random: inout ExampleRandom) throws -> NamedArrays

  public let base: any Dataset
  public let fields: [ExampleField]
  /// What the closure does, in words.
  public let name: String
  private let transform: Transform

  init(
    _ base: any Dataset, _ name: String, _ fields: [ExampleField]?, _ transform: @escaping Transform
  )
    throws
  {
    self.base = base
    self.fields = fields ?? base.fields
    self.name = name
    self.transform = transform
    guard Set(self.fields.map { ByteName($0.name) }).count == self.fields.count else {
      throw ApusError(
        .invalidArgument, "the fields \(self.fields.map(\.name)) name one twice",
        expected: "unique names")
    }
    for field in self.fields { _ = try field.type.checked("field '\(field.name)'") }
  }

  public var count: Int { base.count }
  public var identity: String { "\(base.identity), \(name)" }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>
  ) throws {
    try fill(targets, with: examples, in: EpochKey())
  }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>, in epoch: EpochKey
  ) throws {
    let sources = base.fields
    var arrays = try sources.map { try NDArray(checking: $0.batched(examples.count)) }
    try arrays.lend { try base.fill($0, with: examples, in: epoch.below) }
    for (place, example) in examples.enumerated() {
      var named = NamedArrays()
      for (field, array) in zip(sources, arrays) { named[field.name] = array[element: place] }
      var random = epoch.random(for: example)
      let made: NamedArrays
      do { made = try transform(named, &random) } catch let error as ApusError {
        throw error.located(at: "example \(example), \(name)")
      }
      for (field, target) in zip(fields, targets) {
        guard let array = made[field.name], array.type == field.type else {
          throw ApusError(
            .shapeMismatch,
            "'\(name)' gave \(made[field.name].map { "'\(field.name)' as \($0.type)" } ?? "no '\(field.name)'")",
            at: "example \(example)", expected: "'\(field.name)', \(field.type)")
        }
        array.withUnsafeBytes { bytes in
          UnsafeMutableRawBufferPointer(rebasing: target[(place * bytes.count)...])
            .copyMemory(from: bytes)
        }
      }
    }
  }
}

extension NDArray {
  /// An element of the first axis, which has one; `[place]` of a scalar's list is a scalar.
  fileprivate subscript(element place: Int) -> NDArray {
    let type = type.with(Shape(Array(shape.dimensions.dropFirst())))
    let size = type.byteCount
    return withUnsafeBytes { source in
      NDArray(type) { target in
        target.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: source[place * size..<(place + 1) * size]))
      }
    }
  }
}

extension Dataset {
  /// A set whose examples are made of this one's by a closure, as batches are prepared.
  ///
  ///     let noisy = try data.map("noise of 0.1") { example, random in
  ///       var example = example
  ///       let x = example["x"]!
  ///       example["x"] = try NDArray(
  ///         checking: x.floats.map { $0 + Float(random.uniform(in: -0.1...0.1)) }, shape: x.shape)
  ///       return example
  ///     }
  ///
  /// The closure is called on the thread that prepares batches. It has the arrays of one example, without the axis of
  /// the batch, and random numbers that follow from seed, epoch and example alone: with them, and without any other
  /// source of chance, equal seeds give equal bits, also in a run that is resumed.
  ///
  /// - `name`: what it does, in words. A checkpoint compares it where a run is resumed; closures cannot be compared.
  /// - `fields`: what an example has after it; what it had before where nil.
  /// - Throws: `invalidArgument` for two fields of one name or a shape that is none. Where the closure gives other
  ///   arrays than `fields`, reading a batch throws `shapeMismatch` with the example's number.
  public func map(
    _ name: String, fields: [ExampleField]? = nil, _ transform: @escaping MappedDataset.Transform
  ) throws -> MappedDataset {
    try MappedDataset(self, name, fields, transform)
  }
}
