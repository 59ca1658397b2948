// Pictures: levels and colours, grids, enlargements, heat maps over images, and PNG files read back.

import Apus
import Foundation
import TestSupport
import Testing

@Suite struct PictureTests {
  /// The pixels of a picture as its PNG has them.
  private func decoded(_ picture: Picture) throws -> DecodedPNG {
    let found = try DecodedPNG(picture.png())
    #expect(found.width == picture.width && found.height == picture.height)
    #expect(found.channels == picture.channels && found.pixels == picture.pixels)
    return found
  }

  private func mistake(_ body: () throws -> Picture) -> ApusError? {
    #expect(throws: ApusError.self) { try body() }
  }

  // MARK: PNG

  @Test func everyPicture_comesBackFromItsFile() throws {
    var random = SplitMix("png")
    var filters: Set<UInt8> = []
    for (width, height, channels) in [(1, 1, 1), (1, 1, 3), (7, 5, 1), (5, 7, 3), (64, 33, 3)] {
      for kind in 0..<4 {
        let pixels = (0..<width * height * channels).map { place -> UInt8 in
          let (x, y) = (place / channels % width, place / channels / width)
          switch kind {
          case 0: return UInt8(random.uniform(0...255))
          case 1: return UInt8((3 * x + 5 * y) & 255)
          case 2: return UInt8((x * x + y * y * y + 40 * (place % channels)) & 255)
          default: return 200
          }
        }
        let picture = try Picture(width: width, height: height, channels: channels, pixels: pixels)
        filters.formUnion(try decoded(picture).filters)
      }
    }
    #expect(filters.count >= 4, "\(filters)")
  }

  @Test func aFileIsWrittenWhole_andSmoothPicturesAreSmall() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let slope = NDArray((0..<256 * 256).map { Float($0 % 256 + $0 / 256) }, shape: [256, 256])
    let path = folder.appending(path: "slope.png").path
    try Picture(slope).write(png: path)
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    #expect(try DecodedPNG(bytes).pixels.count == 65536)
    // Every second number steps by one: the filters leave next to nothing.
    #expect(bytes.count < 4096)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["slope.png"])
    let error = #expect(throws: ApusError.self) {
      try Picture(slope).write(png: folder.path + "/nowhere/slope.png")
    }
    #expect(error?.kind == .io)
  }

  // MARK: Levels

  @Test func numbersBecomeLevels_byTheScale() throws {
    let x = NDArray([0, 1, 2, 3, 4, 8], shape: [2, 3])
    #expect(try Picture(x).pixels == [0, 32, 64, 96, 128, 255])
    #expect(try Picture(x, scale: .range(2...4)).pixels == [0, 0, 0, 128, 255, 255])
    let signed = NDArray([-1, 0, 2, 4], shape: [2, 2])
    #expect(try Picture(signed, scale: .symmetric).pixels == [96, 128, 191, 255])
    let bytes = NDArray([0, 7, 255] as [UInt8], shape: [1, 3, 1])
    #expect(try Picture(bytes).pixels == [0, 7, 255])
    #expect(try Picture(bytes, scale: .wholeArray).pixels == [0, 7, 255])
    #expect(try Picture(NDArray([false, true], shape: [1, 2])).pixels == [0, 255])
    #expect(try Picture(NDArray([5, 5], shape: [1, 2])).pixels == [0, 0])
    #expect(try Picture(NDArray([0, 0], shape: [1, 2]), scale: .symmetric).pixels == [128, 128])
    let large = NDArray([-.greatestFiniteMagnitude, 0, .greatestFiniteMagnitude], shape: [1, 3])
    #expect(try Picture(large).pixels == [0, 128, 255])
  }

  @Test func eachImage_hasAScaleOfItsOwn_whereThatIsWanted() throws {
    let x = NDArray([0, 1, 0, 100], shape: [2, 1, 2, 1])
    let each = try Picture(x, scale: .eachImage, columns: 1, gap: 0)
    #expect(each.pixels == [0, 255, 0, 255] && each.width == 2 && each.height == 2)
    #expect(try Picture(x, columns: 1, gap: 0).pixels == [0, 3, 0, 255])
  }

  @Test func whatIsNoNumber_hasAColourOfItsOwn() throws {
    let x = NDArray([0, .nan, 1, .infinity, -.infinity, 0.5], shape: [2, 3])
    let picture = try Picture(x)
    #expect(picture.channels == 3)
    let colors = (0..<6).map { picture.color($0 % 3, $0 / 3) }
    #expect(
      colors == [.black, .magenta, .white, .white, .black, .gray(128)])
    #expect(try Picture(x, undefined: .gray(9)).pixels == [0, 9, 255, 255, 0, 128])
    // Nothing is finite: there is no scale.
    #expect(try Picture(NDArray([.nan, .nan], shape: [1, 2])).color(1, 0) == .magenta)
    #expect(picture.color(3, 0) == nil && picture.color(0, -1) == nil)
  }

  @Test func colours_areThoseOfTheMaps() throws {
    let x = NDArray([0, 0.5, 1], shape: [1, 3])
    let viridis = try Picture(x, map: .viridis)
    #expect(viridis.color(0, 0) == Picture.Color(red: 0x44, green: 0x01, blue: 0x54))
    #expect(viridis.color(2, 0) == Picture.Color(red: 0xfd, green: 0xe7, blue: 0x25))
    // matplotlib's viridis at 0.5: (0.1281, 0.5651, 0.5509).
    let middle = try #require(viridis.color(1, 0))
    #expect(abs(Int(middle.red) - 33) <= 2 && abs(Int(middle.green) - 144) <= 2)
    #expect(abs(Int(middle.blue) - 140) <= 2)
    let mixed = try Picture(
      x, map: ColorMap([.black, Picture.Color(red: 200, green: 0, blue: 100)]))
    #expect(mixed.color(1, 0) == Picture.Color(red: 100, green: 0, blue: 50))
    #expect(try Picture(x, map: .gray).color(1, 0) == .gray(128))
    let rgb = NDArray([0, 128, 255, 255, 0, 64] as [UInt8], shape: [1, 2, 3])
    #expect(try Picture(rgb).color(1, 0) == Picture.Color(red: 255, green: 0, blue: 64))
    #expect(try Picture(x, map: ColorMap([])).pixels.allSatisfy { $0 == 0 })
  }

  // MARK: Composition

  @Test func imagesStandInAGrid() throws {
    let x = NDArray([1, 2, 3].flatMap { [Float($0), Float($0)] }, shape: [3, 1, 2, 1])
    let picture = try Picture(x, scale: .range(0...255), columns: 2, gap: 1, background: .gray(9))
    #expect(picture.width == 5 && picture.height == 3 && picture.channels == 1)
    #expect(
      picture.pixels == [1, 1, 9, 2, 2, 9, 9, 9, 9, 9, 3, 3, 9, 9, 9])
    // As square as can be: 5 in three columns.
    let five = NDArray(zeros: .f32(5, 2, 2, 1))
    let square = try Picture(five, gap: 0)
    #expect(square.width == 6 && square.height == 4)
    // One of other columns than images, of colours in the gap.
    let red = Picture.Color(red: 255, green: 0, blue: 0)
    let wide = try Picture(five, columns: 100, gap: 2, background: red)
    #expect(wide.width == 18 && wide.height == 2 && wide.channels == 3 && wide.color(2, 0) == red)
    // Pictures of several sizes and kinds.
    let both = try Picture.grid([square, try Picture(five, map: .magma)], columns: 1, gap: 0)
    #expect(both.channels == 3 && both.width == 8 && both.height == 2 * 5)
    #expect(both.color(7, 0) == .white)
  }

  @Test func channels_areDrawnOneByOne() throws {
    let maps = NDArray([0, 1, 10, 4, 1, 2, 20, 8], shape: [1, 2, 2, 2])
    // Channel 0: 0, 10, 1, 20. Channel 1: 1, 4, 2, 8.
    let whole = try Picture(channelsOf: maps, scale: .range(0...255), columns: 1, gap: 0)
    #expect(whole.pixels == [0, 10, 1, 20, 1, 4, 2, 8])
    let each = try Picture(channelsOf: maps.reshaped([2, 2, 2]), columns: 1, gap: 0)
    #expect(each.pixels[3] == 255 && each.pixels[7] == 255 && each.pixels[4] == 0)
  }

  @Test func pixelsAreEnlarged_asSquares() throws {
    let picture = try Picture(NDArray([1, 2, 3, 4], shape: [2, 2]), scale: .range(0...255))
    let large = try picture.enlarged(by: 2)
    #expect(large.pixels == [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4])
    #expect(try picture.enlarged(by: 1) == picture)
  }

  /// As `interpolate` in its bilinear mode, which has tests of its own against PyTorch.
  @Test func aHeatMap_isBroughtToThePicturesSize() throws {
    var random = SplitMix("heat")
    for (rows, columns, height, width) in [
      (2, 3, 7, 8), (7, 7, 28, 28), (5, 4, 3, 2), (1, 1, 3, 5),
    ] {
      let heat = NDArray(
        (0..<rows * columns).map { _ in Float(random.uniform(0...1)) },
        shape: [1, rows, columns, 1])
      let resize = try compile(heat.type) {
        interpolate($0, size: [height, width], mode: .bilinear)
      }
      let wanted: NDArray = try resize(heat)
      let black = try Picture(NDArray(zeros: .f32(height, width)))
      let over = try black.overlaid(with: heat, map: .gray, scale: .range(0...1), opacity: 1)
      for (place, value) in wanted.doubles.enumerated() {
        #expect(abs(Double(over.pixels[3 * place]) - 255 * value) <= 0.51)
      }
    }
  }

  @Test func anOverlay_isMixedByItsOpacity() throws {
    let picture = try Picture(NDArray([0, 255], shape: [1, 2]), scale: .range(0...255))
    let heat = NDArray([0, 1], shape: [1, 2, 1])
    let red = ColorMap([.black, Picture.Color(red: 255, green: 0, blue: 0)])
    let half = try picture.overlaid(with: heat, map: red)
    #expect(half.color(0, 0) == .black)
    #expect(half.color(1, 0) == Picture.Color(red: 255, green: 128, blue: 128))
    #expect(try picture.overlaid(with: heat, map: red, opacity: 0).color(1, 0) == .white)
    let undefined = try picture.overlaid(with: NDArray([.nan, 1], shape: [1, 2]), opacity: 1)
    #expect(undefined.color(0, 0) == .magenta)
  }

  // MARK: Mistakes

  @Test func arraysThatAreNoPictures_areRefusedWithTheReason() throws {
    let rank = mistake { try Picture(NDArray(zeros: .f32(4))) }
    #expect(rank?.kind == .shapeMismatch && rank?.expected?.contains("[n, h, w, channels]") == true)
    #expect(mistake { try Picture(NDArray(zeros: .f32(1, 2, 3, 4, 1))) }?.kind == .shapeMismatch)
    let channels = mistake { try Picture(NDArray(zeros: .f32(2, 8, 8, 16))) }
    #expect(channels?.what.contains("16 channels") == true)
    #expect(channels?.expected?.contains("Picture(channelsOf:)") == true)
    // [n, h, w] is read as [h, w, channels]: the way out is said.
    let stack = mistake { try Picture(NDArray(zeros: .f32(10, 28, 28))) }
    #expect(stack?.expected?.contains("[n, h, w, 1]") == true)
    for empty: TensorType in [.f32(0, 3), .f32(0, 2, 2, 1), .f32(2, 0, 2, 1)] {
      let error = mistake { try Picture(NDArray(zeros: empty)) }
      #expect(error?.kind == .shapeMismatch && error?.what.contains("empty") == true)
    }
    #expect(mistake { try Picture(channelsOf: NDArray(zeros: .f32(2, 4, 4, 8))) } != nil)
    #expect(mistake { try Picture(channelsOf: NDArray(zeros: .f32(4, 4, 0))) } != nil)
    let rgb = NDArray(zeros: .f32(2, 2, 3))
    #expect(mistake { try Picture(rgb, map: .magma) }?.kind == .invalidArgument)
    #expect(mistake { try Picture(rgb, scale: .range(1...1)) }?.kind == .invalidArgument)
    #expect(mistake { try Picture(rgb, scale: .range(0 ... .infinity)) }?.kind == .invalidArgument)
  }

  @Test func gridsAndSizesThatCannotBe_areRefused() throws {
    let picture = try Picture(NDArray(zeros: .f32(2, 3)))
    #expect(mistake { try Picture.grid([]) }?.kind == .invalidArgument)
    #expect(mistake { try Picture.grid([picture], columns: 0) }?.kind == .invalidArgument)
    #expect(mistake { try Picture.grid([picture], gap: -1) }?.kind == .invalidArgument)
    #expect(mistake { try Picture.grid([picture, picture], gap: .max) } != nil)
    for factor in [0, -1, 1 << 20, Int.max] {
      #expect(mistake { try picture.enlarged(by: factor) }?.kind == .invalidArgument)
    }
    #expect(mistake { try picture.overlaid(with: NDArray(zeros: .f32(2, 2, 2))) } != nil)
    #expect(mistake { try picture.overlaid(with: NDArray(zeros: .f32(0, 2))) } != nil)
    for opacity in [-0.1, 1.1, .nan] {
      let error = mistake {
        try picture.overlaid(with: NDArray(zeros: .f32(2, 2)), opacity: opacity)
      }
      #expect(error?.kind == .invalidArgument)
    }
    #expect(mistake { try Picture(width: 2, height: 2, channels: 2, pixels: []) } != nil)
    #expect(mistake { try Picture(width: 2, height: 2, channels: 1, pixels: [0]) } != nil)
    #expect(mistake { try Picture(width: -1, height: 2, channels: 1, pixels: []) } != nil)
    #expect(mistake { try Picture(width: .max, height: .max, channels: 3, pixels: []) } != nil)
  }
}
