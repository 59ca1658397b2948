// The contract between an op's author and every subsystem.

/// An operation: everything the library knows about it stands in one file that conforms to this.
///
/// There are no default implementations: the compiler rejects an incomplete op. Families with much in
/// common (`ElementwiseOp`) refine the protocol.
package protocol Op: Sendable, Hashable {
  /// The op's name in the text form.
  static var mnemonic: String { get }
  /// Reads the op back from its attributes.
  init(attributes: AttributeReader) throws
  /// Everything but the operands that determines the result, in a fixed order.
  var attributes: [Attribute] { get }
  /// The type rule.
  ///
  /// - Throws: `shapeMismatch`, `dtypeMismatch` or `invalidArgument`, naming the operands' types.
  func resultTypes(_ operands: [TensorType]) throws -> [TensorType]
  /// The vector-Jacobian product, as graph ops: a gradient for each operand, nil where there is none
  /// (an integer operand, or no dependence).
  func gradient(_ context: GradientContext) throws -> [Tensor?]
  /// The op on concrete arrays, in plain loops: the oracle of all tests. Floats are computed in double,
  /// whatever float type they arrive in, and rounded once to the wanted types `results`; integers in
  /// integer arithmetic that wraps; what only moves elements (``MovingOp``) moves their bytes.
  func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray]
  /// Whether the kernel can read operand `index`, of the given element type, through `view` instead of
  /// from a dense copy.
  func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool
  /// The kernel and its argument block.
  ///
  /// - Throws: `unsupported` where there is no kernel for the types (a composite is decomposed first).
  func lower(_ site: LoweringSite) throws -> KernelCall
}

/// An op that can also be written in other ops. Its kernel is tested against its decomposition.
package protocol CompositeOp: Op {
  /// Whether `lower` has a kernel for these operand types; without one, the pipeline decomposes.
  func hasKernel(_ operands: [TensorType]) -> Bool
  /// The results, in primitive ops.
  func decompose(_ operands: [Tensor]) throws -> [Tensor]
}

/// What an op's gradient rule is given.
public struct GradientContext {
  public let operands: [Tensor]
  public let results: [Tensor]
  /// The gradient of the loss with respect to each result; nil where the result does not reach it.
  public let gradients: [Tensor?]
  /// Whether anybody needs the gradient of each operand: a rule may return nil for the others.
  public let isNeeded: [Bool]

  package init(operands: [Tensor], results: [Tensor], gradients: [Tensor?], isNeeded: [Bool]) {
    self.operands = operands
    self.results = results
    self.gradients = gradients
    self.isNeeded = isNeeded
  }

  /// The gradient of the first result, for ops with one result.
  public var gradient: Tensor { gradients[0]! }
  public var result: Tensor { results[0] }
}

/// The ops that the parser knows, by mnemonic.
package struct OpRegistry: Sendable {
  private let types: [String: any Op.Type]

  package init(_ types: [any Op.Type]) {
    self.types = Dictionary(types.map { ($0.mnemonic, $0) }, uniquingKeysWith: { a, _ in a })
  }

  package var mnemonics: [String] { types.keys.sorted() }

  /// The op of that name with those attributes.
  ///
  /// - Throws: `parse` where the op or one of its attributes is unknown.
  package func make(_ mnemonic: String, _ attributes: [Attribute]) throws -> any Op {
    guard let type = types[mnemonic] else {
      throw ApusError(.parse, "there is no op '\(mnemonic)'", expected: "an op of the op set")
    }
    return try type.init(attributes: AttributeReader(mnemonic: mnemonic, attributes))
  }
}

extension Op {
  package var mnemonic: String { Self.mnemonic }

  /// Whether two ops are of the same kind with the same attributes.
  package func isEqual(to other: any Op) -> Bool {
    guard let other = other as? Self else { return false }
    return self == other
  }

  /// Throws where the number of operands is not `count`.
  package func expect(_ count: Int, _ operands: [TensorType]) throws {
    guard operands.count == count else {
      throw ApusError(
        .invalidGraph, "\(Self.mnemonic) has \(operands.count) operands", expected: "\(count)")
    }
  }
}
