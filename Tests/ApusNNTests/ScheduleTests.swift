// Schedules do what PyTorch's do over fifty steps (data by Tests/reference/schedules.py).

import ApusGraph
import ApusNN
import Foundation
import Testing

private let reference: [String: [Double]] = {
  let url = Bundle.module.url(
    forResource: "schedules", withExtension: "json", subdirectory: "Reference")!
  return try! JSONDecoder().decode([String: [Double]].self, from: Data(contentsOf: url))
}()

private let schedules: [String: LearningRate] = [
  "constant": 0.1,
  "step": .step(from: 0.1, factor: 0.5, every: 7),
  "multiStep": .multiStep(from: 0.1, milestones: [4, 20, 21, 45]),
  "exponential": .exponential(from: 0.1, factor: 0.9),
  "linear": .linear(from: 0.1 / 3, to: 0.1, steps: 20),
  "polynomial": .polynomial(from: 0.1, steps: 30, power: 2),
  "polynomial line": .polynomial(from: 0.1, steps: 30),
  "cosine": .cosine(from: 0.1, to: 0.01, steps: 49),
  "cosine restarts": .cosineWithRestarts(from: 0.1, to: 0.01, steps: 7, growth: 2),
  "cosine equal restarts": .cosineWithRestarts(from: 0.1, steps: 12),
  "one cycle": .oneCycle(peak: 0.4, steps: 50),
  "one cycle linear": .oneCycle(
    peak: 0.4, steps: 50, rise: 0.45, divisor: 10, finalDivisor: 100, annealing: .linear),
  "one cycle momentum": .oneCycleMomentum(steps: 50),
  "sequence": .sequence(
    [0.01, .step(from: 0.1, factor: 0.5, every: 5), .exponential(from: 0.1, factor: 0.9)],
    changingAt: [10, 30]),
  "product": .linear(from: 0.1, to: 1, steps: 10).scaled(by: .exponential(from: 0.1, factor: 0.95)),
  "closure": .schedule { 0.1 / Double(1 + $0) },
  "inverse root": .inverseRoot(peak: 0.01, warmUp: 10).scaled(by: 10),
]

@Suite struct ScheduleTests {
  @Test func everySchedulerOfTheReferenceIsTested() {
    // What looks at losses is a callback.
    #expect(Set(schedules.keys) == Set(reference.keys.filter { !$0.hasPrefix("plateau") }))
  }

  @Test(arguments: schedules.keys.sorted()) func fiftySteps_arePyTorchs(name: String) throws {
    let schedule = try #require(schedules[name])
    for (step, wanted) in try #require(reference[name]).enumerated() {
      let got = schedule.value(at: step)
      #expect(abs(got - wanted) < 1e-13, "step \(step): \(got), not \(wanted)")
    }
  }

  @Test func afterTheirEnd_schedulesStayWhereTheyAre() {
    let cosine = LearningRate.cosine(from: 1, to: 0.2, steps: 10)
    #expect(cosine.value(at: 0) == 1)
    #expect(abs(cosine.value(at: 5) - 0.6) < 1e-12)
    #expect(abs(cosine.value(at: 10) - 0.2) < 1e-12)
    #expect(abs(cosine.value(at: 99) - 0.2) < 1e-12)
    let cycle = LearningRate.oneCycle(peak: 1, steps: 10)
    #expect(abs(cycle.value(at: 99) - 4e-6) < 1e-15)
    #expect(LearningRate.polynomial(from: 1, to: 0.1, steps: 4).value(at: 1000) == 0.1)
    #expect((1e-3 as LearningRate).value(at: 1000) == 1e-3)
  }

  @Test func warmUp_goesBeforeAnother() {
    let warm = LearningRate.warmUp(steps: 4, then: .linear(from: 1, to: 0, steps: 2))
    #expect((0..<7).map { warm.value(at: $0) } == [0.25, 0.5, 0.75, 1, 1, 0.5, 0])
  }

  @Test func restartsThatGrow_holdForAnyStep() {
    let restarts = LearningRate.cosineWithRestarts(from: 1, steps: 1, growth: 2)
    #expect([0, 1, 3, 7, 15].allSatisfy { restarts.value(at: $0) == 1 })
    #expect((0...1).contains(restarts.value(at: .max)))
    let equal = LearningRate.cosineWithRestarts(from: 1, steps: 3)
    #expect((0...1).contains(equal.value(at: .max)))
  }

  @Test func products_sayWhatTheyAre() {
    let small = LearningRate.step(from: 1, factor: 0.5, every: 2).scaled(by: 0.1)
    #expect(abs(small.value(at: 2) - 0.05) < 1e-15)
    #expect(small.description == "step(from: 1.0, factor: 0.5, every: 2) * 0.1")
  }

  @Test(
    arguments: [
      .cosine(from: -1, steps: 3), .linear(from: 0, to: .infinity, steps: 3),
      .step(from: 1, every: 0), .multiStep(from: 1, milestones: [-3]),
      .polynomial(from: 1, steps: 0), .polynomial(from: 1, steps: 3, power: -1),
      .cosineWithRestarts(from: 1, steps: 0), .cosineWithRestarts(from: 1, steps: 3, growth: 0),
      .oneCycle(peak: 1, steps: 0), .oneCycle(peak: 1, steps: 9, rise: 1.5),
      .oneCycle(peak: 1, steps: 9, divisor: 0), .inverseRoot(peak: 1, warmUp: 0),
      .sequence([], changingAt: []), .sequence([0.1, 0.2], changingAt: []),
      .sequence([0.1, 0.2, 0.3], changingAt: [5, 5]), .sequence([0.1, -0.2], changingAt: [5]),
      .exponential(from: .nan, factor: 1), .warmUp(steps: 3, then: -1),
      (0.1 as LearningRate).scaled(by: -1),
      .exponential(from: 1, factor: 0.5).scaled(by: .cosine(from: 1, steps: 0)),
    ] as [LearningRate])
  func senselessSchedules_areRefused(schedule: LearningRate) {
    let error = #expect(throws: ApusError.self) { try Adam(learningRate: schedule).validate() }
    #expect(error?.kind == .invalidArgument)
    #expect(error?.what.contains("Adam: learningRate") == true)
    // Asked all the same, they answer.
    _ = [0, 7, .max].map { schedule.value(at: $0) }
  }
}
