// Photographs and other images as arrays: PNG and JPEG by the system's libraries, and Netpbm's formats.
//
// The decoders leave mistakes by longjmp, which must not cross frames of Swift: they are called through CImageCodecs.

import ApusData
import ApusGraph
import CImageCodecs

/// Reads PNG, JPEG, PPM and PGM files, told apart by their first bytes.
///
///     import ApusImages
///
///     let image = try ImageFile.read("cat.jpg")                     // u8[height,width,3]
///     let grey = try ImageFile.read("scan.png", channels: .gray)    // u8[height,width,1]
///
/// Pixels have 8 bits: 16 of a PNG become 8, palettes become colours. Orientations and colour profiles that a file
/// notes are not applied, as torchvision's `decode_image` does not apply them by default.
public enum ImageFile {
  /// Which channels an image shall have.
  public enum Channels: Sendable, Hashable {
    /// Those of the file: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    case asStored
    /// 1. Colours by 0.299 R + 0.587 G + 0.114 B, as Pillow's mode L; without alpha.
    case gray
    /// 3, without alpha.
    case rgb
  }

  /// The most bytes of an image, where nobody says: 2^28.
  public static let usualLimit = 1 << 28

  /// The image in a file: u8[height, width, channels].
  ///
  /// - `limit`: the most bytes that the file, and the array, may have. Decoding takes at most as many besides, and 2^20.
  /// - Throws: `io` where the file cannot be read; `invalidFile` where its bytes are damaged or end early;
  ///   `unsupported` for other formats and for the inks of print (CMYK); `resource` where file, image or decoder are
  ///   larger than `limit`, before memory is taken for the image.
  public static func read(
    _ path: String, channels: Channels = .asStored, limit: Int = usualLimit
  ) throws -> NDArray {
    try check(limit)
    return try decode(
      try FileContents.bytes(of: path, limit: limit, expected: "an image"), channels: channels,
      path: path, limit: limit)
  }

  /// The image in the bytes of a file; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:channels:limit:)``.
  public static func decode(
    _ bytes: [UInt8], channels: Channels = .asStored, path: String = "<bytes>",
    limit: Int = usualLimit
  ) throws -> NDArray {
    try check(limit)
    let image: NDArray
    if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]) {
      image = try Decoder.png(keepsAlpha: channels == .asStored).image(bytes, path, limit)
    } else if bytes.starts(with: [0xff, 0xd8]) {
      image = try Decoder.jpeg.image(bytes, path, limit)
    } else if PNM.isPNM(bytes) {
      image = try PNM.levels(bytes, path: path, limit: limit)
    } else {
      throw ApusError(
        .unsupported, "this is no image that is known", at: path, expected: "PNG, JPEG, PPM or PGM")
    }
    switch channels {
    case .gray where image.shape[2] == 3: return try image.gray()
    case .rgb where image.shape[2] == 1:
      guard image.count <= limit / 3 else {
        throw tooLarge(Shape([image.shape[0], image.shape[1], 3]), path, limit)
      }
      return try image.rgb()
    default: return image
    }
  }

  private static func check(_ limit: Int) throws {
    guard limit >= 0 else {
      throw ApusError(.invalidArgument, "a limit of \(limit) bytes", expected: "0 bytes or more")
    }
  }

  static func tooLarge(_ shape: Shape, _ path: String, _ limit: Int) -> ApusError {
    ApusError(
      .resource, "the image \(shape) would take \(shape.count) bytes", at: path,
      expected: "at most \(limit) bytes, the limit: 'limit:' raises it for a file you trust")
  }
}

/// One of the two libraries.
private enum Decoder {
  case png(keepsAlpha: Bool)
  case jpeg

  func image(_ bytes: [UInt8], _ path: String, _ limit: Int) throws -> NDArray {
    // A progressive JPEG is held as coefficients, of 2 bytes and with what fills its blocks up.
    let memory = min(limit, 1 << 40) + 1 << 20
    var header = ic_header()
    var message = ic_message()
    let found = bytes.withUnsafeBufferPointer { bytes in
      switch self {
      case .png: ic_png_header(bytes.baseAddress, bytes.count, memory, &header, &message)
      case .jpeg: ic_jpeg_header(bytes.baseAddress, bytes.count, memory, &header, &message)
      }
    }
    try check(found, message, path, limit)
    var channels = Int(header.channels)
    if case .png(false) = self { channels = channels >= 3 ? 3 : 1 }
    let shape: Shape = [Int(header.height), Int(header.width), channels]
    // Each extent has at most 32 bits, so that the saturating product cannot be small by mistake.
    guard shape.count <= limit else { throw ImageFile.tooLarge(shape, path, limit) }
    var image = try NDArray(checking: TensorType(.u8, shape))
    let made = image.withUnsafeMutableBytes { target in
      let pixels = target.bindMemory(to: UInt8.self)
      return bytes.withUnsafeBufferPointer { bytes in
        switch self {
        case .png(let keepsAlpha):
          ic_png_decode(
            bytes.baseAddress, bytes.count, memory, keepsAlpha ? 1 : 0, pixels.baseAddress,
            pixels.count, &message)
        case .jpeg:
          ic_jpeg_decode(
            bytes.baseAddress, bytes.count, memory, pixels.baseAddress, pixels.count, &message)
        }
      }
    }
    try check(made, message, path, limit)
    return image
  }

  private func check(_ code: CInt, _ message: ic_message, _ path: String, _ limit: Int) throws {
    if code == CInt(ic_ok) { return }
    let name = if case .jpeg = self { "JPEG" } else { "PNG" }
    let text = withUnsafeBytes(of: message.text) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    switch code {
    case CInt(ic_unsupported):
      throw ApusError(.unsupported, "\(name): \(text)", at: path, expected: "grey or RGB")
    case CInt(ic_memory):
      throw ApusError(
        .resource, "\(name): decoding takes more than \(limit) bytes", at: path,
        expected: "a smaller image; 'limit:' raises it for a file you trust")
    default:
      throw ApusError(.invalidFile, "\(name): \(text)", at: path, expected: "a whole \(name) file")
    }
  }
}

extension NDArray {
  /// The brightness of RGB pixels, as Pillow rounds it.
  fileprivate func gray() throws -> NDArray {
    var result = try NDArray(checking: .u8(shape[0], shape[1], 1))
    result.withUnsafeMutableBytes { target in
      withUnsafeBytes { source in
        for pixel in target.indices {
          let (r, g, b) = (source[3 * pixel], source[3 * pixel + 1], source[3 * pixel + 2])
          let sum = UInt32(r) * 19595 + UInt32(g) * 38470 + UInt32(b) * 7471
          target[pixel] = UInt8((sum + 0x8000) >> 16)
        }
      }
    }
    return result
  }

  /// Three channels of one.
  fileprivate func rgb() throws -> NDArray {
    var result = try NDArray(checking: .u8(shape[0], shape[1], 3))
    result.withUnsafeMutableBytes { target in
      withUnsafeBytes { source in
        for pixel in source.indices {
          for channel in 0..<3 { target[3 * pixel + channel] = source[pixel] }
        }
      }
    }
    return result
  }
}
