// The vocabulary every kernel family shares: element types, instruction-set levels, the thread that
// runs a kernel, and the contract of an entry point.
//
// Not here: anything about graphs, allocation or OpenMP. A kernel is a plain SPMD function; who
// calls it from how many threads is the business of team/.
#ifndef CK_BASE_H
#define CK_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The most dimensions an operand of a strided kernel may have after collapsing.
#define CK_MAX_DIMS 16

/// Element types. The raw values are part of the plan's format and match Swift's
/// `DType.kernelCode`.
typedef enum ck_dtype {
  CK_F32 = 0,
  CK_BF16 = 1,
  CK_F16 = 2,
  CK_F64 = 3,
  CK_I32 = 4,
  CK_I64 = 5,
  CK_U8 = 6,
  CK_BOOL = 7,  // one byte, 0 or 1
} ck_dtype;

/// Instruction-set levels, each including the ones before it. `CK_ISA_REF` needs nothing but the
/// baseline of the architecture and is the reference of the kernel tests.
typedef enum ck_isa {
  CK_ISA_REF = 0,
  CK_ISA_AVX2 = 1,        // AVX2, FMA, F16C
  CK_ISA_AVX512 = 2,      // AVX-512 F, BW, DQ, VL
  CK_ISA_AVX512BF16 = 3,  // and BF16
  CK_ISA_AMX = 4,         // and AMX-TILE, AMX-BF16, with the operating system's permission
  CK_ISA_COUNT = 5,
} ck_isa;

/// The best level that this processor and operating system offer. Computed once.
ck_isa ck_isa_best(void);
/// "ref", "avx2", "avx512", "avx512bf16" or "amx".
const char *ck_isa_name(ck_isa isa);
/// The level of that name, or -1 where there is none.
int ck_isa_from_name(const char *name);

/// Bytes of the processor's largest cache; 32 MiB where it does not say. Computed once.
int64_t ck_cache_bytes(void);
/// Threads that share that cache; 1 where it does not say.
int32_t ck_cache_threads(void);
/// How many lines of data the first cache holds of those that lie a multiple of a page apart; 8
/// where the processor does not say.
int32_t ck_first_cache_ways(void);

/// Whether VDPBF16PS does more work a cycle here than the f32 fused multiply-add: a table of
/// processors, because a measurement might choose otherwise on another day, and with it other bits.
bool ck_multiplies_bf16_pairs_fast(void);
/// About how many f32 multiply-adds a thread does in a nanosecond at that level, out of registers:
/// of this kind of processor, for predictions. `ck_bench_fma_f32` measures.
double ck_multiply_add_rate(ck_isa isa);

struct ck_team;

/// The thread that calls a kernel. Every thread of the team calls every kernel with the same
/// arguments and its own `ck_thread`; the kernel computes its share from `index` and `count`.
///
/// - `scratch` is this thread's own memory (64-byte aligned, at least what the call asked for),
///   uninitialised, never shared.
/// - A kernel meets `count == 1` where the plan runs a small node on one thread.
typedef struct ck_thread {
  int32_t index;
  int32_t count;
  struct ck_team *team;
  void *scratch;
  size_t scratch_bytes;
} ck_thread;

/// Waits for all `t->count` threads. Nothing at all where `count` is 1. Every thread must reach it.
void ck_barrier(const ck_thread *t);

/// An entry point. It never allocates, never fails, and writes the same bits for every `t->count`:
/// work is cut by shape into fixed tiles, and a reduction combines fixed partials in a fixed order.
typedef void (*ck_kernel)(const void *args, const ck_thread *t);

/// What processes that train together do for each other, as plans call it: on one thread of the
/// team at a time.
typedef struct ck_group {
  void *context;
  /// Begins to add up the arrays that all processes post under a number, in place: nobody else
  /// touches them until `wait` has returned. All processes post the same numbers in the same order.
  void (*post)(void *context, int64_t number, float *values, int64_t count);
  /// Returns when the array posted under the number is the sum.
  void (*wait)(void *context, int64_t number);
  /// Whether something holds in all processes, each of which asks.
  bool (*agree)(void *context, bool holds);
} ck_group;

/// What must hold for a run to go on: numbers that are finite, and index errors that nobody has
/// noted (see `ck_index_error`: a position of -1).
typedef struct ck_condition {
  const float *const *values;
  int64_t value_count;
  const int64_t *const *errors;
  int64_t error_count;
  const ck_group *group;  // whose processes must all go on, or NULL
  bool *agreed;           // with a group: their answer, since a run last asked
} ck_condition;

/// Whether it holds in this process.
bool ck_condition_holds(const ck_condition *condition);

/// One line of a plan.
typedef struct ck_step {
  ck_kernel kernel;
  const void *args;
  int32_t threads;  // 0: the whole team. k + 1: thread k alone runs it, with count 1
  int32_t barrier;  // 1: all threads wait after it, because a later step reads what another wrote
  const ck_condition *condition;  // the run ends before this step where it does not hold; or NULL
} ck_step;

/// The half-open range of `n` fixed work items that thread `index` of `count` takes: contiguous,
/// as even as possible, and together exactly `[0, n)`.
static inline void ck_share(int64_t n, const ck_thread *t, int64_t *begin, int64_t *end) {
  *begin = n * t->index / t->count;
  *end = n * (t->index + 1) / t->count;
}

/// Elements of an array that one thread touches: runs of `width` elements, `count` of them, that
/// start `pitch` apart, the first at `start`. Plans leave a barrier out where regions do not meet,
/// so a kernel that states one must stay within it.
typedef struct ck_region {
  int64_t start, width, pitch, count;
} ck_region;

#ifdef __cplusplus
}
#endif

#endif
