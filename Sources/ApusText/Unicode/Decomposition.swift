// Normalisation forms: Unicode Standard Annex 15, with the tables of the package that Hugging Face's library uses.
//
// Forms are given as changes of the text they are made of: each scalar says how many of the old text's it stands for,
// so that places in the old text can be kept.

/// A scalar of a changed text.
struct ScalarChange {
  var scalar: UInt32
  /// 0 where it stands for one scalar of the old text; 1 where for none, as one more; -n where for n + 1.
  var change: Int

  init(_ scalar: UInt32, _ change: Int) {
    self.scalar = scalar
    self.change = change
  }
}

/// A normalisation form.
enum NormalizationForm: String, Sendable, CaseIterable {
  case nfc = "NFC"
  case nfd = "NFD"
  case nfkc = "NFKC"
  case nfkd = "NFKD"

  var isComposed: Bool { self == .nfc || self == .nfkc }
  var isCompatible: Bool { self == .nfkc || self == .nfkd }
}

/// Decompositions, combining classes, compositions and lower case.
enum Decomposition {
  static let canonicalMapping = ScalarMapping(canonical)
  static let compatibilityMapping = ScalarMapping(compatibility)
  static let lowercaseMapping = ScalarMapping(lowercase)
  static let combiningClasses: ScalarTable = {
    let mapping = ScalarMapping(classes)
    return ScalarTable(
      mapping.sources.map { (Int($0)..<Int($0) + 1, UInt16(mapping[$0]?.first ?? 0)) })
  }()

  /// The scalar that two are put together to.
  private static let compositions: [UInt64: UInt32] = {
    let excluded = Set(ScalarMapping(notComposed).sources)
    let sources = canonicalMapping.sources.filter { !excluded.contains($0) }
    var whole: [[UInt32]: UInt32] = [:]
    for source in sources { whole[Array(canonicalMapping[source]!)] = source }
    var pairs: [UInt64: UInt32] = [:]
    for source in sources {
      let parts = Array(canonicalMapping[source]!)
      guard parts.count > 1 else { continue }
      // The tables hold whole decompositions; composing goes by one scalar at a time.
      let first = parts.count == 2 ? parts[0] : whole[Array(parts.dropLast())]
      if let first { pairs[UInt64(first) << 32 | UInt64(parts.last!)] = source }
    }
    return pairs
  }()

  /// Which scalars no form changes, wherever they stand: bit 0 for NFC, 1 for NFD, 2 for NFKC, 3 for NFKD.
  private static let inert: ScalarTable = {
    var changed = [UInt16: Set<UInt32>]()
    let marks = Set((0..<0x110000).lazy.map { UInt32($0) }.filter { combiningClasses[$0] != 0 })
    let excluded = Set(ScalarMapping(notComposed).sources)
    var seconds = Set(compositions.keys.map { UInt32(truncatingIfNeeded: $0) })
    seconds.formUnion(0x1161...0x1175)
    seconds.formUnion(0x11a8...0x11c2)
    let hangul = Set(UInt32(0xac00)...0xd7a3)
    let composed = marks.union(excluded).union(seconds)
    let decomposed = marks.union(canonicalMapping.sources).union(hangul)
    let compatible = Set(compatibilityMapping.sources)
    changed[0] = composed
    changed[1] = decomposed
    changed[2] = composed.union(compatible)
    changed[3] = decomposed.union(compatible)
    var masks: [UInt32: UInt16] = [:]
    for (bit, scalars) in changed {
      for scalar in scalars { masks[scalar, default: 0] |= 1 << bit }
    }
    return ScalarTable(
      masks.sorted { $0.key < $1.key }.map { (Int($0.key)..<Int($0.key) + 1, $0.value) })
  }()

  /// Whether a text surely is in the form, which takes one look at each scalar.
  static func isSurely(_ form: NormalizationForm, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    guard let start = bytes.baseAddress, !bytes.isASCII else { return true }
    let bit: UInt16 =
      switch form {
      case .nfc: 1
      case .nfd: 1 << 1
      case .nfkc: 1 << 2
      case .nfkd: 1 << 3
      }
    let inert = inert
    var place = 0
    while place < bytes.count {
      if start[place] < 0x80 {
        place += 1
        continue
      }
      let (value, length) = scalar(start, at: place)
      if inert[value] & bit != 0 { return false }
      place += length
    }
    return true
  }

  /// The form of a text, as changes of it.
  static func changes(
    to form: NormalizationForm, of bytes: UnsafeBufferPointer<UInt8>
  ) -> [ScalarChange] {
    let decomposed = decomposition(of: bytes, compatible: form.isCompatible)
    return form.isComposed ? composition(of: decomposed) : decomposed
  }

  private static func decomposition(
    of bytes: UnsafeBufferPointer<UInt8>, compatible: Bool
  ) -> [ScalarChange] {
    var result: [ScalarChange] = []
    result.reserveCapacity(bytes.count)
    guard let start = bytes.baseAddress else { return result }
    let canonicalMapping = canonicalMapping, compatibilityMapping = compatibilityMapping
    let classes = combiningClasses
    // Marks since the last scalar of class 0 wait to be put in order.
    var pending: [(class: UInt16, change: ScalarChange)] = []
    func flush() {
      guard !pending.isEmpty else { return }
      // Stable, as the standard wants it.
      for index in pending.indices.dropFirst() {
        var place = index
        while place > 0, pending[place - 1].class > pending[place].class {
          pending.swapAt(place - 1, place)
          place -= 1
        }
      }
      result += pending.map(\.change)
      pending.removeAll(keepingCapacity: true)
    }
    func add(_ scalar: UInt32, _ change: Int) {
      let klass = classes[scalar]
      if klass == 0 {
        flush()
        result.append(ScalarChange(scalar, change))
      } else {
        pending.append((klass, ScalarChange(scalar, change)))
        // Insertion is quadratic, and a text may be all marks: they go on in parts.
        if pending.count >= 4096 { sortLong() }
      }
    }
    func sortLong() {
      let order = pending.enumerated().sorted {
        ($0.element.class, $0.offset) < ($1.element.class, $1.offset)
      }
      pending = order.map(\.element)
    }
    var place = 0
    while place < bytes.count {
      let (value, length) = scalar(start, at: place)
      place += length
      if value < 0x80 {
        add(value, 0)
      } else if (0xac00...0xd7a3).contains(value) {
        let syllable = value - 0xac00
        add(0x1100 + syllable / 588, 0)
        add(0x1161 + syllable % 588 / 28, 1)
        if syllable % 28 > 0 { add(0x11a7 + syllable % 28, 1) }
      } else if let parts = (compatible ? compatibilityMapping[value] : nil)
        ?? canonicalMapping[value]
      {
        for (index, part) in parts.enumerated() { add(part, index > 0 ? 1 : 0) }
      } else {
        add(value, 0)
      }
    }
    flush()
    return result
  }

  private static func composition(of parts: [ScalarChange]) -> [ScalarChange] {
    var result: [ScalarChange] = []
    result.reserveCapacity(parts.count)
    let classes = combiningClasses
    var starter = -1
    var lastClass: UInt16 = 0
    for part in parts {
      let klass = classes[part.scalar]
      if starter >= 0 {
        // A mark is kept from the starter by one of its own class or a higher one.
        let isBlocked = lastClass > 0 && lastClass >= klass
        let isAdjacent = result.count == starter + 1
        if !isBlocked, klass > 0 || isAdjacent,
          let whole = composed(result[starter].scalar, part.scalar)
        {
          result[starter].scalar = whole
          result[starter].change += part.change - 1
          continue
        }
      }
      if klass == 0 {
        starter = result.count
        lastClass = 0
      } else {
        lastClass = klass
      }
      result.append(part)
    }
    return result
  }

  private static func composed(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if (0x1100..<0x1113).contains(first), (0x1161..<0x1176).contains(second) {
      return 0xac00 + ((first - 0x1100) * 21 + second - 0x1161) * 28
    }
    if (0xac00...0xd7a3).contains(first), (first - 0xac00) % 28 == 0,
      (0x11a8..<0x11c3).contains(second)
    {
      return first + second - 0x11a7
    }
    return compositions[UInt64(first) << 32 | UInt64(second)]
  }
}
