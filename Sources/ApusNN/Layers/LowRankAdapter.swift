// Low-rank adapters of fully connected layers.

import ApusGraph
import ApusOps
import ApusRuntime
import Synchronization

/// What a ``Linear`` layer adds to its result while its own weight stays as it is: Hu et al. 2021, "LoRA: Low-Rank
/// Adaptation of Large Language Models".
///
///     y = x·Wᵀ + b + (alpha/rank)·(x·Aᵀ)·Bᵀ
///
/// `A` is `[rank, in]` and starts in U(±1/√in), `B` is `[out, rank]` and starts as zeros, so that a layer with a new
/// adapter gives what it gave before. ``Module/addLowRankAdapters(to:rank:alpha:dropout:seed:file:line:)`` makes them.
/// They are parameters of the layer, `lora_A.weight` and `lora_B.weight`.
public struct LowRankAdapter: Module, Sendable {
  /// `A`: `[rank, in]`.
  public let down: Parameter
  /// `B`: `[out, rank]`.
  public let up: Parameter
  public let alpha: Double
  private let drop: Dropout

  init(_ weight: Parameter, rank: Int, alpha: Double, dropout: Double) {
    down = Parameter([rank, weight.shape[1]], .fanInUniform())
    up = Parameter([weight.shape[0], rank], .zeros)
    self.alpha = alpha
    drop = Dropout(dropout)
  }

  private init(down: Parameter, up: Parameter, alpha: Double, dropout: Double) {
    (self.down, self.up, self.alpha, drop) = (down, up, alpha, Dropout(dropout))
  }

  public var rank: Int { down.shape[0] }
  /// The probability with which an element that goes into the adapter is dropped in training.
  public var dropout: Double { drop.p }
  /// What the product is multiplied by.
  public var scale: Double { alpha / Double(rank) }

  public var parts: [(name: String, value: Any)] {
    [
      ("lora_dropout", drop), ("lora_A", NamedParts(["weight": down])),
      ("lora_B", NamedParts(["weight": up])),
    ]
  }

  /// What is added: `[…, in]` → `[…, out]`.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let narrow = drop(x).matmul(down.tensor, transposeOther: true)
    return narrow.matmul(up.tensor, transposeOther: true) * scale
  }

  /// `W + scale·B·A`, in the weight's type.
  package func merged(into weight: Parameter) throws -> NDArray {
    let (w, a, b) = (try weight.value(), try down.value(), try up.value())
    let merge = try compile(w.type, a.type, b.type, mode: .evaluation) { w, a, b in
      (w.cast(to: .f32) + b.matmul(a) * scale).cast(to: w.dtype)
    }
    return try merge(w, a, b)
  }

  func copied(_ state: (ModelState) throws -> ModelState) rethrows -> LowRankAdapter {
    LowRankAdapter(
      down: try state(down) as! Parameter, up: try state(up) as! Parameter, alpha: alpha,
      dropout: dropout)
  }
}

/// Where a layer keeps its adapter: all values that are the same layer see one.
final class LowRankSlot: Sendable {
  private let held: Mutex<LowRankAdapter?>

  init(_ adapter: LowRankAdapter? = nil) { held = Mutex(adapter) }

  /// What is recorded while it is asked for is recorded again once there is another.
  var adapter: LowRankAdapter? {
    get {
      let adapter = held.withLock { $0 }
      let known = adapter.map { ObjectIdentifier($0.down) }
      Trace.current?.assume(self) { [self] in
        held.withLock { $0.map { ObjectIdentifier($0.down) } } == known
      }
      return adapter
    }
    set {
      held.withLock { $0 = newValue }
      ModelState.freezes.add(1, ordering: .releasing)
    }
  }
}
