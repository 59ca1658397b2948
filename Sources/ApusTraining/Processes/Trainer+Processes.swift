// A trainer's run in step with those of other processes.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime

/// A callback that writes files or tells the user: of several processes only the first has it called.
package protocol WritingCallback: Callback {}

extension ProgressBar: WritingCallback {}
extension Checkpointing: WritingCallback {}
extension BestCheckpoint: WritingCallback {}
extension RunRecorder: WritingCallback {}

/// What a run asks of the other processes, where there are any.
struct RunCompany {
  let processes: ProcessGroup?
  /// Why a callback of this process wishes to stop, until all know of it.
  private var wish: String?

  /// - `processes`: nil, or a group of one, for a run that has no company.
  init(_ processes: ProcessGroup?) {
    self.processes = processes.flatMap { $0.size > 1 ? $0 : nil }
  }

  /// Whether this process writes files and tells the user.
  var isFirst: Bool { processes?.isFirst ?? true }

  /// This process's part of a source.
  func part(of source: any BatchSource) -> any BatchSource {
    processes.map { source.part($0.rank, of: $0.size) } ?? source
  }

  /// The callbacks that this process has called.
  func heard(_ callbacks: [any Callback]) -> [any Callback] {
    isFirst ? callbacks : callbacks.filter { !($0 is any WritingCallback) }
  }

  /// Why the run ends after an event; nil where it goes on. Of several processes all end it after the same event:
  /// a wish within an epoch takes effect a step later, when the others have heard of it.
  ///
  /// - `reason`: why callbacks of this process wish that it ends.
  mutating func stops(after event: TrainingEvent, _ reason: String?) -> String? {
    guard let processes else { return reason }
    wish = wish ?? reason
    let isAgreed: Bool
    switch event {
    case .stepEnded:
      if reason != nil { processes.askToStop() }
      isAgreed = processes.takeStop()
    case .epochBegan, .epochEnded: isAgreed = processes.agreeToStop(wish != nil)
    case .ended: isAgreed = false
    }
    guard isAgreed else { return nil }
    defer { wish = nil }
    return wish ?? "another process ended the run"
  }

  /// - Throws: `invalidArgument`, in all processes, where they do not stand at the same place of the same run.
  func requireSame(_ model: any Module, place: String) throws {
    guard let processes else { return }
    try processes.requireEqual(place, "the runs")
    try processes.requireEqual(try "weights of sum \(model.checksum)", "the models")
  }
}

extension Module {
  /// A number that differs, almost surely, where a bit of a parameter or a buffer does.
  fileprivate var checksum: UInt64 {
    get throws {
      var sum: UInt64 = 14_695_981_039_346_656_037
      for (_, state) in ModelTree(self).states {
        try state.value().withUnsafeBytes { bytes in
          var place = 0
          while place < bytes.count {
            let length = min(8, bytes.count - place)
            var word: UInt64 = 0
            withUnsafeMutableBytes(of: &word) {
              $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[place..<place + length]))
            }
            sum = (sum ^ word) &* 1_099_511_628_211
            sum ^= sum >> 29
            place += length
          }
        }
      }
      return sum
    }
  }
}

extension ResultMean {
  /// The same mean over the batches of all processes.
  func joined(_ processes: ProcessGroup) -> ResultMean {
    // A process whose part of the data is empty knows no names.
    let texts = processes.gather(
      Array(
        sums.map { ($0.name, perplexities.contains($0.name)) }
          .map { "\($0.1 ? "e" : " ")\($0.0)" }.joined(separator: "\n").utf8))
    let lines = String(decoding: texts.first { !$0.isEmpty } ?? [], as: UTF8.self)
      .split(separator: "\n")
    let own = lines.indices.flatMap { index -> [Double] in
      sums.indices.contains(index) ? [sums[index].total, sums[index].weight] : [0, 0]
    }
    let all = processes.sums(own)
    var joined = ResultMean()
    for (index, line) in lines.enumerated() {
      let name = String(line.dropFirst())
      joined.sums.append((name, all[2 * index], all[2 * index + 1]))
      if line.hasPrefix("e") { joined.perplexities.insert(name) }
    }
    return joined
  }
}
