// What an archive holds: arrays by name, in the archive's order.

import ApusGraph

/// Arrays by name, in an order. Names are told apart by their bytes, as files do, where a Swift dictionary
/// holds "é" written as U+00E9 and as "e" and U+0301 to be one key.
///
///     let arrays: NamedArrays = ["x": NDArray([1, 2], shape: [2]), "y": NDArray(3)]
///     arrays["x"]                                            // f32[2]
///     for (name, array) in arrays { print(name, array.type) }
public struct NamedArrays: RandomAccessCollection, ExpressibleByDictionaryLiteral, Sendable {
  public typealias Element = (key: String, value: NDArray)

  private var elements: [Element] = []
  private var places: [ByteName: Int] = [:]

  public init() {}

  /// The arrays of a literal. Where a name stands twice, the last array counts.
  public init(dictionaryLiteral elements: (String, NDArray)...) {
    for (name, array) in elements { self[name] = array }
  }

  /// The arrays of a dictionary, sorted by name.
  public init(_ arrays: [String: NDArray]) {
    for (name, array) in arrays.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
      self[name] = array
    }
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int { elements.count }
  public subscript(position: Int) -> Element { elements[position] }

  /// The names, in the order of the arrays.
  public var names: [String] { elements.map(\.key) }

  /// The array of that name, nil where there is none. A new one goes to the end; nil removes.
  public subscript(name: String) -> NDArray? {
    get { places[ByteName(name)].map { elements[$0].value } }
    set {
      guard let newValue else {
        removeValue(forKey: name)
        return
      }
      if let place = places[ByteName(name)] {
        elements[place].value = newValue
      } else {
        places[ByteName(name)] = elements.count
        elements.append((name, newValue))
      }
    }
  }

  /// Removes the array of that name and returns it; nil where there is none. Those behind it move up.
  @discardableResult
  public mutating func removeValue(forKey name: String) -> NDArray? {
    guard let place = places.removeValue(forKey: ByteName(name)) else { return nil }
    let array = elements.remove(at: place).value
    for later in place..<elements.count { places[ByteName(elements[later].key)] = later }
    return array
  }
}

extension NamedArrays: Equatable {
  /// Equal where the names and their arrays are, in whatever order.
  public static func == (a: NamedArrays, b: NamedArrays) -> Bool {
    a.count == b.count && a.allSatisfy { b[$0.key] == $0.value }
  }
}

/// The arrays sorted by `precedes`.
///
/// - Throws: `invalidArgument` where two have the same name.
func uniquelyNamed<T>(
  _ arrays: some Sequence<(key: String, value: T)>, path: String,
  by precedes: ((key: String, value: T), (key: String, value: T)) -> Bool
) throws -> [(key: String, value: T)] {
  var names = Set<ByteName>()
  return try arrays.map { array in
    guard names.insert(ByteName(array.key)).inserted else {
      throw ApusError(
        .invalidArgument, "the name '\(array.key)' stands twice", at: path, expected: "unique names"
      )
    }
    return array
  }.sorted(by: precedes)
}
