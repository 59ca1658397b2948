// The tokens of a model and their ids.

import ApusGraph

/// Tokens and ids, both ways. Ids need not be without gaps.
struct Vocabulary: Sendable {
  private(set) var table: ByteStringTable
  /// The id of each token of the table.
  private var ids: [Int32] = []
  /// The token of each id, -1 for none, while ids are about as many as tokens.
  private var dense: [Int32] = []
  private var sparse: [Int32: Int32] = [:]
  /// The greatest id and one.
  private(set) var idLimit = 0

  init(reserving count: Int = 0) {
    table = ByteStringTable(reserving: count)
    ids.reserveCapacity(count)
  }

  /// How many tokens there are.
  var count: Int { ids.count }

  /// Adds a token; one that is there already gets this id.
  ///
  /// - Throws: `outOfRange` for an id that no file of this kind can have.
  mutating func add(_ token: [UInt8], id: Int, at place: @autoclosure () -> String) throws {
    guard (0...Int(Int32.max) - 1).contains(id) else {
      throw ApusError(
        .outOfRange, "the id \(id)", at: place(), expected: "0 to \(Int32.max - 1)")
    }
    let (index, isNew) = table.insert(token)
    if isNew { ids.append(Int32(id)) } else { ids[index] = Int32(id) }
    idLimit = max(idLimit, id + 1)
    if id < 2 * ids.count + (1 << 16) {
      if dense.count <= id {
        dense += [Int32](
          repeating: -1, count: max(id + 1, dense.count + dense.count / 2) - dense.count)
      }
      dense[id] = Int32(index)
    } else {
      sparse[Int32(id)] = Int32(index)
    }
  }

  /// The id of a token.
  @inline(__always)
  func id(of bytes: UnsafePointer<UInt8>, _ count: Int) -> Int32? {
    guard let index = table.index(of: bytes, count) else { return nil }
    return ids[index]
  }

  /// The id of a token.
  func id(of token: [UInt8]) -> Int32? { table.index(of: token).map { ids[$0] } }

  func id(of token: String) -> Int32? { id(of: Array(token.utf8)) }

  /// The bytes of the token of an id.
  func bytes(of id: Int) -> ArraySlice<UInt8>? {
    guard id >= 0 else { return nil }
    if id < dense.count, dense[id] >= 0 { return table[Int(dense[id])] }
    guard let key = Int32(exactly: id), let index = sparse[key] else { return nil }
    return table[Int(index)]
  }

  /// The token of an id.
  func token(of id: Int) -> String? { bytes(of: id).map { String(decoding: $0, as: UTF8.self) } }

  /// All tokens, by their ids.
  var sorted: [(token: String, id: Int)] {
    ids.indices.sorted { ids[$0] < ids[$1] }
      .map { (String(decoding: table[$0], as: UTF8.self), Int(ids[$0])) }
  }
}
