// `apus bench embed`: how fast texts become vectors.

import Apus
import ApusBenchmarks
import ArgumentParser

struct BenchEmbedCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "embed", abstract: "Measure how fast texts become vectors.",
    discussion: """
      All texts of the file go through the model once a repetition. With --peers the same model runs in PyTorch and \
      in ONNX Runtime, with as many threads and the same tokens, in the Python that APUS_PEERS_PYTHON names; it needs \
      torch, transformers, tokenizers, onnx and onnxruntime.
      """)

  @Argument(help: "A folder of sentence-transformers, or of a BERT with its tokenizer.json.")
  var folder: String

  @Option(help: ArgumentHelp("A file of texts, a line each.", valueName: "file"))
  var texts: String

  @Option(help: "Texts that go through the model at once; repeatable. Default: 1 and 32.")
  var batch: [Int] = []

  @OptionGroup var measuring: MeasuringOptions

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  func validate() throws {
    for size in batch where !(1...4096).contains(size) {
      throw ValidationError("--batch is \(size): 1 to 4096 is expected.")
    }
    guard measuring.peer.isEmpty || measuring.peer == [.torch] else {
      throw ValidationError("--peer: torch alone, or --peers for torch and onnxruntime.")
    }
  }

  func run() throws {
    let peers: [EmbedPeer] =
      measuring.peers ? EmbedPeer.allCases : measuring.peer.isEmpty ? [] : [.torch]
    _ = try benchmarkEmbedding(
      folder, texts: texts, batches: batch.isEmpty ? [1, 32] : batch, peers: peers,
      options: try measuring.settings(json: json))
  }
}
