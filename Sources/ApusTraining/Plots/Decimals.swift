// Numbers as people read them.

/// A number with that many decimals; a dash where there is none, or no finite one.
package func decimals(_ value: Double?, _ places: Int) -> String {
  guard let value, value.isFinite else { return "-" }
  let scale = (0..<places).reduce(1) { scale, _ in scale * 10 }
  guard let scaled = Int(exactly: (abs(value) * Double(scale)).rounded()) else { return "\(value)" }
  let sign = value < 0 && scaled != 0 ? "-" : ""
  guard places > 0 else { return "\(sign)\(scaled)" }
  let fraction = String(scaled % scale)
  return "\(sign)\(scaled / scale)."
    + String(repeating: "0", count: places - fraction.count) + fraction
}

/// A number in a few characters: so many significant digits, `1.2e-05` and `3e+07` where it is far from 1. What is no
/// number, as it is called: `nan`.
package func compact(_ value: Double, digits: Int = 4) -> String {
  guard value.isFinite, value != 0 else { return value == 0 ? "0" : "\(value)" }
  var exponent = 0
  var size = abs(value)
  while size >= 10 {
    size /= 10
    exponent += 1
  }
  while size < 1 {
    size *= 10
    exponent -= 1
  }
  func trimmed(_ text: String) -> String {
    guard text.contains(".") else { return text }
    var digits = Substring(text)
    while digits.last == "0" { digits.removeLast() }
    if digits.last == "." { digits.removeLast() }
    return String(digits)
  }
  if (-4..<7).contains(exponent) {
    return trimmed(decimals(value, min(max(digits - 1 - exponent, 0), 9)))
  }
  let mantissa = trimmed(decimals(value < 0 ? -size : size, digits - 1))
  let magnitude = abs(exponent) < 10 ? "0\(abs(exponent))" : "\(abs(exponent))"
  return "\(mantissa)e\(exponent < 0 ? "-" : "+")\(magnitude)"
}
