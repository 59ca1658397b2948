// What a caller may ask of the compiler.

import ApusGraph
import ApusPasses
import CKernels

/// Settings of one compilation. The defaults are what training wants.
public struct CompileOptions: Sendable {
  /// What is checked while plans run.
  public enum Check: String, Sendable, CaseIterable {
    /// Nothing.
    case off
    /// Each node's results, for the first NaN or infinity.
    case nan
  }

  /// The level of the kernels; nil for `APUS_ISA`, else the best of this machine.
  public var isa: ISA?
  /// Threads of the team; nil for the process's team as it is.
  public var threads: Int?
  /// Names of passes to leave out.
  public var disabledPasses: Set<String> = []
  /// Names of optional passes to run besides those that the precision asks for.
  public var enabledPasses: Set<String> = []
  /// How products are computed.
  public var precision = Precision.highest
  /// Bytes that the arena may take at most: the block of all intermediate values and the kernels' shared
  /// workspace, which grows with the batch. Parameters, what optimisers keep, batches and each thread's own
  /// scratch lie outside; ``MemoryReport`` has them all. It holds for each compiled step by itself.
  ///
  /// Where the plan needs more, values that backward reads are computed again instead of kept, the cheapest for
  /// their size first, to the same bits; a smaller limit never takes more memory. Compiling throws `resource`
  /// where that is not enough, with the least that is possible.
  public var memoryLimit: Int?
  /// The processes that train one model together, of which this is one: a training step then updates by the
  /// gradients of all of them. Nil, and a group of one, train alone. See Docs/DataParallel.md.
  public var processes: ProcessGroup?
  /// What to check while running; nil for `APUS_CHECK`.
  public var check: Check?
  /// Called after every pass with its name and the graph's text form, and with `plan` and the plan's.
  public var dump: (@Sendable (_ stage: String, _ text: String) -> Void)?

  public init(
    isa: ISA? = nil, threads: Int? = nil, disabledPasses: Set<String> = [],
    enabledPasses: Set<String> = [], precision: Precision = .highest, memoryLimit: Int? = nil,
    processes: ProcessGroup? = nil, check: Check? = nil,
    dump: (@Sendable (_ stage: String, _ text: String) -> Void)? = nil
  ) {
    self.isa = isa
    self.threads = threads
    self.disabledPasses = disabledPasses
    self.enabledPasses = enabledPasses
    self.precision = precision
    self.memoryLimit = memoryLimit
    self.processes = processes
    self.check = check
    self.dump = dump
  }
}

extension CompileOptions {
  /// What these options ask of the passes, where kernels of that level will run.
  package func passOptions(for isa: ISA) -> PassOptions {
    // Where products widen what is stored as bf16, that costs small ones up to a tenth
    // (Docs/Decisions/0006-narrow-storage.md), and no precision may be slower than `highest`.
    let gains = isa > .avx512bf16 || isa == .avx512bf16 && ck_multiplies_bf16_pairs_fast()
    let asked: Set<String> = precision == .mixed && gains ? [NarrowStorage.name] : []
    return PassOptions(
      disabled: disabledPasses, enabled: enabledPasses.union(asked), dump: dump)
  }
}
