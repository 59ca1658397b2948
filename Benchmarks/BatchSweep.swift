// What a step costs over batches of 1 to 1024: whether a plan chooses its threads well, and falls off nowhere.

import Apus
import ApusRecipes

/// Examples of the batches; sizes beside powers of two, where tiles end badly, are among them.
private let batches = [
  1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 24, 32, 33, 48, 64, 65, 96, 128, 129, 192, 256, 257, 384, 512,
  513,
  768, 1024,
]

/// Times the steps of recipes at many batch sizes, with the team that plans choose and with one thread, in turns.
///
/// - `picture`: where an SVG of what an example costs goes, by the size of the batch; nil for none.
/// - Throws: what compiling and running throw.
package func sweepBatches(
  _ workloads: [any Recipe], picture: String?, options: BenchmarkOptions
) throws {
  try options.validate()
  if let picture { try AtomicFile.checkWritable(picture) }
  var plots: [LinePlot] = []
  for workload in workloads {
    if !options.json { options.print(workload.name) }
    let table = Table(
      [("batch", 0), ("µs a step", 0), ("µs an example", 0), ("one thread µs", 0), ("times", 0)],
      colour: options.colour)
    options.tell(table.header)
    var chosen: [(x: Double, y: Double)] = [], alone: [(x: Double, y: Double)] = []
    for batch in batches {
      var single = options
      single.threads = 1
      let sides = try [("chosen", options), ("one", single)].map { name, options in
        let steps = try CompiledSteps(workload, batch: batch, options)
        return OwnSide(name) { try steps.run() }
      }
      let times = try timeInTurns(sides, seconds: options.seconds / 10).map { $0.median * 1e6 }
      chosen.append((Double(batch), times[0] / Double(batch)))
      alone.append((Double(batch), times[1] / Double(batch)))
      options.print(
        options.json
          ? JSON.object([
            ("bench", "batches"), ("workload", .string(workload.name)), ("batch", .integer(batch)),
            ("threads", .integer(options.threads)), ("us", .number(rounded(times[0]))),
            ("one_thread_us", .number(rounded(times[1]))),
          ]).text
          : table.line([
            Cell("\(batch)"), Cell(significant(times[0])),
            Cell(significant(times[0] / Double(batch))),
            Cell(significant(times[1])), Cell(decimals(times[1] / times[0], 2)),
          ]))
    }
    plots.append(
      LinePlot(
        title: "\(workload.name): microseconds an example", xTitle: "examples a step",
        hasLogX: true,
        curves: [
          .init(name: "as the plan chooses", colour: "#d6604d", points: chosen),
          .init(name: "one thread", colour: "#4393c3", points: alone, isDashed: true),
        ]))
  }
  guard let picture else { return }
  let height = LinePlot.height * Double(plots.count)
  var svg = SVG(width: LinePlot.width, height: height, title: "What an example costs, by batch")
  svg.rectangle(x: 0, y: 0, width: LinePlot.width, height: height, fill: "#fff")
  for (place, plot) in plots.enumerated() {
    plot.draw(into: &svg, at: LinePlot.height * Double(place))
  }
  try AtomicFile.write(svg.document, to: picture)
}
