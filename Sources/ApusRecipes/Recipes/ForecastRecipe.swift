// el-nino: the temperature of a sea, some months ahead.

import Apus
import Foundation

/// A GRU that reads the last months of a series and tells the next ones.
struct ForecastRecipe: SupervisedRecipe {
  static let units = RecipeOption("units", default: 32, .between(1, 1024), "Units of the GRU.")
  static let months = RecipeOption(
    "months", default: 24, .between(12, 120), "Months that are read; a year at least.")
  static let ahead = 6
  /// Degrees: deviations from a month's mean are divided by it, so that they are near 1.
  static let unit = 1.0
  private static let place = "statsmodels/datasets/elnino"
  private static let years = 61

  let name = "el-nino"
  let summary = "a GRU foretells the Pacific's temperature"
  let discussion = """
    A GRU reads how two years of the sea's temperature off Peru (El Niño 1 and 2) deviated from the months' means, and tells \
    the next six months; it learns 1950 to 1997 and is judged by the years from 1998 to 2010. Beside it stand three guesses without \
    learning: the last month's temperature, that of a year before, and the month's mean. The series is in the Python package statsmodels 0.15.0: \
    'pip download --no-deps statsmodels==0.15.0' and unzip it here, or name the folder \(place) by --data or APUS_EL_NINO.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 40), CommonOption.batch.with(default: 32),
    CommonOption.learningRate.with(default: 3e-3), CommonOption.seed, CommonOption.data, units,
    months,
  ]
  let metric = RecipeMetric("mean error in degrees", goal: .smaller)

  func model(_ options: RecipeOptions) -> Forecaster {
    Forecaster(units: options[Self.units], ahead: Self.ahead)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW(
      learningRate: .falling(from: options.learningRate, by: 0.93, an: stepsPerEpoch),
      weightDecay: 1e-2)
  }

  func loss(_ model: Forecaster, _ batch: SymbolicBatch) -> Tensor {
    let told = model(batch.past)
    batch.report("mean error in degrees", Self.unit * abs(told - batch.future).mean())
    return mse(told, batch.future)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField("past", [options.batch, options[Self.months], 1], .normal),
      RandomField("future", [options.batch, Self.ahead], .normal),
    ]
  }

  /// Windows of the first four fifths, and windows whose future lies behind.
  func data(_ options: RecipeOptions) throws -> RecipeData {
    let series = try read(options), months = options[Self.months]
    let end = Self.end(of: series), means = Self.means(of: series)
    let deviations = series.enumerated().map { Float(($1 - means[$0 % 12]) / Self.unit) }
    func windows(_ ends: Range<Int>) throws -> ArrayDataset {
      var past: [Float] = [], future: [Float] = []
      for now in ends {
        past += deviations[now - months..<now]
        future += deviations[now..<now + Self.ahead]
      }
      return try ArrayDataset([
        "past": NDArray(checking: past, shape: [ends.count, months, 1]),
        "future": NDArray(checking: future, shape: [ends.count, Self.ahead]),
      ])
    }
    return RecipeData(
      training: try windows(months..<end - Self.ahead + 1).batched(options.batch),
      validation: try windows(end..<series.count - Self.ahead + 1).batched(200))
  }

  func judge(
    _ model: Forecaster, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    Self.simple(try read(run.options)).map { RecipeOutcome.Figure("error by \($0.name)", $0.error) }
  }

  /// Where what is held out begins: after whole years.
  static func end(of series: [Double]) -> Int { series.count / 12 * 4 / 5 * 12 }

  /// Of each month of the year, over what is learnt from.
  static func means(of series: [Double]) -> [Double] {
    (0..<12).map { month in
      let all = stride(from: month, to: end(of: series), by: 12).map { series[$0] }
      return all.reduce(0, +) / Double(max(all.count, 1))
    }
  }

  /// The mean errors of what needs no learning, of the same months.
  static func simple(_ series: [Double]) -> [(name: String, error: Double)] {
    let end = end(of: series), means = means(of: series)
    func error(_ told: (_ now: Int, _ ahead: Int) -> Double) -> Double {
      let nows = end..<series.count - ahead + 1
      let sum = nows.reduce(0) { sum, now in
        (0..<ahead).reduce(sum) { $0 + Swift.abs(told(now, $1) - series[now + $1]) }
      }
      return sum / Double(nows.count * ahead)
    }
    return [
      ("the last month", error { now, _ in series[now - 1] }),
      ("a year before", error { series[$0 + $1 - 12] }),
      ("the month's mean", error { means[($0 + $1) % 12] }),
    ]
  }

  /// All months, one after the other.
  private func read(_ options: RecipeOptions) throws -> [Double] {
    let variable = ProcessInfo.processInfo.environment["APUS_EL_NINO"] ?? ""
    let folder = options.data ?? (variable.isEmpty ? Self.place : variable)
    let path = "\(folder)/elnino.csv"
    guard FileManager.default.fileExists(atPath: path) else {
      throw ApusError(
        .io, "the series is not there: no file elnino.csv", at: folder,
        expected: "the folder \(Self.place) of the Python package statsmodels: 'pip download "
          + "--no-deps statsmodels==0.15.0' and unzip it here, or --data, or APUS_EL_NINO")
    }
    let table = try CSV.read(path, header: .present, type: .f64).values
    let rows = table.shape[0], values = table.doubles
    let isWhole = (1..<max(rows, 1)).allSatisfy {
      values[13 * $0] == values[13 * ($0 - 1)] + 1
    }
    guard table.shape[1] == 13, rows == Self.years, isWhole, table.isFinite else {
      throw ApusError(
        .invalidFile, "the table is \(table.type)", at: path,
        expected: "\(Self.years) years one after the other, each with twelve temperatures")
    }
    return (0..<rows).flatMap { values[13 * $0 + 1..<13 * $0 + 13] }
  }
}

/// A GRU over the past, and a linear layer on its last state for all of the future: `[n, months, 1]` → `[n, ahead]`.
struct Forecaster: Module {
  let gru: GRU
  let output: Linear

  init(units: Int, ahead: Int) {
    gru = GRU(1, units)
    output = Linear(units, ahead)
  }

  func callAsFunction(_ past: Tensor) -> Tensor { output(gru(past).state[-1, axis: 0]) }
}
