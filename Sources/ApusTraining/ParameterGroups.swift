// Which optimiser trains which parameters.

import ApusNN

/// Parameters that one optimiser trains otherwise than the rest: those whose paths match a pattern.
///
///     groups: ["*.bias": AdamW(weightDecay: 0), "*norm*": AdamW(weightDecay: 0)]
///
/// The first pattern that matches counts; `*` stands for any run of characters, and `*.bias` is every bias, also
/// one that the model has itself.
public struct ParameterGroups: RandomAccessCollection, ExpressibleByDictionaryLiteral, Sendable {
  public typealias Element = (key: String, value: any Optimizer)
  private let elements: [Element]

  public init(dictionaryLiteral elements: (String, any Optimizer)...) { self.init(elements) }

  /// Groups that are put together while the program runs.
  ///
  /// - `groups`: pattern and optimiser of each, in the order in which they are tried.
  public init(_ groups: [(String, any Optimizer)]) { elements = groups.map { ($0.0, $0.1) } }

  public var startIndex: Int { 0 }
  public var endIndex: Int { elements.count }
  public subscript(position: Int) -> Element { elements[position] }
}
