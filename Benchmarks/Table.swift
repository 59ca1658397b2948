// Tables for people: a line is printed when it is known, in columns whose widths are fixed before.

import Apus

/// How a cell is coloured, where colours are wanted.
enum CellColour: String {
  case plain = ""
  case good = "32"
  case fair = "33"
  case poor = "31"
  case faint = "2"

  /// Of a fraction of a peak.
  init(fraction: Double) {
    self = fraction >= 0.85 ? .good : fraction >= 0.5 ? .fair : fraction < 0.5 ? .poor : .plain
  }

  /// Of how many times as long the other side took.
  init(ratio: Double) { self = ratio >= 1 ? .good : ratio < 1 ? .poor : .plain }
}

/// One cell of a table.
struct Cell {
  var text: String
  var colour = CellColour.plain

  init(_ text: String, _ colour: CellColour = .plain) {
    self.text = text
    self.colour = colour
  }
}

/// Lays out lines: the first column to the left, numbers to the right.
struct Table {
  private let widths: [Int]
  private let colour: Bool
  /// The line of titles.
  let header: String

  /// - `columns`: titles, and the least widths of the columns.
  init(_ columns: [(title: String, width: Int)], colour: Bool) {
    widths = columns.map { max($0.title.count, $0.width) }
    self.colour = colour
    header = Table.line(columns.map { Cell($0.title, .faint) }, widths, colour)
  }

  func line(_ cells: [Cell]) -> String { Table.line(cells, widths, colour) }

  private static func line(_ cells: [Cell], _ widths: [Int], _ colour: Bool) -> String {
    var texts = zip(cells, widths).enumerated().map { column, item -> String in
      let (cell, width) = item
      let padding = String(repeating: " ", count: max(0, width - cell.text.count))
      let text =
        colour && cell.colour != .plain
        ? "\u{1b}[\(cell.colour.rawValue)m\(cell.text)\u{1b}[0m" : cell.text
      return column == 0 ? text + padding : padding + text
    }
    while texts.last?.allSatisfy({ $0 == " " }) == true { texts.removeLast() }
    return texts.joined(separator: "  ")
  }
}

/// As many decimals as make three digits or so, for times and ratios.
func significant(_ value: Double?) -> String {
  guard let value, value.isFinite else { return "-" }
  let size = abs(value)
  return decimals(value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4)
}

/// A fraction in percent, with a decimal where it is small.
func percent(_ fraction: Double) -> String {
  "\(decimals(100 * fraction, fraction < 0.0995 ? 1 : 0)) %"
}

/// Four significant digits: JSON lines are read by people too.
func rounded(_ value: Double) -> Double {
  guard value.isFinite, value != 0 else { return value }
  var scale = 1.0
  var size = abs(value)
  while size < 1000 {
    size *= 10
    scale *= 10
  }
  return (value * scale).rounded() / scale
}
