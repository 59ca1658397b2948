// The frame of a report's page: its style, its script, and pieces of HTML. All that a page shows is in it.

import ApusGraph
import Foundation

/// A page without anything from elsewhere: its policy forbids the browser to load any.
struct HTMLPage {
  let title: String
  /// The numbers of its charts.
  let data: JSON
  let body: String

  var text: String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy" \
    content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
    <title>\(escaped(title))</title>
    <style>
    \(Self.style)
    </style>
    </head>
    <body>
    <h1>\(escaped(title))</h1>
    \(body)
    <div id="values" hidden></div>
    <script type="application/json" id="curves">\(Self.safe(data))</script>
    <script>
    \(Self.script)
    </script>
    </body>
    </html>

    """
  }

  /// JSON that ends no element early, whatever its strings hold.
  static func safe(_ json: JSON) -> String {
    json.text.replacingOccurrences(of: "<", with: "\\u003c")
      .replacingOccurrences(of: ">", with: "\\u003e")
  }

  // MARK: Pieces

  static func section(_ title: String, _ body: String) -> String {
    "<section><h2>\(escaped(title))</h2>\(body)</section>\n"
  }

  static func paragraph(_ text: String) -> String {
    text.isEmpty ? "" : "<p>\(escaped(text))</p>"
  }

  static func table(_ rows: [(String, String)]) -> String {
    let lines = rows.map { "<tr><th>\(escaped($0))</th><td>\(escaped($1))</td></tr>" }
    return "<table>\(lines.joined())</table>"
  }

  /// With titles; the first column is of names.
  static func table(_ titles: [String], _ rows: [[String]]) -> String {
    let head = titles.map { "<th>\(escaped($0))</th>" }.joined()
    let lines = rows.map { cells in
      "<tr>"
        + cells.enumerated().map {
          $0 == 0 ? "<th>\(escaped($1))</th>" : "<td>\(escaped($1))</td>"
        }.joined() + "</tr>"
    }
    return "<table class=\"numbers\"><tr>\(head)</tr>\(lines.joined())</table>"
  }

  static func image(_ png: [UInt8], _ text: String) -> String {
    "<img alt=\"\(escaped(text))\" src=\"data:image/png;base64,\(Data(png).base64EncodedString())\">"
  }

  /// `2026-11-30 10:55:45 UTC`.
  static func time(_ seconds: Double) -> String {
    guard abs(seconds) < 1e11 else { return "-" }
    var whole = time_t(seconds)
    var parts = tm()
    gmtime_r(&whole, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) UTC"
  }

  // MARK: Style and script

  private static let style = """
    body { font: 15px/1.5 system-ui, 'Helvetica Neue', Arial, sans-serif; color: #222; \
    max-width: 980px; margin: 2em auto; padding: 0 1em; }
    h1 { font-size: 1.6em; } h2 { font-size: 1.15em; margin-top: 2em; }
    table { border-collapse: collapse; margin: .6em 0; font-size: 13px; }
    th, td { text-align: left; padding: .2em .8em .2em 0; vertical-align: top; }
    th { font-weight: 600; color: #555; } td { white-space: pre-wrap; overflow-wrap: anywhere; }
    table.numbers td, table.matrix td { text-align: right; white-space: nowrap; }
    table.numbers tr:nth-child(even) { background: #f6f7f8; }
    table.matrix td, table.matrix th { padding: .2em .5em; }
    table.matrix caption { text-align: left; color: #555; }
    pre { background: #f6f7f8; padding: .8em; overflow: auto; font-size: 12px; }
    svg.chart { max-width: 100%; height: auto; display: block; }
    .samples { display: flex; flex-wrap: wrap; gap: 10px; }
    figure { margin: 0; width: 112px; font-size: 12px; border-top: 3px solid #ccc; }
    figure.right { border-color: #009e73; } figure.wrong { border-color: #d55e00; }
    figure img { width: 112px; image-rendering: pixelated; }
    #values { position: fixed; background: #fff; border: 1px solid #bbb; border-radius: 4px; \
    padding: .3em .6em; font-size: 12px; pointer-events: none; box-shadow: 0 1px 4px #0003; }
    """

  /// Shows the values of a chart's curves at the step where the pointer is.
  private static let script = """
    'use strict';
    const charts = JSON.parse(document.getElementById('curves').textContent);
    const box = document.getElementById('values');
    function nearest(steps, x) {
      let low = 0, high = steps.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (steps[middle] < x) low = middle + 1; else high = middle;
      }
      return low > 0 && x - steps[low - 1] < steps[low] - x ? low - 1 : low;
    }
    for (const svg of document.querySelectorAll('svg.chart')) {
      const chart = charts[svg.dataset.chart];
      svg.addEventListener('mousemove', event => {
        const place = svg.getBoundingClientRect();
        const x = (event.clientX - place.left) * chart.width / place.width;
        if (x < chart.left || x > chart.right) { box.hidden = true; return; }
        const share = (x - chart.left) / (chart.right - chart.left);
        const step = chart.low + share * (chart.high - chart.low);
        box.replaceChildren();
        for (const curve of chart.curves) {
          if (!curve.steps.length) continue;
          const index = nearest(curve.steps, step);
          const line = document.createElement('div');
          const name = document.createElement('b');
          name.style.color = curve.colour;
          name.textContent = curve.name + ' ';
          const value = curve.values[index];
          line.append(name, (typeof value === 'number' ? value.toPrecision(5) : value)
            + ' at step ' + curve.steps[index]);
          box.append(line);
        }
        box.style.left = Math.min(event.clientX + 14, innerWidth - 240) + 'px';
        box.style.top = event.clientY + 14 + 'px';
        box.hidden = false;
      });
      svg.addEventListener('mouseleave', () => { box.hidden = true; });
    }
    // For those who look whether the page is alive.
    document.body.dataset.charts = charts.length;
    """
}
