// The one error type of the library.

/// Something the caller or a file did that cannot be served: what, where, and what was expected.
///
///     linear: operand shapes f32[64,100] and f32[10,128] do not match
///       at hidden.1 (Model.swift:12)
///       expected 128 columns
public struct ApusError: Error, Sendable, Hashable, CustomStringConvertible {
  /// What sort of thing went wrong, for callers who treat some kinds alike.
  public enum Kind: String, Sendable, CaseIterable {
    /// Shapes that do not fit together.
    case shapeMismatch
    /// Element types that do not fit an operation.
    case dtypeMismatch
    /// A value outside what a function takes.
    case invalidArgument
    /// A name that does not exist: a parameter, an input, a file's tensor.
    case missing
    /// A file whose bytes do not follow its format.
    case invalidFile
    /// The operating system's refusal: no such file, no permission, disk full.
    case io
    /// A label or index outside its table, found while running.
    case outOfRange
    /// A NaN or an infinity where training cannot go on.
    case nonFinite
    /// Text that is not a graph.
    case parse
    /// A graph that breaks its own rules.
    case invalidGraph
    /// Something this build or machine cannot do.
    case unsupported
    /// Memory or threads that the system does not give.
    case resource
  }

  public var kind: Kind
  /// What is wrong, in one sentence.
  public var what: String
  /// Where: a module path and source line, or a file and byte offset.
  public var location: String?
  /// What would have been right.
  public var expected: String?

  public init(_ kind: Kind, _ what: String, at location: String? = nil, expected: String? = nil) {
    self.kind = kind
    self.what = what
    self.location = location
    self.expected = expected
  }

  public var description: String {
    var text = what
    if let location { text += "\n  at \(location)" }
    if let expected { text += "\n  expected \(expected)" }
    return text
  }

  /// The same error with a place, where it has none yet.
  public func located(at place: String) -> ApusError {
    var error = self
    if error.location == nil && !place.isEmpty { error.location = place }
    return error
  }
}

/// The error itself where it is one of ours.
package func asApusError(_ error: any Error) -> ApusError {
  error as? ApusError ?? ApusError(.invalidArgument, "\(error)")
}
