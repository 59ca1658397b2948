// Which examples go to which part: random splits and folds, plain and stratified.
//
// The sizes are those of PyTorch's `random_split` and scikit-learn's `KFold` and `StratifiedKFold`, whose way of
// giving classes to folds is followed example by example where nothing is shuffled.

import ApusGraph

/// The examples of the parts of a set, by their numbers.
enum ExampleSplit {
  /// The parts of a random split.
  ///
  /// - Throws: `invalidArgument` for fractions that are negative or do not add up to 1.
  static func parts(_ fractions: [Double], of count: Int, seed: UInt64) throws -> [[Int]] {
    let sizes = try sizes(fractions, of: count)
    let order = try shuffled(count, seed)
    var start = 0
    return sizes.map { size in
      defer { start += size }
      return Array(order[start..<start + size])
    }
  }

  /// The parts of a random split in which each class has its share of each part, but for rounding.
  ///
  /// The sizes of the parts are those of the plain split. A part's places are given to classes in proportion to what
  /// is left of them, by the largest remainders.
  static func parts(
    _ fractions: [Double], stratifiedBy labels: [Int], of count: Int, seed: UInt64
  ) throws -> [[Int]] {
    try check(labels, count)
    let sizes = try sizes(fractions, of: count)
    let classes = Classes(labels, order: try shuffled(count, seed))
    var left = classes.members.map(\.count)
    var parts: [[Int]] = []
    for size in sizes {
      let total = left.reduce(0, +)
      let shares = Self.shares(of: size, in: left, total)
      var part: [Int] = []
      for (number, share) in shares.enumerated() {
        let used = classes.members[number].count - left[number]
        part += classes.members[number][used..<used + share]
        left[number] -= share
      }
      // In the shuffled order: classes do not stand in blocks.
      parts.append(part.sorted { classes.place[$0] < classes.place[$1] })
    }
    return parts
  }

  /// The examples that each fold keeps back, as `KFold` and, with labels, `StratifiedKFold` choose them.
  ///
  /// - `seed`: nil to leave the order as it is.
  static func folds(
    _ folds: Int, stratifiedBy labels: [Int]?, of count: Int, seed: UInt64?
  ) throws -> [[Int]] {
    guard folds >= 2, folds <= count else {
      throw ApusError(
        .invalidArgument, "\(count) examples in \(folds) folds",
        expected: "2 folds or more, and no more than examples")
    }
    let order = try seed.map { try shuffled(count, $0) } ?? Array(0..<count)
    guard let labels else {
      var start = 0
      return (0..<folds).map { fold in
        let size = count / folds + (fold < count % folds ? 1 : 0)
        defer { start += size }
        return order[start..<start + size].sorted()
      }
    }
    try check(labels, count)
    // Classes are numbered as they come in the set, whatever the order.
    let classes = Classes(labels, order: Array(0..<count))
    guard let most = classes.members.map(\.count).max(), most >= folds else {
      throw ApusError(
        .invalidArgument,
        "\(folds) folds of classes with at most "
          + "\(classes.members.map(\.count).max() ?? 0) examples each",
        expected: "a class that has an example for each fold")
    }
    // Sorted by class, every folds-th example goes to the same fold: so no two folds differ by more than one.
    let sorted = classes.members.enumerated().flatMap { number, members in
      [Int](repeating: number, count: members.count)
    }
    var sizes = [[Int]](
      repeating: [Int](repeating: 0, count: classes.members.count), count: folds)
    for (place, number) in sorted.enumerated() { sizes[place % folds][number] += 1 }
    var result = [[Int]](repeating: [], count: folds)
    let members = Classes(labels, order: order, numbers: classes.numbers).members
    for (number, members) in members.enumerated() {
      var start = 0
      for fold in 0..<folds {
        result[fold] += members[start..<start + sizes[fold][number]]
        start += sizes[fold][number]
      }
    }
    return result.map { $0.sorted() }
  }

  /// The examples that are not in `part`, in order.
  static func others(than part: [Int], of count: Int) -> [Int] {
    var isIn = [Bool](repeating: false, count: count)
    for example in part { isIn[example] = true }
    return (0..<count).filter { !isIn[$0] }
  }

  /// The examples of each class.
  private struct Classes {
    var numbers: [Int: Int]
    var members: [[Int]]
    /// Where each example stands in the order.
    var place: [Int]

    /// - `order`: of the examples of a class.
    /// - `numbers`: of the classes; by default as they come.
    init(_ labels: [Int], order: [Int], numbers: [Int: Int] = [:]) {
      self.numbers = numbers
      members = [[Int]](repeating: [], count: numbers.count)
      place = [Int](repeating: 0, count: labels.count)
      for (index, example) in order.enumerated() {
        place[example] = index
        let label = labels[example]
        let number = self.numbers[label] ?? members.count
        if number == members.count {
          self.numbers[label] = number
          members.append([])
        }
        members[number].append(example)
      }
    }
  }

  /// Down to whole examples, and one more to the first parts until all have gone, as `random_split` does.
  private static func sizes(_ fractions: [Double], of count: Int) throws -> [Int] {
    if let place = fractions.firstIndex(where: { !($0 >= 0 && $0 <= 1) }) {
      throw ApusError(
        .invalidArgument, "part \(place) of a split has the fraction \(fractions[place])",
        expected: "numbers in 0...1")
    }
    let sum = fractions.reduce(0, +)
    guard abs(sum - 1) < 1e-6 else {
      throw ApusError(
        .invalidArgument, "the fractions \(fractions) of a split add up to \(sum)", expected: "1")
    }
    var sizes = fractions.map { Int(Double(count) * $0) }
    var left = count - sizes.reduce(0, +)
    // A sum a little above 1 may ask for an example too many.
    while left < 0, let place = sizes.lastIndex(where: { $0 > 0 }) {
      sizes[place] -= 1
      left += 1
    }
    for place in 0..<max(left, 0) { sizes[place % sizes.count] += 1 }
    return sizes
  }

  /// How many of `size` places each class has, in proportion to what is left of it.
  private static func shares(of size: Int, in left: [Int], _ total: Int) -> [Int] {
    guard total > 0 else { return left.map { _ in 0 } }
    // Of whole numbers, so that no rounding decides: size * left has fewer than 64 bits.
    var shares = left.map { size * $0 / total }
    let remainders = left.map { size * $0 % total }
    let missing = size - shares.reduce(0, +)
    let order = left.indices.sorted { (remainders[$0], $1) > (remainders[$1], $0) }
    for place in order.prefix(missing) { shares[place] += 1 }
    return shares
  }

  private static func check(_ labels: [Int], _ count: Int) throws {
    guard labels.count == count else {
      throw ApusError(
        .invalidArgument, "\(labels.count) labels for \(count) examples",
        expected: "a label for each example")
    }
  }

  /// - Throws: `invalidArgument` for 2^32 examples and more.
  private static func shuffled(_ count: Int, _ seed: UInt64) throws -> [Int] {
    guard count < 1 << 31 else {
      throw ApusError(
        .invalidArgument, "a split of \(count) examples", expected: "fewer than 2^31")
    }
    // No epoch has this number.
    return permutation(of: count, seed: seed, epoch: -1)
  }
}
