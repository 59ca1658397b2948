// Elements moved by their bytes, for the references of ops that compute nothing.

import ApusGraph

extension NDArray {
  /// Writes the elements of `source`, which has this array's element type, to those places.
  mutating func place(_ source: NDArray, at places: [Int]) {
    let size = dtype.byteCount
    withUnsafeMutableBytes { target in
      source.withUnsafeBytes { bytes in
        for (index, place) in places.enumerated() {
          UnsafeMutableRawBufferPointer(rebasing: target[place * size..<(place + 1) * size])
            .copyBytes(from: bytes[index * size..<(index + 1) * size])
        }
      }
    }
  }

  /// The elements at those places, as an array of that shape.
  func elements(at places: [Int], shape: Shape) -> NDArray {
    let size = dtype.byteCount
    return NDArray(type.with(shape)) { target in
      withUnsafeBytes { bytes in
        for (index, place) in places.enumerated() {
          UnsafeMutableRawBufferPointer(rebasing: target[index * size..<(index + 1) * size])
            .copyBytes(from: bytes[place * size..<(place + 1) * size])
        }
      }
    }
  }
}
