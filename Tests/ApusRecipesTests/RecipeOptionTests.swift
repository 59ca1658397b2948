// Options of recipes: what is taken, what is refused and in which words.

import Apus
import Testing

@testable import ApusRecipes

@Suite struct RecipeOptionTests {
  private func refusal(
    _ name: String, _ text: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> ApusError {
    var options = FashionMNISTRecipe().defaults
    let error = try #require(
      #expect(throws: ApusError.self, sourceLocation: sourceLocation) {
        try options.set(name, to: text)
      })
    #expect(options.epochs == 5 && options.batch == 64, sourceLocation: sourceLocation)
    return error
  }

  @Test func defaultsAreTheRecipes() {
    let options = FashionMNISTRecipe().defaults
    #expect(options.epochs == 5 && options.batch == 64 && options.learningRate == 2e-3)
    #expect(options.seed == 0 && options.data == nil)
    #expect(options[FashionMNISTRecipe.hidden] == 128)
    #expect(PerceptronBenchmark.large.defaults.batch == 256)
    // An option that the recipe does not have.
    #expect(PerceptronBenchmark.large.defaults.epochs == 1)
  }

  @Test func whatIsSet_isReadByItsKey() throws {
    var options = FashionMNISTRecipe().defaults
    for (name, text) in [
      ("epochs", "7"), ("batch", "1048576"), ("learning-rate", "1e-3"),
      ("seed", "18446744073709551615"), ("data", "/data"), ("hidden", "1"),
    ] { try options.set(name, to: text) }
    #expect(options.epochs == 7 && options.batch == 1 << 20 && options.learningRate == 1e-3)
    #expect(options.seed == .max && options.data == "/data")
    #expect(options[FashionMNISTRecipe.hidden] == 1)
  }

  @Test(arguments: [
    ("epochs", "0", "epochs is 0", "a whole number from 1 to 1048576"),
    ("epochs", "many", "epochs is 'many'", "a whole number"),
    ("epochs", "9223372036854775808", "epochs is '9223372036854775808'", "a whole number"),
    ("batch", "0", "batch is 0", "a whole number from 1 to 1048576"),
    ("batch", "1048577", "batch is 1048577", "a whole number from 1 to 1048576"),
    ("batch", "1.5", "batch is '1.5'", "a whole number"),
    ("learning-rate", "0", "learning-rate is 0", "a finite number above 0"),
    ("learning-rate", "nan", "learning-rate is nan", "a finite number above 0"),
    ("learning-rate", "inf", "learning-rate is inf", "a finite number above 0"),
    ("learning-rate", "fast", "learning-rate is 'fast'", "a number"),
    ("learning-rate", "", "learning-rate is ''", "a number"),
    ("seed", "-7", "seed is '-7'", "a whole number, at least 0"),
    ("hidden", "65537", "hidden is 65537", "a whole number from 1 to 65536"),
  ])
  func impossibleValues_areRefused(name: String, text: String, what: String, expected: String)
    throws
  {
    let error = try refusal(name, text)
    #expect(error.kind == .invalidArgument && error.what == what && error.expected == expected)
  }

  @Test func unknownNames_areRefusedWithThoseThereAre() throws {
    let error = try refusal("colour", "red")
    #expect(error.kind == .missing && error.what == "fashion-mnist has no option 'colour'")
    #expect(error.expected == "one of epochs, batch, learning-rate, seed, data, hidden")
  }

  @Test func wordsAreChosenFromAList() throws {
    let option = RecipeOption("cell", default: "lstm", .oneOf("lstm", "gru"), "The cell.")
    #expect(try option.value("gru").optionText == "gru")
    let error = #expect(throws: ApusError.self) { try option.value("rnn") }
    #expect(error?.what == "cell is rnn" && error?.expected == "one of lstm, gru")
  }

  @Test func checkpointsKeepWhatDeterminesTheBits() throws {
    var options = FashionMNISTRecipe().defaults
    try options.set("learning-rate", to: "0.5")
    let run = RecipeRun(FashionMNISTRecipe(), options, output: "a/w.safetensors")
    #expect(
      run.metadata == [
        "apus.model": "fashion-mnist", "apus.precision": "highest", "apus.batch": "64",
        "apus.learning_rate": "0.5", "apus.seed": "0", "apus.option.hidden": "128",
      ])
    #expect(run.checkpoint == "a/w.checkpoint.safetensors")
    #expect(RecipeRun(FashionMNISTRecipe(), options).output == "fashion-mnist.safetensors")
    #expect(
      RecipeRun(FashionMNISTRecipe(), options, output: "w").checkpoint
        == "w.checkpoint.safetensors")
  }
}
