// The halves of an all-reduce with a group: what is handed over, and when it is taken back.

import CKernels
import Testing

@Suite struct AllReduceKernelTests {
  /// A group that doubles what it is given, when it is waited for.
  private struct Doubling {
    var posted: [(number: Int64, values: UnsafeMutablePointer<Float>, count: Int64)] = []
    var waited: [Int64] = []
  }

  private static func run(
    _ kernel: ck_kernel, _ arrays: [(data: UnsafeMutablePointer<Float>, count: Int)],
    _ args: ck_allreduce_args, threads: Int
  ) throws {
    let size = MemoryLayout<ck_allreduce_args>.size
    let stride = MemoryLayout<ck_allreduce_array>.stride
    let block = UnsafeMutableRawPointer.allocate(
      byteCount: size + arrays.count * stride, alignment: 64)
    defer { block.deallocate() }
    var args = args
    args.arrays = Int64(arrays.count)
    args.count = Int64(arrays.reduce(0) { $0 + $1.count })
    block.storeBytes(of: args, as: ck_allreduce_args.self)
    for (index, array) in arrays.enumerated() {
      (block + size + index * stride).storeBytes(
        of: ck_allreduce_array(data: array.data, count: Int64(array.count)),
        as: ck_allreduce_array.self)
    }
    let team = try #require(ck_team_create(Int32(threads), 0))
    defer { ck_team_destroy(team) }
    var step = ck_step(kernel: kernel, args: block, threads: 0, barrier: 1, condition: nil)
    ck_run(team, &step, 1)
  }

  @Test(arguments: [1, 2, 7], [0, 1, 0.75] as [Float])
  func aBucketGoesToTheGroupAndComesBackDivided(threads: Int, weight: Float) throws {
    let counts = [3, 0, 9001, 1, 4096, 0]
    let total = counts.reduce(0, +)
    let source = UnsafeMutablePointer<Float>.allocate(capacity: total)
    let target = UnsafeMutablePointer<Float>.allocate(capacity: total)
    let bucket = UnsafeMutablePointer<Float>.allocate(capacity: total + 1)
    defer { for memory in [source, target, bucket] { memory.deallocate() } }
    for index in 0..<total { source[index] = Float(index) - 77 }
    if weight == 0 { source[5] = .nan }
    target.initialize(repeating: -1, count: total)
    bucket.initialize(repeating: -1, count: total + 1)
    func arrays(_ base: UnsafeMutablePointer<Float>) -> [(UnsafeMutablePointer<Float>, Int)] {
      var next = base
      return counts.map { count in
        defer { next += count }
        return (next, count)
      }
    }
    var doubling = Doubling()
    var weight = weight
    try withUnsafeMutablePointer(to: &doubling) { context in
      var group = ck_group(
        context: context,
        post: { context, number, values, count in
          context!.assumingMemoryBound(to: Doubling.self).pointee.posted
            .append((number, values!, count))
        },
        wait: { context, number in
          let own = context!.assumingMemoryBound(to: Doubling.self)
          own.pointee.waited.append(number)
          for (_, values, count) in own.pointee.posted {
            for index in 0..<Int(count) { values[index] *= 2 }
          }
        }, agree: nil)
      try withUnsafePointer(to: &group) { group in
        try withUnsafePointer(to: &weight) { weight in
          var args = ck_allreduce_args()
          (args.group, args.bucket, args.weight, args.number) = (group, bucket, weight, 11)
          try Self.run(
            ck_allreduce(CK_ALLREDUCE_START, CK_ISA_REF)!, arrays(source), args, threads: threads)
          let posted = context.pointee.posted
          #expect(posted.count == 1 && posted[0].number == 11)
          #expect(posted[0].values == bucket && posted[0].count == Int64(total + 1))
          #expect(bucket[total] == weight.pointee)
          for index in 0..<total {
            let wanted = weight.pointee == 0 ? 0 : weight.pointee * source[index]
            guard bucket[index] != wanted else { continue }
            Issue.record("element \(index) is \(bucket[index]), not \(wanted)")
            break
          }
          try Self.run(
            ck_allreduce(CK_ALLREDUCE_END, CK_ISA_REF)!, arrays(target), args, threads: threads)
          #expect(context.pointee.waited == [11])
        }
      }
    }
    // Twice the sum by twice the weight.
    for index in 0..<total {
      let isRight =
        weight == 0 ? target[index].isNaN : abs(target[index] - source[index]) < 1e-3
      guard !isRight else { continue }
      Issue.record("element \(index) is \(target[index])")
      break
    }
  }

  @Test func sumsAreAddedInOrder() {
    var parts = [[Float]](repeating: [], count: 3)
    var wanted: [Float] = []
    for index in 0..<2500 {
      let small = Float(index % 7) - 3.3
      for part in 0..<3 { parts[part].append(index % 3 == part ? 1e8 : small) }
      let first = parts[0][index] + parts[1][index]
      wanted.append(first + parts[2][index])
    }
    var sum = [Float](repeating: 0, count: 2500)
    parts[0].withUnsafeBufferPointer { a in
      parts[1].withUnsafeBufferPointer { b in
        parts[2].withUnsafeBufferPointer { c in
          ck_allreduce_sum(&sum, [a.baseAddress, b.baseAddress, c.baseAddress], 3, 2500)
        }
      }
    }
    #expect(sum == wanted)
  }
}
