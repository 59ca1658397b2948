// The greatest of many numbers, without putting all of them in order.

/// Where the greatest numbers stand, in the order of their places; of equal ones the first. NaN comes last.
func placesOfLargest<Number: BinaryFloatingPoint>(
  _ count: Int, of numbers: UnsafeBufferPointer<Number>
) -> [Int] {
  guard count < numbers.count else { return Array(numbers.indices) }
  // A heap of the greatest so far, the least of them first.
  func isLess(_ a: Int, _ b: Int) -> Bool {
    let (x, y) = (numbers[a], numbers[b])
    if x.isNaN || y.isNaN { return x.isNaN && (!y.isNaN || a > b) }
    return x < y || x == y && a > b
  }
  var heap: [Int] = []
  heap.reserveCapacity(count)
  func sink(_ start: Int) {
    var place = start
    while true {
      var least = place
      for child in [2 * place + 1, 2 * place + 2]
      where child < heap.count && isLess(heap[child], heap[least]) { least = child }
      if least == place { return }
      heap.swapAt(place, least)
      place = least
    }
  }
  for index in numbers.indices {
    if heap.count < count {
      heap.append(index)
      if heap.count == count { for place in (0..<count / 2).reversed() { sink(place) } }
    } else if isLess(heap[0], index) {
      heap[0] = index
      sink(0)
    }
  }
  return heap.sorted()
}
