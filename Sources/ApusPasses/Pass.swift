// What a pass is, and the manager that runs a list of them.
//
// A pass turns a graph into an equivalent one: same inputs, states, outputs and assignments, same values.
// Passes never print and know nothing of each other (SimplifyAlgebra calls DeadCode as a function, to see
// what its rules have left unread); whatever must happen between them (dumping, checking,
// counting, timing, switching off) is the manager's.

import ApusGraph
import ApusOps

/// A rewriting of a whole graph.
///
/// A pass is a file: its header says what it assumes of the graph, what it guarantees, and shows a snippet
/// before and after, which is its first golden. `Docs/AddingAPass` walks through one.
package protocol Pass: Sendable {
  /// The name it is dumped, counted and switched off by, such as `dead-code`.
  static var name: String { get }

  /// Whether the pass runs only where `PassOptions.enabled` names it: it changes values, within bounds
  /// that it states.
  static var isOptional: Bool { get }

  /// Rewrites the graph.
  ///
  /// - Returns: what was done, by name; empty where nothing was.
  func run(on graph: inout Graph) throws -> Statistics
}

extension Pass {
  package static var isOptional: Bool { false }
  package var name: String { Self.name }
}

/// What a pass did: counters by name.
///
///     var statistics = Statistics()
///     statistics["merged"] += 1
///     print(statistics)   // merged 1
package struct Statistics: Sendable, Hashable, ExpressibleByDictionaryLiteral,
  CustomStringConvertible
{
  /// The counters that are not zero.
  package private(set) var counts: [String: Int] = [:]

  package init() {}

  package init(dictionaryLiteral elements: (String, Int)...) {
    for (name, count) in elements { self[name] += count }
  }

  package subscript(name: String) -> Int {
    get { counts[name] ?? 0 }
    set { counts[name] = newValue == 0 ? nil : newValue }
  }

  package static func += (a: inout Statistics, b: Statistics) {
    for (name, count) in b.counts { a[name] += count }
  }

  package var isEmpty: Bool { counts.isEmpty }

  /// `folded 3, removed 1`: in alphabetical order, empty where nothing was done.
  package var description: String {
    counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
  }
}

/// How a pipeline is run.
package struct PassOptions: Sendable {
  /// Names of passes to leave out.
  package var disabled: Set<String> = []
  /// Names of optional passes to run.
  package var enabled: Set<String> = []
  /// Whether the graph is checked against the rules of `Graph.verify` after every pass.
  package var verifies = true
  /// Called after every pass with its name and the graph's text form, or `(unchanged)`; called first
  /// with the name `input`.
  package var dump: (@Sendable (_ pass: String, _ text: String) -> Void)?

  package init(
    disabled: Set<String> = [], enabled: Set<String> = [], verifies: Bool = true,
    dump: (@Sendable (_ pass: String, _ text: String) -> Void)? = nil
  ) {
    self.disabled = disabled
    self.enabled = enabled
    self.verifies = verifies
    self.dump = dump
  }
}

/// What one pass did to one graph.
package struct PassReport: Sendable {
  package var name: String
  package var statistics: Statistics
  /// Nodes after the pass.
  package var nodeCount: Int
  /// The time the pass took, without dumping and verifying.
  package var duration: Duration
}

/// Runs passes one after the other.
///
///     let manager = PassManager(passes: [CommonSubexpressions(), DeadCode()])
///     let reports = try manager.run(on: &graph)
package struct PassManager: Sendable {
  package var passes: [any Pass]
  package var options: PassOptions

  package init(passes: [any Pass] = Pipeline.passes, options: PassOptions = PassOptions()) {
    self.passes = passes
    self.options = options
  }

  /// The names of the passes, in order, each once.
  package var names: [String] {
    passes.map(\.name).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }

  /// Whether a pass runs under these options.
  private func runs(_ pass: any Pass) -> Bool {
    !options.disabled.contains(pass.name)
      && (!type(of: pass).isOptional || options.enabled.contains(pass.name))
  }

  /// Runs every pass that is not switched off, optional ones where they are switched on.
  ///
  /// - Throws: `invalidArgument` for a name among the options that no pass has; what a pass throws;
  ///   `invalidGraph`, naming the pass, where one breaks the graph.
  @discardableResult
  package func run(on graph: inout Graph) throws -> [PassReport] {
    if let unknown = options.disabled.union(options.enabled).subtracting(names).min() {
      throw ApusError(
        .invalidArgument, "there is no pass '\(unknown)'",
        expected: "one of \(names.joined(separator: ", "))")
    }
    var reports: [PassReport] = []
    var text = options.dump == nil ? "" : graph.description
    options.dump?("input", text)
    let clock = ContinuousClock()
    /// Whether the graph as it is has been checked. Most passes find nothing to do in most graphs, and a
    /// graph that has stayed the same need not be checked again.
    var isVerified = false
    for pass in passes where runs(pass) {
      var statistics = Statistics()
      // Held so that what is left as it was can be told from what was rewritten in place.
      let before = isVerified ? graph : nil
      let duration = try clock.measure { statistics = try run(pass, on: &graph) }
      if options.verifies, !(before?.hasSameStorage(as: graph) ?? false) {
        try verify(graph, after: pass)
        isVerified = true
      }
      reports.append(
        PassReport(
          name: pass.name, statistics: statistics, nodeCount: graph.nodes.count,
          duration: duration))
      if let dump = options.dump {
        let new = graph.description
        dump(pass.name, new == text ? "(unchanged)\n" : new)
        text = new
      }
    }
    return reports
  }

  /// Runs a pass on a graph, then on the regions of its ops: a loop's body goes through the same passes, each
  /// right after the graph around it.
  private func run(_ pass: any Pass, on graph: inout Graph) throws -> Statistics {
    var statistics = try pass.run(on: &graph)
    for index in graph.nodes.indices {
      guard let op = graph.nodes[index].regionOp else { continue }
      var regions = op.regions
      var hasChanged = false
      for number in regions.indices {
        let before = regions[number]
        statistics += try run(pass, on: &regions[number])
        if !regions[number].hasSameStorage(as: before) { hasChanged = true }
      }
      if hasChanged { graph.nodes[index].op = op.replacingRegions(regions) }
    }
    return statistics
  }

  private func verify(_ graph: Graph, after pass: any Pass) throws {
    do {
      try graph.verify()
    } catch var error as ApusError {
      error.what = "after pass '\(pass.name)': \(error.what)"
      throw error
    }
  }
}
