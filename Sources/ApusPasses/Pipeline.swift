// The passes that every graph goes through, and the entry point that runs them.

import ApusGraph

/// The list of passes between a recorded graph and a planned one.
package enum Pipeline {
  /// Read from top to bottom; each line says why it stands there.
  package static let passes: [any Pass] = [
    // Before bodies change: a loop and the same one that its gradient has recorded are then the same word for
    // word.
    MergeScans(),
    // Early, so that all others see what is really computed.
    Decompose(),
    // Before the algebra, whose rules look for constants.
    FoldConstants(),
    // Before merging: rules bring nodes that differ in form only to the same form.
    SimplifyAlgebra(),
    // What the rules have put together.
    FoldConstants(),
    // After the algebra, which brings more nodes to the same form; views are nodes still, so that two
    // equal transposes are one.
    CommonSubexpressions(),
    // Before anything counts readers: a dead reader would stop a fusion.
    DeadCode(),
    // After dead readers are gone; before fusion, which then sees the nodes that leave loops.
    SimplifyScans(),
    // After constants are folded, the loss's gradient of 1 among them; before views hide equal operands.
    FuseCrossEntropy(),
    // After dead readers of normalised rows are gone; before views hide equal operands.
    FuseNormGradient(),
    // As above, of probabilities.
    FuseSoftmaxGradient(),
    // Before anything else takes the products in.
    FuseGradientScale(),
    // Before fusion, which then sees arithmetic next to arithmetic.
    FoldViews(),
    // After transposes are attributes of the products; before products become parts of other nodes.
    BoundByFactors(),
    // After views are folded: a reshape between rows and examples hides no gradient. Before anything
    // else goes into the last layer's products.
    FuseLinearCrossEntropy(),
    // Before loops are made, which would take the arithmetic that can stay in the product's registers.
    FuseEpilogues(),
    // After contractions have taken their epilogues: what is left between them becomes loops.
    FuseElementwise(),
    // After all fusion: what still crosses between nodes is what memory holds.
    NarrowStorage(),
    // Loops keep the axes they fold, with extent 1: the reshapes that drop them are views.
    FoldViews(),
    // After fusion has made each update that has no name of its own one loop.
    MultiTensorUpdate(),
    // After small updates have come together: those that are left are worth a product's registers.
    FuseUpdate(),
    // Fusion leaves nodes behind that nobody reads.
    DeadCode(),
  ]
}

/// The graph in the form that is planned and run: same inputs, states, outputs, assignments and values.
///
///     let graph = try optimised(traced([.f32(2, 3)]) { [$0[0] * 1 + 0] })   // outputs its input
///
/// - Throws: `invalidArgument` where `options` switch off a pass that does not exist.
package func optimised(_ graph: Graph, options: PassOptions = PassOptions()) throws -> Graph {
  var graph = graph
  try PassManager(options: options).run(on: &graph)
  return graph
}
