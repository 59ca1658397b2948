// What callers do wrong, and what they are told.

import ApusGraph
import ApusOps
import Foundation
import Testing

@testable import ApusRuntime

/// The error that `body` throws.
private func failure(_ body: () throws -> Void) -> ApusError? {
  do {
    try body()
    return nil
  } catch {
    return error as? ApusError
  }
}

@Suite struct RuntimeErrorTests {
  private func sum() throws -> Executable {
    let trace = Trace()
    let x = trace.input("left", .f32(2, 3)), y = trace.input("right", .f32(2, 3))
    trace.output("sum", x + y)
    return try Executable(trace.finish())
  }

  @Test func anInputOfAnotherShapeIsNamed() throws {
    let executable = try sum()
    let good = NDArray(zeros: .f32(2, 3))
    let error = failure { _ = try executable.run([good, NDArray(zeros: .f32(3, 2))]) }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.what == "input 'right' is f32[3,2]")
    #expect(error?.expected == "f32[2,3]")
  }

  @Test func anInputOfAnotherElementTypeIsNamed() throws {
    let executable = try sum()
    let error = failure {
      _ = try executable.run([NDArray(zeros: .f64(2, 3)), NDArray(zeros: .f32(2, 3))])
    }
    #expect(error?.kind == .dtypeMismatch)
    #expect(error?.what == "input 'left' is f64[2,3]")
  }

  @Test func missingAndUnknownInputsAreNamed() throws {
    let executable = try sum()
    let array = NDArray(zeros: .f32(2, 3))
    let few = failure { _ = try executable.run([array]) }
    #expect(few?.kind == .missing)
    #expect(few?.expected == "2: 'left' f32[2,3], 'right' f32[2,3]")
    let absent = failure { _ = try executable.run(["left": array]) }
    #expect(absent?.what == "input 'right' is not given")
    let unknown = failure {
      _ = try executable.run(["left": array, "right": array, "middle": array])
    }
    #expect(unknown?.what == "there is no input 'middle'")
    let both = try executable.run(["left": array, "right": array])
    #expect(both.keys.sorted() == ["sum"])
  }

  @Test func aMistakeInAClosureIsThrownOnce() {
    let error = failure { _ = try compile(.f32(2, 3), .f32(4, 5)) { $0.matmul($1) } }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.location?.contains("RuntimeErrorTests.swift") == true)
  }

  @Test func aStateOfAnotherTypeIsRefused() throws {
    let trace = Trace()
    let s = trace.state("s", .f32(4))
    trace.output("s", s + 1)
    let states = StateStore()
    try states.set("s", NDArray(zeros: .f32(5)))
    let graph = try trace.finish()
    let error = failure { _ = try Executable(graph, states: states) }
    #expect(error?.kind == .shapeMismatch)
  }

  @Test func aMemoryLimitThatIsTooSmallIsAnError() throws {
    let graph = try perceptronStep(batch: 8, widths: [20, 30, 5])
    let states = try StateStore(zerosFor: graph)
    // Of one thread: another test may change the team in between, and with it the order of the calls.
    var options = CompileOptions(threads: 1)
    let needed = try Executable(graph, states: states, options: options).memory.arena
    options.memoryLimit = needed - 1
    let error = failure { _ = try Executable(graph, states: states, options: options) }
    #expect(error?.kind == .resource)
    options.memoryLimit = needed
    _ = try Executable(graph, states: states, options: options)
  }

  @Test func aPassThatDoesNotExistCannotBeSwitchedOff() {
    let error = failure {
      _ = try compile(.f32(2), options: CompileOptions(disabledPasses: ["nonsense"])) { $0 }
    }
    #expect(error?.kind == .invalidArgument)
  }

  @Test func impossibleTeamsAreRefused() {
    for threads in [0, -1, 4000] {
      let error = failure { _ = try Team(threads: threads) }
      #expect(error?.kind == .invalidArgument)
    }
  }

  @Test func aLabelOutsideTheClassesIsPlaced() throws {
    let trace = Trace()
    let logits = trace.input("logits", .f32(70, 10))
    let labels = trace.input("labels", .i32(70))
    trace.output("loss", trace.withScope(path: "head") { crossEntropy(logits, labels) })
    let executable = try Executable(trace.finish())
    let zeros = NDArray(zeros: .f32(70, 10))
    var values = [Int32](repeating: 3, count: 70)
    values[66] = 10
    values[69] = -7
    let error = failure {
      _ = try executable.run([zeros, NDArray(values, shape: [70])])
    }
    #expect(error?.kind == .outOfRange)
    #expect(
      error?.what.contains("'labels' i32[70] hold 10 at row 66") == true, "\(error?.what ?? "")")
    #expect(error?.location?.contains("head") == true)
    // The next run starts clean.
    values[66] = 0
    values[69] = 9
    let loss = try executable.run([zeros, NDArray(values, shape: [70])])[0].scalar
    #expect(abs(loss - 2.302585) < 1e-5)
  }

  @Test func theFirstNaNIsPlacedInTheModel() throws {
    let trace = Trace()
    let x = trace.input("x", .f32(40))
    let result = trace.withScope(path: "blocks.3.norm") {
      log(x + 1, file: "Model.swift", line: 12)
    }
    trace.output("y", trace.withScope(path: "head") { result * 2 + 1 })
    let executable = try Executable(trace.finish(), options: CompileOptions(check: .nan))
    let fine = NDArray((0..<40).map { Float($0) }, shape: [40])
    #expect(try executable.run([fine])[0].floats[0] == 1)
    var values = fine.floats
    values[33] = -5
    let nan = failure { _ = try executable.run([NDArray(values, shape: [40])]) }
    #expect(nan?.kind == .nonFinite)
    #expect(nan?.what.contains("a NaN") == true)
    #expect(nan?.location?.contains("blocks.3.norm") == true)
    values[33] = -1
    let infinity = failure { _ = try executable.run([NDArray(values, shape: [40])]) }
    #expect(infinity?.what.contains("an infinity") == true)
    values[33] = .nan
    let input = failure { _ = try executable.run([NDArray(values, shape: [40])]) }
    #expect(input?.what == "input 'x' holds a NaN before the run")
  }

  @Test func infinitiesThatWereReadAreNotBlamedOnTheReader() throws {
    let trace = Trace()
    let x = trace.input("x", .f32(3))
    trace.output("y", x + 1)
    let executable = try Executable(trace.finish(), options: CompileOptions(check: .nan))
    let result = try executable.run([NDArray([1, .infinity, 3], shape: [3])])
    #expect(result[0].floats == [2, .infinity, 4])
  }
}
