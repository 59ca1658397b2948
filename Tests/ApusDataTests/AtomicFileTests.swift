// Files that are replaced whole or not at all.

import ApusGraph
import Foundation
import Synchronization
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

  /// With and without files that have no name yet, and hard links.
  private static let fileSystems: [FileAbilities] = [.all, .links, .unnamed, []]

  @Test(arguments: fileSystems)
  func everyFileSystem_hasBothFilesWholeAtEveryMoment(abilities: FileAbilities) throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/x"
      func write(_ number: Int) throws {
        let text = String(repeating: "\(number) ", count: 2000)
        try AtomicFile.write(to: path, keepingPrevious: true, abilities: abilities) {
          try $0.write(text)
        }
      }
      try write(1)
      try write(2)
      // A reader beside the writer: both files are there, and of one write each.
      let isDone = Atomic(false)
      let bad = Mutex<[String]>([])
      let reader = Thread {
        while !isDone.load(ordering: .relaxed) {
          for name in [path, "\(path).previous"] {
            let words = (try? contents(name)).map { Set($0.split(separator: UInt8(ascii: " "))) }
            if words?.count != 1 { bad.withLock { $0.append("\(name): \(words as Any)") } }
          }
        }
      }
      reader.start()
      for number in 3..<60 { try write(number) }
      isDone.store(true, ordering: .relaxed)
      while !reader.isFinished { usleep(1000) }
      #expect(bad.withLock { $0.prefix(3).isEmpty }, "\(bad.withLock { $0.prefix(3) })")
      #expect(try contents(path).starts(with: Array("59 59 ".utf8)))
      #expect(try contents("\(path).previous").starts(with: Array("58 58 ".utf8)))
      #expect(try names(in: folder) == ["x", "x.previous"])
    }
  }

  @Test func permissionsAreKeptByAFileThatHadNoName_andByACopy() throws {
    try withTemporaryFolder { folder in
      for abilities in Self.fileSystems {
        let path = "\(folder)/\(abilities.rawValue)"
        try AtomicFile.write("1", to: path)
        chmod(path, 0o640)
        for text in ["2", "3"] {
          try AtomicFile.write(to: path, keepingPrevious: true, abilities: abilities) {
            try $0.write(text)
          }
        }
        for name in [path, "\(path).previous"] {
          let attributes = try FileManager.default.attributesOfItem(atPath: name)
          #expect(attributes[.posixPermissions] as? Int == 0o640, "\(name)")
        }
      }
    }
  }

  @Test func whatDeadProcessesLeftIsRemoved_andNothingElse() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/x"
      let dead = ["x.tmp-1-1", "x.tmp-4194304-ab12", "x.previous.tmp-77-9"]
      let others = ["x.tmp-notes", "x.tmp-1-1.txt", "x.tmp-1-", "xx.tmp-1-1", "x.tmp-1-z"]
      for name in dead + others { try Data([1]).write(to: URL(filePath: "\(folder)/\(name)")) }
      try AtomicFile.write(to: path, abilities: []) {
        try $0.write("outer")
        // Somebody else's write finds ours alive.
        try AtomicFile.write("inner", to: path)
        let living = try names(in: folder).filter { !others.contains($0) && $0 != "x" }
        #expect(living.count == 1 && living[0].hasPrefix("x.tmp-\(getpid())-"))
      }
      #expect(try contents(path) == Array("outer".utf8))
      #expect(try names(in: folder) == (others + ["x"]).sorted())
    }
  }

  @Test func aFileHasNoNameBeforeItIsWhole() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/x"
      try AtomicFile.write(to: path) {
        try $0.write("text")
        // Where the file system can: a process that is killed now leaves nothing.
        let probe = open(folder, 0o20000000 | O_DIRECTORY | O_RDWR, 0o600)
        if probe >= 0 { #expect(try names(in: folder).isEmpty) }
        close(probe)
      }
      #expect(try names(in: folder) == ["x"])
    }
  }

  @Test func linksToNothingYetAreFollowed_andCirclesAreErrors() throws {
    try withTemporaryFolder { folder in
      let manager = FileManager.default
      try manager.createDirectory(atPath: "\(folder)/disk", withIntermediateDirectories: true)
      try manager.createSymbolicLink(atPath: "\(folder)/a", withDestinationPath: "b")
      try manager.createSymbolicLink(atPath: "\(folder)/b", withDestinationPath: "disk/real")
      for text in ["1", "2"] {
        try AtomicFile.write(to: "\(folder)/a", keepingPrevious: true) { try $0.write(text) }
        #expect(try contents("\(folder)/disk/real") == Array(text.utf8))
      }
      #expect(try names(in: folder) == ["a", "b", "disk"])
      #expect(try names(in: "\(folder)/disk") == ["real", "real.previous"])
      try manager.createSymbolicLink(atPath: "\(folder)/c", withDestinationPath: "d")
      try manager.createSymbolicLink(atPath: "\(folder)/d", withDestinationPath: "c")
      #expect(error { try AtomicFile.write("", to: "\(folder)/c") }?.kind == .io)
      #expect(error { try AtomicFile.checkWritable("\(folder)/c") }?.kind == .io)
    }
  }

  @Test func filesDoNotTakeTheNumbersOfClosedStreams() throws {
    let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
    let higher = TemporaryFile.lifted(descriptor, above: 200)
    defer { close(higher) }
    #expect(higher > 200 && fcntl(higher, F_GETFD) == FD_CLOEXEC)
    #expect(TemporaryFile.lifted(higher, above: 200) == higher)
    #expect(TemporaryFile.lifted(-1) == -1)
  }

  @Test func keptSpaceIsUsedByTheNextWrites_andLeavesNothing() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/x"
      let space = try FileReservation(path, bytes: 1 << 20, count: 2)
      for text in ["1", "22", "333"] {
        try AtomicFile.write(to: path, keepingPrevious: true) { try $0.write(text) }
        #expect(try contents(path) == Array(text.utf8))
      }
      try space.refill(to: 1, bytes: 1 << 20)
      #expect(try FileReservation.existing(path) == 2)
      #expect(try names(in: folder) == ["x", "x.previous"])
      do {
        let failure = error { try space.refill(to: 2, bytes: 1 << 60) }
        #expect(failure?.kind == .io && failure?.what.contains("reserve") == true)
        #expect(try names(in: folder) == ["x", "x.previous"])
      }
      _ = try FileReservation("/dev/null", bytes: 1 << 60)
      #expect(error { _ = try FileReservation("/nowhere/x", bytes: 1) }?.kind == .io)
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
