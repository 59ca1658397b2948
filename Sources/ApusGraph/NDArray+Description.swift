// Arrays as text, the way NumPy prints them: brackets for axes, columns aligned, the middle of large
// arrays left out.

extension NDArray {
  /// The type, and the elements in nested brackets; of an array of more than 1000 elements three at each
  /// end of an axis.
  ///
  ///     print(NDArray([1, 2, 3, 4], shape: [2, 2]))
  ///     // f32[2,2]
  ///     // [[1.0, 2.0],
  ///     //  [3.0, 4.0]]
  public var description: String {
    if shape.rank == 0 { return "\(type) \(text(of: 0))" }
    let printer = ArrayPrinter(self)
    return "\(type)\(shape.rank > 1 ? "\n" : " ")\(printer.text(axis: 0, from: 0))"
  }

  /// One element, exactly: the shortest digits that give it back.
  func text(of index: Int) -> String {
    func read<T: BitwiseCopyable>(_: T.Type) -> T {
      storage.bytes.loadUnaligned(fromByteOffset: index * dtype.byteCount, as: T.self)
    }
    switch dtype {
    case .f32: return "\(read(Float.self))"
    case .bf16: return "\(BFloat16.float(bits: read(UInt16.self)))"
    case .f16: return "\(Half.float(bits: read(UInt16.self)))"
    case .f64: return "\(read(Double.self))"
    case .i32: return "\(read(Int32.self))"
    case .i64: return "\(read(Int64.self))"
    case .u8: return "\(read(UInt8.self))"
    case .bool: return read(UInt8.self) != 0 ? "true" : "false"
    }
  }
}

private struct ArrayPrinter {
  let array: NDArray
  let strides: [Int]
  /// Whether only the ends of axes are shown.
  let isShortened: Bool
  /// All elements are padded to this many characters, where there are columns to align.
  private var width = 0

  /// How many elements are shown at each end of an axis.
  private static let edge = 3

  init(_ array: NDArray) {
    self.array = array
    strides = array.shape.strides
    isShortened = array.count > 1000 || array.shape.dimensions.contains { $0 > 1000 }
    if array.shape.rank > 1 { width = widest(axis: 0, from: 0) }
  }

  /// The positions to show along an axis; nil stands for those left out.
  private func positions(_ axis: Int) -> [Int?] {
    let extent = array.shape[axis]
    guard isShortened, extent > 2 * Self.edge else { return Array(0..<extent) }
    return Array(0..<Self.edge) + [nil] + Array(extent - Self.edge..<extent)
  }

  private func widest(axis: Int, from start: Int) -> Int {
    positions(axis).compactMap { $0 }.reduce(0) { widest, position in
      let element = start + position * strides[axis]
      return max(
        widest,
        axis == array.shape.rank - 1
          ? array.text(of: element).count : self.widest(axis: axis + 1, from: element))
    }
  }

  func text(axis: Int, from start: Int) -> String {
    let isLast = axis == array.shape.rank - 1
    let parts = positions(axis).map { position -> String in
      guard let position else { return "…" }
      let element = start + position * strides[axis]
      guard isLast else { return text(axis: axis + 1, from: element) }
      let number = array.text(of: element)
      return String(repeating: " ", count: max(width - number.count, 0)) + number
    }
    // An empty line between matrices, two between blocks of them, and each below its bracket.
    let breaks = String(repeating: "\n", count: array.shape.rank - axis - 1)
    let indent = String(repeating: " ", count: axis + 1)
    return "[\(parts.joined(separator: isLast ? ", " : ",\(breaks)\(indent)"))]"
  }
}
