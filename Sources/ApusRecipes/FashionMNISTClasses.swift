// Parts of Fashion-MNIST: some of its classes, and few examples of each.

import Apus

extension LabeledImages {
  /// The examples of some classes, which are numbered from 0 on in that order.
  ///
  /// - Throws: `outOfRange` for a class that is none.
  func ofClasses(_ classes: [Int]) throws -> LabeledImages {
    if let wrong = classes.first(where: { !(0..<classCount).contains($0) }) {
      throw ApusError(
        .outOfRange, "\(wrong) is no class", expected: "a class in 0..<\(classCount)")
    }
    let all = labels.integers
    let chosen = all.indices.filter { classes.contains(Int(all[$0])) }
    let numbers = chosen.map { Int32(classes.firstIndex(of: Int(all[$0])) ?? 0) }
    return try LabeledImages(
      pixels: pixels.rows(at: chosen), labels: NDArray(numbers, shape: [chosen.count]),
      classCount: classes.count, scale: scale)
  }

  /// So many examples of each class; all of one that has no more.
  ///
  /// - `start`: how many of each class are passed over first.
  func few(_ count: Int, startingAt start: Int = 0) throws -> LabeledImages {
    var met = [Int](repeating: 0, count: classCount)
    let range = start..<start + count
    let all = labels.integers
    let chosen = all.indices.filter { place in
      let label = Int(all[place])
      defer { met[label] += 1 }
      return range.contains(met[label])
    }
    return try LabeledImages(
      pixels: pixels.rows(at: chosen), labels: labels.rows(at: chosen), classCount: classCount,
      scale: scale)
  }
}

extension RandomField {
  /// A batch as the data set's: images in one channel and their classes.
  static func fashionMNIST(_ batch: Int) -> [RandomField] {
    [
      RandomField("images", [batch, 28, 28, 1], .normal),
      RandomField("labels", [batch], .integers(below: 10)),
    ]
  }
}
