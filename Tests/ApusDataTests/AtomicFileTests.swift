// Files that are replaced whole or not at all.

import ApusGraph
import Foundation
import Testing

@testable import ApusData

@Suite struct AtomicFileTests {
  @Test func aFileIsReplacedWhole() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/x"
      try AtomicFile.write("first", to: path)
      try AtomicFile.write(to: path) {
        try $0.write("sec")
        #expect(try contents(path) == Array("first".utf8))
        try $0.write(Array("ond".utf8))
        #expect($0.count == 6)
      }
      #expect(try contents(path) == Array("second".utf8))
      #expect(try names(in: folder) == ["x"])
    }
  }

  @Test func aFailureLeavesTheOldFileAndNothingElse() throws {
    struct Failure: Error {}
    try withTemporaryFolder { folder in
      let path = "\(folder)/x"
      try AtomicFile.write("first", to: path)
      #expect(throws: Failure.self) {
        try AtomicFile.write(to: path) {
          try $0.write("half")
          throw Failure()
        }
      }
      #expect(try contents(path) == Array("first".utf8))
      #expect(try names(in: folder) == ["x"])
    }
  }

  @Test func theFileBeforeIsKeptWhereAsked() throws {
    try withTemporaryFolder { folder in
      for text in ["1", "2", "3"] {
        try AtomicFile.write(to: "\(folder)/x", keepingPrevious: true) { try $0.write(text) }
      }
      #expect(try contents("\(folder)/x") == Array("3".utf8))
      #expect(try contents("\(folder)/x.previous") == Array("2".utf8))
      #expect(try names(in: folder) == ["x", "x.previous"])
    }
  }

  @Test func linksAreFollowedAndPermissionsKept() throws {
    try withTemporaryFolder { folder in
      try AtomicFile.write("1", to: "\(folder)/real")
      let manager = FileManager.default
      try manager.setAttributes([.posixPermissions: 0o640], ofItemAtPath: "\(folder)/real")
      try manager.createSymbolicLink(
        atPath: "\(folder)/link", withDestinationPath: "\(folder)/real")
      try AtomicFile.write("2", to: "\(folder)/link")
      #expect(try contents("\(folder)/real") == Array("2".utf8))
      #expect(try manager.destinationOfSymbolicLink(atPath: "\(folder)/link") == "\(folder)/real")
      let attributes = try manager.attributesOfItem(atPath: "\(folder)/real")
      #expect(attributes[.posixPermissions] as? Int == 0o640)
    }
  }

  @Test(arguments: ["/nowhere/x", "/proc/version/x", "", "/tmp/", "/tmp", "/proc/x"])
  func whereNothingCanBeWrittenIsAnError(path: String) {
    let failure = error { try AtomicFile.write("text", to: path) }
    #expect(failure?.kind == .io)
    #expect(error { try AtomicFile.checkWritable(path) }?.kind == .io)
  }

  @Test func aFullDiskIsAnError() {
    let failure = error { try AtomicFile.write("text", to: "/dev/full") }
    #expect(failure?.what.contains("No space left") == true)
    #expect(failure?.location == "/dev/full, byte 0")
  }

  @Test func checkingLeavesNothingBehind() throws {
    try withTemporaryFolder { folder in
      try AtomicFile.checkWritable("\(folder)/x")
      #expect(try names(in: folder).isEmpty)
      try AtomicFile.checkWritable("/dev/null")
    }
  }
}
