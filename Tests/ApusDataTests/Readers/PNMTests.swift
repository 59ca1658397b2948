// Images in Netpbm's binary formats.

import ApusGraph
import Testing

@testable import ApusData

@Suite struct PNMTests {
  private static func file(_ header: String, _ bytes: [UInt8]) -> [UInt8] {
    Array(header.utf8) + bytes
  }

  @Test func greyAndColour_ofBothWidths() throws {
    let grey = try PNM.parse(Self.file("P5\n3 2\n255\n", [1, 2, 3, 4, 5, 255]))
    #expect(grey == NDArray([1, 2, 3, 4, 5, 255] as [UInt8], shape: [2, 3, 1]))
    let colour = try PNM.parse(Self.file("P6 1 2 255 ", [1, 2, 3, 4, 5, 6]))
    #expect(colour == NDArray([1, 2, 3, 4, 5, 6] as [UInt8], shape: [2, 1, 3]))
    let wide = try PNM.parse(Self.file("P5 2 1 65535\t", [1, 2, 0xff, 0xff]))
    #expect(wide == NDArray([0x102, 0xffff] as [Int32], shape: [1, 2, 1]))
  }

  @Test func commentsAndSpacesMayStandBetweenWords() throws {
    let header = "P5#one\n # two\r\n2\t#three\n1#four\n#five\n  7\n"
    #expect(try PNM.parse(Self.file(header, [7, 0])).integers == [7, 0])
  }

  @Test func levelsAreScaledTo255() throws {
    func levels(_ header: String, _ bytes: [UInt8]) throws -> [Int] {
      try PNM.levels(Self.file(header, bytes), path: "f", limit: 1 << 20).integers
    }
    #expect(try levels("P5 3 1 15 ", [0, 7, 15]) == [0, 119, 255])
    #expect(try levels("P5 2 1 65535 ", [0xff, 0xff, 0x80, 0]) == [255, 128])
    #expect(try levels("P5 1 1 255 ", [9]) == [9])
  }

  @Test func whatIsWrongIsNamed() throws {
    func failure(_ header: String, _ bytes: [UInt8] = [], limit: Int? = nil) -> ApusError? {
      error { _ = try PNM.parse(Self.file(header, bytes), path: "f", limit: limit) }
    }
    #expect(failure("P5 2 1 7 ", [1, 8])?.what == "a number is larger than 7")
    #expect(failure("P5 2 1 7 ", [1, 8])?.location == "f, byte 10")
    #expect(failure("P5 2 2 255 ", [1, 2, 3])?.location == "f, byte 11")
    #expect(failure("P5 2 2 255 ", [1, 2, 3, 4, 5])?.kind == .invalidFile)
    #expect(failure("P5 0 2 255 ")?.what == "the width is 0")
    #expect(failure("P5 2 x 255 ")?.what == "the height is no number")
    #expect(failure("P5 2 2 65536 ")?.what == "the largest number is 65536")
    #expect(failure("P5 99999999999999999999 2 255 ")?.what == "the width is no number")
    #expect(failure("P5 2147483648 2147483648 255 ")?.kind == .invalidFile)
    #expect(failure("P52 2 255 ")?.kind == .invalidFile)
    #expect(failure("P5")?.kind == .invalidFile)
    #expect(failure("P5 #never ends")?.kind == .invalidFile)
    #expect(failure("P3 1 1 255 ")?.kind == .unsupported)
    #expect(failure("P4 1 1 ")?.kind == .unsupported)
    #expect(failure("GIF89a")?.kind == .invalidFile)
    #expect(failure("")?.kind == .invalidFile)
    #expect(failure("P5 2 2 255 ", [1, 2, 3, 4], limit: 3)?.kind == .resource)
    #expect(error { _ = try PNM.read("/nowhere.ppm") }?.kind == .io)
  }
}
