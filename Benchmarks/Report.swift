// Tables for people, JSON lines for programs.

import Apus

/// A table that is as wide as its widest cells: the first column to the left, numbers to the right.
struct Table {
  private var rows: [[String]]

  init(_ header: String...) { rows = [header] }

  mutating func add(_ cells: String...) { rows.append(cells) }

  var lines: [String] {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      row.enumerated().map { column, cell in
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        return column == 0 ? cell + padding : padding + cell
      }.joined(separator: "  ")
    }
  }
}

/// A number with that many decimals; a dash where there is none.
func decimals(_ value: Double?, _ places: Int) -> String {
  guard let value, value.isFinite else { return "-" }
  var scale = 1
  for _ in 0..<places { scale *= 10 }
  let scaled = Int((abs(value) * Double(scale)).rounded())
  let sign = value < 0 && scaled != 0 ? "-" : ""
  guard places > 0 else { return "\(sign)\(scaled)" }
  let fraction = String(scaled % scale)
  return "\(sign)\(scaled / scale)."
    + String(repeating: "0", count: places - fraction.count) + fraction
}

/// As many decimals as make three digits or so, for times and ratios.
func significant(_ value: Double?) -> String {
  guard let value, value.isFinite else { return "-" }
  let size = abs(value)
  return decimals(value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4)
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
