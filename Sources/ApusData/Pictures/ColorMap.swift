// Colours for numbers: the tables that heat maps are drawn with.

/// Colours from 0 to 1: what a heat map is drawn with.
///
///     Picture(heat, map: .magma)
///
/// A map is a few colours at equal distances; what lies between two of them is mixed of both.
public struct ColorMap: Sendable, Hashable {
  let stops: [Picture.Color]

  /// - `stops`: the colours from 0 to 1, at equal distances; of none, all is black.
  public init(_ stops: [Picture.Color]) { self.stops = stops }

  /// Colours of 24 bits: `0xRRGGBB`.
  private init(hex stops: [UInt32]) { self.init(stops.map { Picture.Color(hex: $0) }) }

  /// Black to white.
  public static let gray = ColorMap(hex: [0x000000, 0xffffff])

  /// Dark violet by green to yellow, equally bright steps for all eyes: matplotlib's map of that name (van der
  /// Walt and Smith, CC0) at 33 places, within 2 of 255 of it.
  public static let viridis = ColorMap(hex: [
    0x440154, 0x470d60, 0x48186a, 0x482374, 0x472d7b, 0x453681, 0x424086, 0x3f4989, 0x3b528b,
    0x375a8d, 0x33638d, 0x2f6a8e, 0x2c728e, 0x297a8e, 0x26818e, 0x23898e, 0x21908c, 0x1f988b,
    0x1f9f88, 0x21a685, 0x28ae80, 0x31b57b, 0x3ebc74, 0x4cc26c, 0x5dc963, 0x6ece58, 0x82d34c,
    0x96d83f, 0xabdc32, 0xc0df24, 0xd5e21a, 0xeae51a, 0xfde725,
  ])

  /// Black by red to light yellow: matplotlib's map of that name (van der Walt and Smith, CC0) at 33 places,
  /// within 2 of 255 of it.
  public static let magma = ColorMap(hex: [
    0x000004, 0x030311, 0x0a0822, 0x130d33, 0x1d1146, 0x28115a, 0x36106a, 0x430f76, 0x50127c,
    0x5d177f, 0x691c81, 0x762181, 0x822681, 0x8f2a81, 0x9c2e7f, 0xa9327d, 0xb63779, 0xc33b75,
    0xcf4170, 0xdb486a, 0xe65163, 0xee5c5e, 0xf5695c, 0xf9785d, 0xfb8761, 0xfd9668, 0xfea571,
    0xfeb47b, 0xfec387, 0xfed194, 0xfde0a2, 0xfceeb0, 0xfcfdbf,
  ])

  /// Blue below, white in the middle, red above: for numbers with a sign, with `.symmetric`.
  public static let blueRed = ColorMap(hex: [0x2166ac, 0xf7f7f7, 0xb2182b])

  /// The colour of a number; below 0 and above 1 those of the ends.
  func color(_ value: Double) -> Picture.Color {
    guard stops.count > 1 else { return stops.first ?? .black }
    let place = min(max(value, 0), 1) * Double(stops.count - 1)
    let index = min(Int(place), stops.count - 2)
    return stops[index].mixed(with: stops[index + 1], place - Double(index))
  }
}

extension Picture {
  /// A colour of 8 bits each of red, green and blue.
  public struct Color: Sendable, Hashable {
    public var red: UInt8
    public var green: UInt8
    public var blue: UInt8

    public init(red: UInt8, green: UInt8, blue: UInt8) {
      self.red = red
      self.green = green
      self.blue = blue
    }

    /// `0xRRGGBB`.
    init(hex: UInt32) {
      self.init(
        red: UInt8(hex >> 16 & 0xff), green: UInt8(hex >> 8 & 0xff), blue: UInt8(hex & 0xff))
    }

    public static let black = Color(hex: 0x000000)
    public static let white = Color(hex: 0xffffff)
    public static let magenta = Color(hex: 0xff00ff)
    /// The same of each.
    public static func gray(_ level: UInt8) -> Color {
      Color(red: level, green: level, blue: level)
    }

    var isGray: Bool { red == green && green == blue }
    var bytes: [UInt8] { [red, green, blue] }

    /// This colour with so much of another in its place, from 0 to 1.
    func mixed(with other: Color, _ share: Double) -> Color {
      func mix(_ a: UInt8, _ b: UInt8) -> UInt8 {
        UInt8((Double(a) + (Double(b) - Double(a)) * share).rounded())
      }
      return Color(
        red: mix(red, other.red), green: mix(green, other.green), blue: mix(blue, other.blue))
    }
  }
}
