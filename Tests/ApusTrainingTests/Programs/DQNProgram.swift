// Deep Q-learning with a target network that follows the online one: Mnih et al. 2015, Lillicrap et al. 2016.

import Apus
import Testing

private struct QNetwork: Module {
  let first = Linear(3, 16)
  let last = Linear(16, 2)
  func callAsFunction(_ state: Tensor) -> Tensor { last(tanh(first(state))) }
}

@Suite struct DQNProgram {
  @Test func aTargetNetworkThatFollows_followsPyTorch() throws {
    let online = QNetwork()
    try ProgramData.fill(online)
    let target = try online.copy()
    let step = try TrainingStep { step, batch in
      let future = target(batch.next).max(axes: [1]).stopGradient()
      let goal = batch.reward + 0.9 * (1 - batch.done) * future
      let value = online(batch.state).takeAlong(batch.action.reshaped([8, 1]), axis: 1).reshaped([8]
      )
      step.minimize(mse(value, goal), over: online, with: Adam(learningRate: 0.01))
      target.follow(online, rate: 0.1)
    }
    let curve = try (0..<60).map { index in
      let choice = ProgramData.array(2000 + index, [8]).floats.map { $0 > 0 ? 1 : 0 as Int32 }
      let batch = Batch([
        "state": ProgramData.array(index, [8, 3]), "next": ProgramData.array(1000 + index, [8, 3]),
        "action": NDArray(choice, shape: [8]), "reward": ProgramData.array(3000 + index, [8]),
        "done": ProgramData.map(ProgramData.array(4000 + index, [8])) { $0 > 0.5 ? 1 : 0 },
      ])
      return try step.run(batch).loss
    }
    try ProgramData.expectEqual(curve, "dqn")
    let act = try Predictor(online) { $0($1).argmax(axis: 1) }
    #expect(try act(ProgramData.array(1, [5, 3])).shape == [5])
  }
}
