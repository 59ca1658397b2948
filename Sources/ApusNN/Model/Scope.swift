// Where in a model ops are recorded.

import ApusGraph
import Synchronization

/// A module's place in its model. A layer stores one, the model that is initialised names it, and
/// ``Module/scoped(file:line:_:)`` reads it, so that graphs, profiles and errors name the layer, whether it
/// has parameters or not.
///
///     struct Residual: Module {
///       let scope = Scope()
///       let inner = Linear(64, 64)
///       func callAsFunction(_ x: Tensor, _ skip: Tensor) -> Tensor { scoped { inner(x) + skip } }
///     }
public final class Scope: Sendable {
  private let name = Mutex<String?>(nil)

  public init() {}

  /// The property path of the module that holds it; nil before a model has named it.
  public internal(set) var path: String? {
    get { name.withLock { $0 } }
    set { name.withLock { $0 = newValue } }
  }
}
