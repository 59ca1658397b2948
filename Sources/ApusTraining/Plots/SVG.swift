// The few elements of SVG that a plot needs, written as text.

/// A drawing. Elements are drawn in the order in which they are added.
package struct SVG {
  private let width, height: Double
  private let title: String
  private var elements: [String] = []

  package init(width: Double, height: Double, title: String) {
    self.width = width
    self.height = height
    self.title = title
  }

  /// Which end of a text stands at its place.
  package enum Anchor: String { case start, middle, end }

  /// How a text looks.
  package struct Font {
    package var size, angle: Double
    package var colour: String
    package var weight: Int
    package var anchor: Anchor
    package var hasHalo: Bool

    /// - `hasHalo`: whether a rim keeps the text legible on lines.
    /// - `angle`: degrees, counter-clockwise about the text's own place.
    package init(
      size: Double = 11, colour: String = "#444", weight: Int = 400, anchor: Anchor = .start,
      hasHalo: Bool = false, angle: Double = 0
    ) {
      self.size = size
      self.colour = colour
      self.weight = weight
      self.anchor = anchor
      self.hasHalo = hasHalo
      self.angle = angle
    }
  }

  /// A straight line.
  package mutating func line(
    _ a: (x: Double, y: Double), _ b: (x: Double, y: Double), colour: String, width: Double = 1,
    dashed: Bool = false
  ) {
    elements.append(
      "<line x1=\"\(number(a.x))\" y1=\"\(number(a.y))\" x2=\"\(number(b.x))\" y2=\"\(number(b.y))\""
        + " stroke=\"\(colour)\" stroke-width=\"\(number(width))\" stroke-linecap=\"round\""
        + (dashed ? " stroke-dasharray=\"5 5\"" : "") + "/>")
  }

  /// A line through points.
  ///
  /// - `opacity`: from 0 to 1.
  package mutating func polyline(
    _ points: [(x: Double, y: Double)], colour: String, width: Double, opacity: Double = 1,
    dashed: Bool = false
  ) {
    let places = points.map { "\(number($0.x)),\(number($0.y))" }.joined(separator: " ")
    elements.append(
      "<polyline points=\"\(places)\" fill=\"none\" stroke=\"\(colour)\" stroke-width=\"\(number(width))\""
        + " stroke-linecap=\"round\" stroke-linejoin=\"round\""
        + (opacity < 1 ? " stroke-opacity=\"\(number(opacity))\"" : "")
        + (dashed ? " stroke-dasharray=\"5 5\"" : "") + "/>")
  }

  /// An area with corners.
  package mutating func polygon(_ points: [(x: Double, y: Double)], fill: String) {
    let corners = points.map { "\(number($0.x)),\(number($0.y))" }.joined(separator: " ")
    elements.append("<polygon points=\"\(corners)\" fill=\"\(fill)\"/>")
  }

  /// A rectangle, with round corners where there is a radius.
  package mutating func rectangle(
    x: Double, y: Double, width: Double, height: Double, fill: String, stroke: String = "none",
    radius: Double = 0
  ) {
    elements.append(
      "<rect x=\"\(number(x))\" y=\"\(number(y))\" width=\"\(number(width))\""
        + " height=\"\(number(height))\" fill=\"\(fill)\" stroke=\"\(stroke)\""
        + (radius > 0 ? " rx=\"\(number(radius))\"" : "") + "/>")
  }

  /// A disc.
  ///
  /// - `title`: what a viewer shows where the pointer rests.
  package mutating func circle(
    _ center: (x: Double, y: Double), radius: Double, fill: String, title: String
  ) {
    elements.append(
      "<circle cx=\"\(number(center.x))\" cy=\"\(number(center.y))\" r=\"\(number(radius))\""
        + " fill=\"\(fill)\" stroke=\"#fff\" stroke-width=\"1.2\"><title>\(escaped(title))</title>"
        + "</circle>")
  }

  /// A line of text.
  package mutating func text(_ text: String, _ at: (x: Double, y: Double), _ font: Font = Font()) {
    var attributes =
      "x=\"\(number(at.x))\" y=\"\(number(at.y))\" font-size=\"\(number(font.size))\""
    attributes += " fill=\"\(font.colour)\""
    if font.weight != 400 { attributes += " font-weight=\"\(font.weight)\"" }
    if font.anchor != .start { attributes += " text-anchor=\"\(font.anchor.rawValue)\"" }
    if font.hasHalo {
      attributes +=
        " stroke=\"#fff\" stroke-width=\"3\" stroke-linejoin=\"round\""
        + " paint-order=\"stroke\""
    }
    if font.angle != 0 {
      attributes +=
        " transform=\"rotate(\(number(-font.angle)) \(number(at.x)) \(number(at.y)))\""
    }
    elements.append("<text \(attributes)>\(escaped(text))</text>")
  }

  /// The drawing as a part of a page.
  ///
  /// - `attributes`: more of its tag, as they are written there.
  package func element(_ attributes: String = "") -> String {
    """
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(number(width)) \(number(height))" \
    width="\(number(width))" height="\(number(height))" role="img" \
    font-family="Inter, 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif"\
    \(attributes.isEmpty ? "" : " " + attributes)>
    <title>\(escaped(title))</title>
    \(elements.joined(separator: "\n"))
    </svg>

    """
  }

  /// The file.
  package var document: String {
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + element()
  }
}

/// A coordinate with at most two decimals.
private func number(_ value: Double) -> String {
  let text = decimals(value, 2)
  guard text.contains(".") else { return text }
  var digits = Substring(text)
  while digits.last == "0" { digits.removeLast() }
  if digits.last == "." { digits.removeLast() }
  return String(digits)
}

/// Text as XML and HTML have it, between tags and in attributes in double quotes. What XML cannot hold, control
/// characters, is a replacement character.
package func escaped(_ text: String) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    case "\t", "\n", "\r": result.unicodeScalars.append(scalar)
    case _ where scalar.value < 0x20 || (0xfffe...0xffff).contains(scalar.value):
      result += "\u{fffd}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}
