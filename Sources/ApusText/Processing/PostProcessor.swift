// Post-processors: the special tokens around texts, and offsets without white space.

import ApusGraph

/// What happens to the tokens of a text or of two.
indirect enum PostProcessor: Sendable {
  case template(Template)
  case bert(separator: SpecialToken, start: SpecialToken)
  case roberta(
    separator: SpecialToken, start: SpecialToken, trimsOffsets: Bool, addsPrefixSpace: Bool)
  case byteLevel(trimsOffsets: Bool, addsPrefixSpace: Bool, usesRegex: Bool)
  case sequence([PostProcessor])

  struct SpecialToken: Sendable {
    var token: String
    var id: Int
  }

  /// Texts and special tokens in an order.
  struct Template: Sendable {
    enum Part: Sendable {
      case sequence(Int, typeID: Int)
      case special(String, typeID: Int)
    }

    var single: [Part]
    var pair: [Part]
    /// What each special token stands for: ids and their tokens.
    var specials: [(name: String, tokens: [(id: Int, token: String)])]

    func tokens(_ name: String) -> [(id: Int, token: String)] {
      specials.first { ByteName($0.name) == ByteName(name) }?.tokens ?? []
    }
  }

  /// The part that only takes white space out of offsets; nil where there is none.
  var trimming: PostProcessor? {
    switch self {
    case .byteLevel: self
    case .roberta(_, _, let trimsOffsets, let addsPrefixSpace):
      .byteLevel(
        trimsOffsets: trimsOffsets, addsPrefixSpace: addsPrefixSpace, usesRegex: true)
    case .sequence(let steps): steps.lazy.compactMap(\.trimming).first
    case .template, .bert: nil
    }
  }

  /// How many tokens it adds.
  func addedCount(isPair: Bool) -> Int {
    switch self {
    case .template(let template):
      (isPair ? template.pair : template.single).reduce(0) { count, part in
        guard case .special(let name, _) = part else { return count }
        return count + template.tokens(name).count
      }
    case .bert: isPair ? 3 : 2
    case .roberta: isPair ? 4 : 2
    case .byteLevel: 0
    case .sequence(let steps): steps.reduce(0) { $0 + $1.addedCount(isPair: isPair) }
    }
  }

  /// - Throws: `unsupported` where what comes before has left neither one text nor two.
  func apply(
    to encodings: [Encoding], addingSpecials: Bool, _ names: any TokenNames
  ) throws -> [Encoding] {
    var encodings = encodings
    func special(_ token: SpecialToken, _ typeID: Int) -> Encoding {
      Encoding(specials: [(token.id, token.token)], typeID: typeID, names: names)
    }
    switch self {
    case .sequence(let steps):
      return try steps.reduce(encodings) {
        try $1.apply(to: $0, addingSpecials: addingSpecials, names)
      }
    case .byteLevel(let trimsOffsets, let addsPrefixSpace, _):
      if trimsOffsets { for index in encodings.indices { encodings[index].trim(addsPrefixSpace) } }
      return encodings
    case .template(let template):
      return try apply(template, to: encodings, addingSpecials, names)
    case .bert(let separator, let start):
      guard addingSpecials, let first = encodings.first else { return encodings }
      return [special(start, 0), first, special(separator, 0)]
        + encodings.dropFirst().flatMap { [$0, special(separator, 1)] }
    case .roberta(let separator, let start, let trimsOffsets, let addsPrefixSpace):
      for index in encodings.indices {
        if trimsOffsets { encodings[index].trim(addsPrefixSpace) }
        encodings[index].setTypeID(0)
        guard addingSpecials else { continue }
        for part in encodings[index].overflowing.indices {
          encodings[index].overflowing[part].setTypeID(0)
        }
      }
      guard addingSpecials, let first = encodings.first else { return encodings }
      return [special(start, 0), first, special(separator, 0)]
        + encodings.dropFirst().flatMap { [special(separator, 0), $0, special(separator, 0)] }
    }
  }

  private func apply(
    _ template: Template, to encodings: [Encoding], _ addingSpecials: Bool,
    _ names: any TokenNames
  ) throws -> [Encoding] {
    guard (1...2).contains(encodings.count) else {
      throw ApusError(
        .unsupported, "a template after a processor that has added tokens", at: "post_processor",
        expected: "the template first")
    }
    return (encodings.count == 2 ? template.pair : template.single).compactMap { part in
      switch part {
      case .sequence(let index, let typeID):
        var encoding = encodings[min(index, encodings.count - 1)]
        encoding.setTypeID(typeID)
        encoding.setSequence(index)
        return encoding
      case .special(let name, let typeID):
        guard addingSpecials else { return nil }
        return Encoding(specials: template.tokens(name), typeID: typeID, names: names)
      }
    }
  }
}

extension Encoding {
  /// Takes white space out of the offsets, here and in what overflows.
  ///
  /// - `addsPrefixSpace`: whether a space was put in front, which no offset counts.
  mutating func trim(_ addsPrefixSpace: Bool) {
    for index in overflowing.indices { overflowing[index].trim(addsPrefixSpace) }
    for index in ids.indices {
      // Hardly a token needs to be looked at.
      guard surfaces[index] != nil || names.mayHaveSpaces(ids[index]) else { continue }
      let scalars = Array((surfaces[index] ?? names.name(ids[index]) ?? "").unicodeScalars)
      func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        // U+0120 is the space in the alphabet of bytes.
        scalar.value == 0x120 || ScalarClass.of(scalar.value).contains(.space)
      }
      var leading = scalars.prefix(while: isSpace).count
      let trailing = scalars.reversed().prefix(while: isSpace).count
      guard leading > 0 || trailing > 0 else { continue }
      var (start, end) = (offsets[index].lowerBound, offsets[index].upperBound)
      if leading > 0 {
        // Where there are more, none of them was put there.
        if addsPrefixSpace, leading == 1, index == 0 || start == 0 { leading = 0 }
        start = min(start + leading, end)
      }
      if trailing > 0, end >= trailing { end = max(end - trailing, start) }
      offsets[index] = start..<end
    }
  }
}

/// Special tokens before and behind a text.
struct IDsAround {
  var before: [Int] = []
  var after: [Int] = []
}

extension PostProcessor {
  /// What stands around one text; nil where the text does not stand there once.
  var idsAround: IDsAround? {
    switch self {
    case .byteLevel: return IDsAround()
    case .bert(let separator, let start), .roberta(let separator, let start, _, _):
      return IDsAround(before: [start.id], after: [separator.id])
    case .template(let template):
      var around = IDsAround()
      var texts = 0
      for part in template.single {
        switch part {
        case .sequence: texts += 1
        case .special(let name, _):
          let ids = template.tokens(name).map(\.id)
          if texts == 0 { around.before += ids } else { around.after += ids }
        }
      }
      return texts == 1 ? around : nil
    case .sequence(let steps):
      let relevant = steps.filter { step in
        if case .byteLevel = step { false } else { true }
      }
      guard relevant.count <= 1 else { return nil }
      return relevant.first.map(\.idsAround) ?? IDsAround()
    }
  }
}
