// What the machine can do at most: fused multiply-adds, copying and reading, as fast as each level
// goes.
//
// `apus bench` and `apus info` run these beside the kernels they judge, in the same run, since the
// clock drifts. Plans use them once, to calibrate the table of ck_rates.h.
#ifndef CK_BENCH_H
#define CK_BENCH_H

#include "ck_base.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Every thread repeats x = a x + b on registers, `rounds` times over `ck_bench_fma_lanes` lanes.
typedef struct ck_bench_fma_args {
  float *sink;  // [threads][16]: keeps the work from being optimised away
  int64_t rounds;
  float a, b;  // |a| < 1, so that values stay ordinary numbers
} ck_bench_fma_args;

/// Args: `ck_bench_fma_args`.
ck_kernel ck_bench_fma(ck_isa isa);
/// Lanes that one round of one thread computes at that level: two operations each.
int64_t ck_bench_fma_lanes(ck_isa isa);

/// Every thread repeats x += a1 b1 + a2 b2 on registers, a and b in bf16, x in f32, `rounds` times
/// over `ck_bench_fma_lanes` lanes: four operations each. Args: `ck_bench_fma_args`. NULL where the
/// level has no such instruction.
ck_kernel ck_bench_dot(ck_isa isa);

/// Every thread copies its own `bytes` from source to target, `rounds` times.
typedef struct ck_bench_copy_args {
  void *target;        // [threads][stride], 64-byte aligned
  const void *source;  // the same
  int64_t bytes;       // a thread's part, a multiple of 256
  int64_t stride;      // from one thread's part to the next
  int64_t rounds;
  int32_t nontemporal;  // 1: writes pass the caches by, for parts larger than they are
} ck_bench_copy_args;

/// Args: `ck_bench_copy_args`.
ck_kernel ck_bench_copy(ck_isa isa);

/// Every thread reads its own `bytes` of the source, `rounds` times, and leaves their sum in the
/// first 64 bytes of its target. Args: `ck_bench_copy_args`, whose `nontemporal` means nothing
/// here.
ck_kernel ck_bench_read(ck_isa isa);

/// The processors that the members of a team are spread over. The bits of a cpu_set_t.
typedef struct ck_bench_places {
  uint64_t processors[16];
} ck_bench_places;

/// Reads the processors that the calling thread may run on; false where the system does not say.
bool ck_bench_places_read(ck_bench_places *places);
/// Ties each thread to one of the processors, thread i to the i-th. Args: `ck_bench_places`.
void ck_bench_take_place(const void *args, const ck_thread *t);
/// Lets each thread run on all of them again. Args: `ck_bench_places`.
void ck_bench_leave_place(const void *args, const ck_thread *t);

/// The compiler that built the kernels, as it calls itself.
const char *ck_bench_compiler(void);

/// A row of `bench_kernels.inc`.
typedef struct ck_bench_row {
  ck_isa isa;
  const char *name;
  ck_kernel fma, copy, read;
  ck_kernel dot;  // or NULL
  int64_t lanes;
} ck_bench_row;

/// The rows, best first, the reference last.
const ck_bench_row *ck_bench_rows(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
