// A model's parameters as a table.

import ApusGraph

extension Module {
  /// A table of all parameters: path, shape, count; and the total.
  ///
  ///     hidden.weight  [128,784]  100352
  ///     hidden.bias    [128]         128
  ///     …
  ///     total                     101770 parameters, 397.5 KiB
  public var summary: String {
    let rows = parameters.map { path, parameter in
      (
        path + (parameter.isTrainable ? "" : " (fixed)"), parameter.shape.description,
        "\(parameter.type.count)"
      )
    }
    let bytes = total(of: parameters.lazy.map(\.parameter.type.byteCount))
    let nameWidth = max(rows.map(\.0.count).max() ?? 0, 5)
    let shapeWidth = rows.map(\.1.count).max() ?? 0
    let countWidth = max(rows.map(\.2.count).max() ?? 0, "\(parameterCount)".count)
    func pad(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: width - text.count)
    }
    func right(_ text: String) -> String {
      String(repeating: " ", count: countWidth - text.count) + text
    }
    var lines = rows.map { "\(pad($0.0, nameWidth))  \(pad($0.1, shapeWidth))  \(right($0.2))" }
    let size = (Double(bytes) / 1024 * 10).rounded() / 10
    lines.append(
      "\(pad("total", nameWidth))  \(pad("", shapeWidth))  \(right("\(parameterCount)")) "
        + "parameters, \(size) KiB")
    return lines.joined(separator: "\n")
  }
}
