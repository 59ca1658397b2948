// What a recipe is: something with a name that the command trains, dumps or times.

import Apus

/// Something that `apus train`, `apus dump` and `apus bench train` know by name.
///
/// A recipe is a value; several of one type may differ in their sizes. It says what it is, which options it
/// has, and which compiled steps it is made of. What learns from real data is a ``TrainableRecipe`` too.
///
/// Few recipes implement this themselves: ``ModelRecipe`` does it for one model with one loss and one
/// optimiser, and ``SupervisedRecipe`` trains that.
package protocol Recipe: Sendable {
  /// As on the command line: `fashion-mnist`.
  var name: String { get }
  /// What it is, in a few words that fit into one line of help.
  var summary: String { get }
  /// Which data it learns from and what it learns.
  var discussion: String { get }
  /// Its options with their defaults, in the order of the help.
  var options: [any OptionDeclaration] { get }

  /// The compiled steps, with weights of their own: what is dumped, timed and profiled. A GAN has two, which
  /// are timed in turns.
  ///
  /// - `options`: those of this recipe.
  /// - Throws: `invalidArgument` where options do not go together.
  func steps(_ options: RecipeOptions, compile: CompileOptions) throws -> [RecipeStep]
}

/// A recipe that learns from real data.
package protocol TrainableRecipe: Recipe {
  /// Trains from beginning to end, writes the weights to `run.output`, and tells what came of it.
  ///
  /// The loop is the recipe's own. What it owes the run: the events of `TrainingEvent` go to
  /// `run.callbacks`, which also end it where the user wants that; `run.resume`, where there is one, is gone
  /// on from; `run.save` writes the weights. A `Trainer` does the most of this.
  ///
  /// - Throws: what reading the data, compiling and running throw; ``RunInterrupted`` after a checkpoint.
  func train(_ run: RecipeRun) throws -> RecipeOutcome
}

extension Recipe {
  /// This recipe as one that trains.
  ///
  /// - Throws: `unsupported` for a benchmark's, which has no data to learn from, naming those that train.
  package func trainable() throws -> any TrainableRecipe {
    guard let recipe = self as? any TrainableRecipe else {
      throw ApusError(
        .unsupported, "\(name) has no data to learn from; `apus bench train \(name)` times it",
        expected: "one of \(recipes.trainable.map(\.name).joined(separator: ", "))")
    }
    return recipe
  }

  /// The options with their defaults.
  package var defaults: RecipeOptions { RecipeOptions(of: self) }
}
