// What kernels say their threads touch, against what they do touch: each thread gets copies of all arrays
// of its own, with junk wherever it says that it does not read.

import ApusGraph
import ApusOps
import CKernels
import Foundation
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct PartitionTests {
  static let levels: [ISA] = [.ref, Environment.availableISAs.last!]

  /// Checks every thread of teams of 2, 3 and 7; expects the partition to tell of at least the results and
  /// operands listed, so that a kernel that falls silent is noticed.
  private func check<O: Op>(
    _ op: O, _ operands: [TensorType], views: [View?]? = nil, knows results: [Int] = [0],
    reads known: [Int] = [], isIndex: Set<Int> = [], precision: Precision = .highest,
    _ label: String = ""
  ) throws {
    for isa in Self.levels {
      let site = LoweringSite(
        operands: operands, views: views ?? operands.map { _ in nil },
        results: try op.resultTypes(operands), isa: isa, precision: precision)
      let call = try op.lower(site)
      var generator = SplitMix("partition \(O.mnemonic) \(label)")
      let values = operands.enumerated().map { index, type -> NDArray in
        isIndex.contains(index)
          ? NDArray(doubles: (0..<type.count).map { Double($0 % 3) }, type: type)
          : NDArray(doubles: (0..<type.count).map { _ in generator.uniform(0.1...1) }, type: type)
      }
      let expected = try SeparateThreads(call, values, site, threads: 1).results[0]
      for threads in [2, 3, 7] {
        let runs = try SeparateThreads(call, values, site, threads: threads)
        let place = "\(O.mnemonic) \(label), \(isa), \(threads) threads"
        for (index, type) in site.results.enumerated() {
          var written = [Bool](repeating: false, count: type.count)
          for thread in 0..<threads {
            let region = call.partition.region(.result(index), thread: thread, threads: threads)
            #expect(region != nil || !results.contains(index), "\(place): result \(index)")
            let own = region.map { elements($0, count: type.count) }
            for element in 0..<type.count where runs.isWritten(thread, index, element) {
              #expect(own?.contains(element) ?? true, "\(place): result \(index)[\(element)]")
              #expect(!written[element], "\(place): two threads write result \(index)[\(element)]")
              #expect(
                runs.results[thread][index][element] == expected[index][element],
                "\(place): result \(index)[\(element)] depends on what thread \(thread) does not read"
              )
              written[element] = true
            }
          }
          #expect(written.allSatisfy { $0 }, "\(place): result \(index)")
        }
        for operand in known {
          #expect(
            call.partition.region(.operand(operand), thread: 1, threads: threads) != nil,
            "\(place): operand \(operand)")
        }
      }
    }
  }

  @Test func productsKeepToTheirRowsAndColumns() throws {
    for (m, n, k) in [
      (64, 128, 40), (64, 10, 33), (10, 130, 16), (5, 600, 9), (33, 1, 20), (1, 70, 8),
    ] {
      try check(MatMul(), [.f32(m, k), .f32(k, n)], reads: [0, 1], "\(m)x\(n)x\(k)")
      try check(
        MatMul(transposeB: true), [.f32(m, k), .f32(n, k)], reads: [0, 1], "nt \(m)x\(n)x\(k)")
      try check(
        MatMul(transposeA: true), [.f32(k, m), .f32(k, n)], reads: [0, 1], "tn \(m)x\(n)x\(k)")
    }
    try check(MatMul(), [.f32(3, 20, 12), .f32(12, 30)], reads: [0, 1], "one B")
    try check(MatMul(), [.f32(3, 20, 12), .f32(3, 12, 30)], reads: [0], "batch")
  }

  @Test func productsOfNarrowNumbersKeepToThemToo() throws {
    let add = LoopProgram.Instruction(.apply(Add()), [.operand(0), .operand(1)])
    let bias = LoopProgram([add], outputs: [0])
    let rounded = LoopProgram([add, .init(.apply(Cast(to: .bf16)), [.value(0)])], outputs: [1])
    for (m, n, k) in [(64, 128, 40), (64, 10, 34), (10, 130, 16), (150, 1, 20), (1, 70, 8)] {
      let label = "narrow \(m)x\(n)x\(k)"
      let product = MatMul(transposeB: true, result: .f32)
      try check(MatMul(), [.bf16(m, k), .bf16(k, n)], reads: [0, 1], label)
      try check(
        MatMul(transposeA: true, result: .bf16), [.bf16(k, m), .f32(k, n)], reads: [0, 1],
        precision: .mixed, label)
      try check(product, [.f32(m, k), .f32(n, k)], reads: [0, 1], precision: .mixed, label)
      try check(
        Fused(product, program: rounded), [.bf16(m, k), .f32(n, k), .f32(n)],
        reads: [0, 1], precision: .mixed, label)
      try check(
        Fused(product, program: bias), [.bf16(m, k), .bf16(n, k), .f32(m, 1)],
        reads: [0, 1], precision: .mixed, label)
    }
    try check(MatMul(), [.bf16(3, 20, 12), .bf16(12, 30)], reads: [0, 1], "narrow, one B")
    try check(MatMul(), [.bf16(3, 20, 12), .bf16(3, 12, 1)], reads: [0], "narrow batch")
  }

  @Test func productsWithEpiloguesKeepToThemToo() throws {
    let bias = LoopProgram([.init(.apply(Add()), [.operand(0), .operand(1)])], outputs: [0])
    try check(
      Fused(MatMul(), program: bias), [.f32(64, 24), .f32(24, 70), .f32(70)], reads: [2])
    let gate = LoopProgram(
      [
        .init(.apply(Multiply()), [.operand(0), .operand(1)]),
        .init(.apply(Add()), [.value(0), .operand(2)]),
      ], outputs: [0, 1])
    // In registers.
    for program in [
      LoopProgram([.init(.apply(Gate()), [.operand(1), .operand(0)])], outputs: [0]), bias,
    ] {
      try check(
        Fused(MatMul(), program: program), [.f32(64, 24), .f32(24, 70), .f32(64, 70)],
        reads: [0, 2])
    }
    for (m, n) in [(64, 70), (9, 300)] {
      try check(
        Fused(MatMul(), program: gate),
        [.f32(m, 24), .f32(24, n), .f32(m, n), .f32(m, 1)], knows: [0, 1], reads: [2], "\(m)x\(n)")
    }
  }

  @Test func loopsKeepToTheirTiles() throws {
    func chain(_ domain: Shape, _ operands: [TensorType], _ label: String) throws {
      let program = LoopProgram(
        [
          .init(.apply(Multiply()), [.operand(0), .operand(1)]),
          .init(.apply(Add()), [.value(0), .operand(2)]),
        ], outputs: [0, 1])
      try check(
        Loop(domain: domain, reducedAxes: [], program: program), operands, knows: [0, 1],
        reads: [0], label)
    }
    try chain([5000], [.f32(5000), .f32(5000), .f32()], "flat")
    try chain([40, 100], [.f32(40, 100), .f32(100), .f32(40, 1)], "rows and columns")
    try chain([7, 1300], [.f32(7, 1300), .f32(1300), .f32(7, 1300)], "long rows")
    try chain([3, 50, 20], [.f32(3, 50, 20), .f32(50, 1), .f32(3, 1, 1)], "three axes")
    try check(Sum(axes: [1], keepDims: false), [.f32(90, 30)], reads: [0], "short rows")
    try check(Sum(axes: [1], keepDims: false), [.f32(40, 700)], reads: [0], "rows")
    try check(Sum(axes: [0], keepDims: false), [.f32(64, 3000)], reads: [0], "columns")
    try check(Sum(axes: [0, 1], keepDims: false), [.f32(30, 20)], "everything")
    try check(
      Square(), [.f32(60, 50)],
      views: [View(shape: [60, 50], strides: [80, 1], offset: 0)]
        .map { $0 }, reads: [], "a part of wider rows")
  }

  @Test func manyArraysAreSharedOutThrough() throws {
    let program = LoopProgram(
      [
        .init(.apply(Multiply()), [.operand(0), .operand(1)]),
        .init(.apply(Add()), [.value(0), .operand(2)]),
      ], outputs: [1])
    let op = MultiLoop(
      domains: [[700], [33, 40], [5]], shared: [1], operandCount: 3, program: program)
    let segments: [TensorType] = [.f32(700), .f32(33, 40), .f32(5)]
    try check(op, segments + [.f32()] + segments, knows: [0, 1, 2], reads: [0, 1, 2, 4])
  }

  @Test func rowKernelsKeepToTheirRows() throws {
    try check(Softmax(axis: 1), [.f32(70, 33)], reads: [0])
    try check(LogSoftmax(axis: 1), [.f32(70, 33)], reads: [0])
    try check(Softmax(axis: 1), [.f32(70, 10)], reads: [0])
    for reduction in LossReduction.allCases {
      let rule = CrossEntropyRule(reduction: reduction)
      let loss: TensorType = reduction == .none ? .f32(100) : .f32()
      // What a mean divides by is the sum over all labels.
      let readsOwnLabels = reduction != .mean
      try check(
        CrossEntropy(rule), [.f32(100, 10), .i32(100)], knows: [0, 1],
        reads: readsOwnLabels ? [0, 1] : [0], isIndex: [1], "\(reduction)")
      try check(
        CrossEntropyWithGradient(rule), [.f32(100, 10), loss, .i32(100)], knows: [0, 1],
        reads: readsOwnLabels ? [0, 2] : [0], isIndex: [2], "\(reduction)")
      try check(
        CrossEntropyGradient(rule), [.f32(100, 10), .f32(100), loss, .i32(100)], reads: [0],
        isIndex: [3], "\(reduction)")
    }
  }

  /// The elements of a region.
  private func elements(_ region: Region, count: Int) -> Set<Int> {
    var all = Set<Int>()
    for run in 0..<max(region.count, 0) {
      let start = region.start + run * region.pitch
      all.formUnion(start..<min(start + region.width, max(count, start)))
    }
    return all
  }
}

/// A call run by a team whose threads share nothing but the workspace.
private final class SeparateThreads {
  /// By thread and result: what the thread left there. The mark is where it wrote nothing.
  private(set) var results: [[[Float]]] = []
  private static let mark: UInt32 = 0x7fc5_1234
  private let types: [TensorType]

  init(_ call: KernelCall, _ operands: [NDArray], _ site: LoweringSite, threads: Int) throws {
    types = site.results
    var memory: [UnsafeMutableRawPointer] = []
    func allocate(_ bytes: Int) -> UnsafeMutableRawPointer {
      let address = UnsafeMutableRawPointer.allocate(byteCount: max(bytes, 64) + 64, alignment: 64)
      memory.append(address)
      return address
    }
    defer { for address in memory { address.deallocate() } }
    let workspace = allocate(call.workspaceBytes)
    let errors = allocate(16)
    errors.assumingMemoryBound(to: Int64.self)[0] = -1
    let blocks = UnsafeMutablePointer<UnsafeRawPointer?>.allocate(capacity: threads)
    defer { blocks.deallocate() }
    var own: [[UnsafeMutableRawPointer]] = []
    for thread in 0..<threads {
      let inputs = operands.enumerated().map { index, array -> UnsafeMutableRawPointer in
        // A view may reach further than its dense type.
        let reach = site.views[index].extent.map { $0.upperBound + 1 } ?? 0
        let address = allocate(4 * max(reach, array.count))
        let dtype = array.dtype
        let values = array.doubles
        let region = call.partition.region(.operand(index), thread: thread, threads: threads)
        for element in 0..<max(reach, array.count) {
          var isRead = region == nil
          if let region, region.width > 0, element >= region.start {
            let run = region.pitch > 0 ? (element - region.start) / region.pitch : 0
            let last = min(run, region.count - 1)
            isRead = element < region.start + last * region.pitch + region.width
          }
          let value = values[element % array.count]
          let float = isRead ? Float(value) : .nan
          switch dtype {
          case .f32: address.assumingMemoryBound(to: Float.self)[element] = float
          case .bf16:
            address.assumingMemoryBound(to: UInt16.self)[element] = UInt16(float.bitPattern >> 16)
          default: address.assumingMemoryBound(to: Int32.self)[element] = isRead ? Int32(value) : 0
          }
        }
        return address
      }
      let outputs = site.results.map { type -> UnsafeMutableRawPointer in
        let address = allocate(type.byteCount)
        for element in 0..<type.count {
          if type.dtype == .bf16 {
            address.assumingMemoryBound(to: UInt16.self)[element] = UInt16(Self.mark >> 16)
          } else {
            address.assumingMemoryBound(to: UInt32.self)[element] = Self.mark
          }
        }
        return address
      }
      own.append(outputs)
      let block = allocate(call.arguments.count)
      call.arguments.withUnsafeBytes {
        block.copyMemory(from: $0.baseAddress!, byteCount: $0.count)
      }
      // No group: a process alone.
      for binding in call.bindings where binding.buffer != .group {
        let target: UnsafeMutableRawPointer =
          switch binding.buffer {
          case .operand(let index): inputs[index]
          case .result(let index): outputs[index]
          case .workspace: workspace
          case .errorSlot, .group: errors
          }
        (block + binding.field).storeBytes(
          of: UInt(bitPattern: target + binding.byteOffset), as: UInt.self)
      }
      blocks[thread] = UnsafeRawPointer(block)
    }
    var arguments = SeparateArguments(
      kernel: unsafeBitCast(call.entry.address, to: ck_kernel.self), blocks: blocks)
    let team = try #require(ck_team_create(Int32(threads), call.scratchBytesPerThread))
    defer { ck_team_destroy(team) }
    var step = ck_step(kernel: separateKernel, args: nil, threads: 0, barrier: 1, condition: nil)
    withUnsafePointer(to: &arguments) {
      step.args = UnsafeRawPointer($0)
      ck_run(team, &step, 1)
    }
    results = own.map { outputs in
      zip(outputs, site.results).map { address, type in
        (0..<type.count).map { element in
          type.dtype == .bf16
            ? Float(
              bitPattern: UInt32(address.assumingMemoryBound(to: UInt16.self)[element]) << 16)
            : address.assumingMemoryBound(to: Float.self)[element]
        }
      }
    }
  }

  func isWritten(_ thread: Int, _ result: Int, _ element: Int) -> Bool {
    let mark = types[result].dtype == .bf16 ? Self.mark & 0xffff_0000 : Self.mark
    return results[thread][result][element].bitPattern != mark
  }
}

private struct SeparateArguments {
  var kernel: ck_kernel
  var blocks: UnsafeMutablePointer<UnsafeRawPointer?>
}

/// Runs the kernel with this thread's own block.
private let separateKernel: ck_kernel = { arguments, thread in
  let all = arguments!.assumingMemoryBound(to: SeparateArguments.self).pointee
  all.kernel(all.blocks[Int(thread!.pointee.index)], thread)
}
