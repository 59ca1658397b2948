// One JSON object a line on standard output.

import Foundation

/// An object whose keys keep their order.
struct JSONLine {
  private var members: [String] = []

  init(event: String) { add("event", event) }
  init() {}

  mutating func add(_ name: String, _ value: String) {
    members.append("\(Self.quoted(name)):\(Self.quoted(value))")
  }
  mutating func add(_ name: String, _ value: Int) {
    members.append("\(Self.quoted(name)):\(value)")
  }
  mutating func add(_ name: String, _ value: Bool) {
    members.append("\(Self.quoted(name)):\(value)")
  }
  /// JSON knows no NaN and no infinity: they become null.
  mutating func add(_ name: String, _ value: Double) {
    members.append("\(Self.quoted(name)):\(value.isFinite ? "\(value)" : "null")")
  }
  mutating func add(_ name: String, _ values: [String]) {
    members.append("\(Self.quoted(name)):[\(values.map(Self.quoted).joined(separator: ","))]")
  }

  var text: String { "{" + members.joined(separator: ",") + "}" }

  /// Writes the line at once: a reader may follow along.
  func write() { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      case "\r": result += "\\r"
      case let control where control.value < 0x20:
        result +=
          "\\u" + String(repeating: "0", count: control.value < 16 ? 3 : 2)
          + String(control.value, radix: 16)
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
