// From the elements of a file to an array: other byte orders, other layouts, other integers.
//
// Elements are read straight into the array where they stand there as the file has them, and through a
// small buffer where they do not. In no case is there a second copy of them.

import ApusGraph

/// How a file stores the elements of an array.
struct StoredElements {
  enum Kind: Equatable {
    /// Bytes of an element type of ours.
    case same(DType)
    /// Integers that arrays do not have; they become i32, the last i64.
    case i8, i16, u16, u32
  }

  var kind: Kind
  var shape: Shape
  var isBigEndian = false
  /// Whether the first index moves fastest.
  var isColumnMajor = false

  /// Bytes an element takes in the file.
  var size: Int {
    switch kind {
    case .same(let dtype): dtype.byteCount
    case .i8: 1
    case .i16, .u16: 2
    case .u32: 4
    }
  }

  /// The element type of the array.
  var dtype: DType {
    switch kind {
    case .same(let dtype): dtype
    case .i8, .i16, .u16: .i32
    case .u32: .i64
    }
  }

  /// Bytes of all elements in the file, nil where the shape is no array's.
  var byteCount: Int? {
    guard let count = checkedCount(shape.dimensions),
      case let (bytes, overflow) = count.multipliedReportingOverflow(by: size), !overflow
    else { return nil }
    return bytes
  }

  /// Reads all elements; nothing may follow them.
  ///
  /// - `name`: what the array is called in the error of the limit.
  /// - Throws: `resource` where the array would be larger than `limit` or memory; `invalidFile` where the
  ///   elements are fewer or more than the shape says, or a bool is neither 0 nor 1.
  func array(from stream: some ByteStream, limit: MemoryLimit, name: String) throws -> NDArray {
    guard let byteCount else {
      throw stream.fail("the shape \(shape) is absurd", expected: "an array that fits in memory")
    }
    // A header that lies is found out before memory is taken.
    guard byteCount <= stream.mostRemaining else {
      throw endsEarly(stream, at: stream.offset + stream.mostRemaining, stream.mostRemaining)
    }
    let type = TensorType(dtype, shape)
    try limit.check(type.byteCount, for: "\(name), \(type),", at: stream.place(0))
    var result = try NDArray(checking: type)
    try result.withUnsafeMutableBytes { target in
      if case .same = kind, !isColumnMajor || shape.rank < 2 {
        try fill(target, from: stream)
      } else {
        try scatter(into: target, from: stream)
      }
    }
    let end = stream.offset
    guard
      try withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1, { try stream.read(into: $0) })
        == 0
    else {
      throw stream.fail(
        "bytes follow the last element", at: end, expected: "\(byteCount) bytes for shape \(shape)")
    }
    return result
  }

  private func endsEarly(_ stream: some ByteStream, at offset: Int, _ count: Int) -> ApusError {
    stream.fail(
      "the file ends within its elements", at: offset,
      expected: "\(byteCount ?? 0) bytes for shape \(shape), there are \(count) at most")
  }

  /// The next elements of the stream in the byte order of this machine; bools are looked at.
  private func fill(_ target: UnsafeMutableRawBufferPointer, from stream: some ByteStream) throws {
    let start = stream.offset
    let count = try stream.read(into: target)
    guard count == target.count else { throw endsEarly(stream, at: stream.offset, count) }
    if isBigEndian { target.swapElements(ofSize: size) }
    // Kernels count on it; a byte of 2 would be true to some of them and false to others.
    if kind == .same(.bool), let index = target.firstIndex(where: { $0 > 1 }) {
      throw stream.fail("a bool is \(target[index])", at: start + index, expected: "0 or 1")
    }
  }

  /// Reads piece by piece, converts, and puts each element where it belongs.
  private func scatter(
    into target: UnsafeMutableRawBufferPointer, from stream: some ByteStream
  ) throws {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    var places = Places(shape, isColumnMajor: isColumnMajor)
    var left = shape.count
    while left > 0 {
      let count = min(left, buffer.count / size)
      let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(count * size)])
      try fill(piece, from: stream)
      func put<T, U>(_: T.Type, _: U.Type, _ convert: (T) -> U) {
        let elements = piece.bindMemory(to: T.self), result = target.bindMemory(to: U.self)
        for element in elements { result[places.next()] = convert(element) }
      }
      switch kind {
      case .i8: put(Int8.self, Int32.self) { Int32($0) }
      case .i16: put(Int16.self, Int32.self) { Int32($0) }
      case .u16: put(UInt16.self, Int32.self) { Int32($0) }
      case .u32: put(UInt32.self, Int64.self) { Int64($0) }
      case .same:
        switch size {
        case 1: put(UInt8.self, UInt8.self) { $0 }
        case 2: put(UInt16.self, UInt16.self) { $0 }
        case 4: put(UInt32.self, UInt32.self) { $0 }
        default: put(UInt64.self, UInt64.self) { $0 }
        }
      }
      left -= count
    }
  }

  /// The places in a row-major array of the elements as they come.
  private struct Places {
    private let extents: [Int]
    private let strides: [Int]
    private var index: [Int]
    private var place = 0

    /// The axes from the one that moves fastest.
    init(_ shape: Shape, isColumnMajor: Bool) {
      extents = isColumnMajor ? shape.dimensions : [shape.count]
      strides = isColumnMajor ? shape.strides : [1]
      index = [Int](repeating: 0, count: extents.count)
    }

    mutating func next() -> Int {
      defer {
        for axis in extents.indices {
          index[axis] += 1
          place += strides[axis]
          if index[axis] < extents[axis] { break }
          place -= index[axis] * strides[axis]
          index[axis] = 0
        }
      }
      return place
    }
  }
}

extension UnsafeMutableRawBufferPointer {
  /// Reverses the bytes of each element of `size` bytes: the other endianness.
  func swapElements(ofSize size: Int) {
    func swap<T: FixedWidthInteger>(_: T.Type) {
      let elements = bindMemory(to: T.self)
      for index in elements.indices { elements[index] = elements[index].byteSwapped }
    }
    switch size {
    case 2: swap(UInt16.self)
    case 4: swap(UInt32.self)
    case 8: swap(UInt64.self)
    default: break
    }
  }
}
