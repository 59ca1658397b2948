// What a decoder keeps while it writes token by token: of the tokens so far, and of what the encoder made.

import ApusGraph
import ApusOps

/// Keys and values for each layer of a ``TransformerDecoder``: those of the tokens so far, which grow by each token, and
/// those of the memory, which are computed once.
///
///     let cache = decoder.makeCache(sources: 8, rowsPerSource: 4, length: 64, memoryLength: 32)
///     decoder.remember(memory, lengths: lengths, in: cache)          // f32[8,32,width], i32[8]
///     let y = decoder(x, cache: cache, at: position)                 // f32[32,1,width]
///
/// Several rows may look at one source, as the beams of a search do: the memory stands there once. It is no part of the
/// model's weights; who writes holds one beside the model.
public struct TransformerDecoderCache: Module, Sendable {
  /// What one layer keeps.
  struct Layer: Module, Sendable {
    let own: KeyValueCache
    /// Of the memory: `[sources, memoryLength, heads, width of a head]`.
    let keys, values: Buffer
  }

  /// Sequences that the memory has.
  public let sources: Int
  /// Rows that look at one of them: `sources · rowsPerSource` rows are written side by side.
  public let rowsPerSource: Int
  /// The most tokens of a row.
  public let length: Int
  /// Steps of the memory.
  public let memoryLength: Int
  let layers: [Layer]
  /// `i32[sources]`, steps of the memory that there are.
  let memoryLengths: Buffer
  private let fault: ApusError?

  init(
    layers count: Int, _ settings: TransformerSettings, sources: Int, rowsPerSource: Int,
    length: Int, memoryLength: Int
  ) {
    let numbers = [sources, rowsPerSource, length, memoryLength]
    let isSmall = numbers.allSatisfy { (1...(1 << 20)).contains($0) }
    // Heads that do not divide the width are told by the layers themselves.
    let isWhole = settings.heads >= 1 && settings.width % max(settings.heads, 1) == 0
    fault =
      isSmall
      ? nil
      : ApusError(
        .invalidArgument,
        "a decoder's cache of \(sources) sources with \(rowsPerSource) rows each, \(length) tokens "
          + "a row and \(memoryLength) steps of memory",
        expected: "1 to \(1 << 20) of each")
    (self.sources, self.rowsPerSource) = isSmall ? (sources, rowsPerSource) : (1, 1)
    (self.length, self.memoryLength) = isSmall ? (length, memoryLength) : (1, 1)
    let (heads, width) = isWhole ? (settings.keyHeads, settings.width / settings.heads) : (1, 1)
    let (rows, most) = (self.sources * self.rowsPerSource, self.length)
    let memory = Shape([self.sources, self.memoryLength, heads, width])
    layers = (0..<count).map { _ in
      Layer(
        own: KeyValueCache(batch: rows, length: most, heads: heads, width: width),
        keys: Buffer(memory), values: Buffer(memory))
    }
    memoryLengths = Buffer([self.sources], dtype: .i32)
  }

  public var parts: [(name: String, value: Any)] {
    [("layers", layers), ("memory_lengths", memoryLengths)]
      + (fault.map { [("sizes", $0)] } ?? [])
  }

  /// Makes row `i` that which was number `rows[i]`, `i32[sources·rowsPerSource]`, of the same source: what a beam search
  /// goes on with. The memory stays where it is.
  package func reorder(by rows: Tensor) { for layer in layers { layer.own.reorder(by: rows) } }
}

extension TransformerDecoder {
  /// A cache for rows that are written by this decoder.
  ///
  /// - `sources`: sequences that an encoder has read.
  /// - `rowsPerSource`: rows that are written for each, 1 or the beams of a search.
  /// - `length`: the most tokens of a row.
  /// - `memoryLength`: steps of the memory, padding included.
  ///
  /// Numbers below 1 are thrown by what initialises the cache.
  public func makeCache(
    sources: Int, rowsPerSource: Int = 1, length: Int, memoryLength: Int
  ) -> TransformerDecoderCache {
    TransformerDecoderCache(
      layers: layers.count, settings, sources: sources, rowsPerSource: rowsPerSource,
      length: length, memoryLength: memoryLength)
  }

  /// Computes what each layer's attention reads of a memory and keeps it in the cache.
  ///
  /// - `memory`: `[sources, memoryLength, width]`, as the cache says.
  /// - `lengths`: integers `[sources]`: steps of the memory from there on are padding.
  public func remember(
    _ memory: Tensor, lengths: Tensor, in cache: TransformerDecoderCache,
    file: StaticString = #fileID, line: UInt = #line
  ) {
    memory.trace.withCallLocation(sourceLocation(file, line)) {
      if memory.isPoisoned || lengths.isPoisoned { return }
      let expected = [cache.sources, cache.memoryLength]
      guard Array(memory.shape.dimensions.prefix(2)) == expected, memory.rank == 3,
        lengths.shape == [cache.sources], lengths.dtype.isInteger
      else {
        memory.trace.record(
          ApusError(
            .shapeMismatch, "a decoder's cache is given \(memory.type) and lengths \(lengths.type)",
            at: sourceLocation(file, line),
            expected: "floats [\(expected[0]),\(expected[1]),width] and integers [\(expected[0])]"))
        return
      }
      for (layer, kept) in zip(layers, cache.layers) {
        let (keys, values) = layer.crossAttention.keysAndValues(of: memory)
        if keys.isPoisoned { return }
        kept.keys.update(to: keys.cast(to: .f32))
        kept.values.update(to: values.cast(to: .f32))
      }
      cache.memoryLengths.update(to: lengths.cast(to: .i32))
    }
  }

  /// Tokens that follow those of a cache, which look at the memory it keeps: `[rows, count, width]` → the same.
  ///
  /// - `position`: `i32[]`, the number of tokens before these.
  public func callAsFunction(
    _ x: Tensor, cache: TransformerDecoderCache, at position: Tensor,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      let rows = cache.sources * cache.rowsPerSource
      guard x.isPoisoned || x.rank == 3 && x.shape[0] == rows && cache.layers.count == layers.count
      else {
        return .poisoned(
          ApusError(
            .shapeMismatch,
            "a decoder of \(layers.count) layers is given \(x.type) and a cache of "
              + "\(cache.layers.count) layers and \(rows) rows",
            expected: "floats [\(rows),count,width] and a cache that it made"), like: x)
      }
      return normalized(
        zip(layers, cache.layers).reduce(x) { y, pair in
          pair.0(y, cache: pair.1, memoryLengths: cache.memoryLengths.tensor, at: position)
        })
    }
  }
}
