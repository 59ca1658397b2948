// The loops, written once and compiled by bench_<level>.c for each level.
//
// Before it: a ck_<level>_begin.h, and CHAINS, the number of independent 16-lane chains: enough to
// hide the latency of a multiply-add (4 cycles, two a cycle), few enough to stay in registers.
#include "ck_bench.h"

void CK_NAME(ck_bench_fma_f32)(const void *pointer, const ck_thread *t) {
  const ck_bench_fma_args *args = pointer;
  const ck_v16f a = ck_splat(args->a), b = ck_splat(args->b);
  ck_v16f x[CHAINS];
  for (int i = 0; i < CHAINS; i++) x[i] = ck_splat((float)i);
  for (int64_t round = 0; round < args->rounds; round++) {
#pragma clang loop unroll(full)
    for (int i = 0; i < CHAINS; i++) {
#if CK_HAS_AVX2
      x[i] = ck_fma(x[i], a, b);
#else
      x[i] = x[i] * a + b;  // the baseline has no such instruction: two roundings, two instructions
#endif
    }
  }
  ck_v16f sum = x[0];
  for (int i = 1; i < CHAINS; i++) sum += x[i];
  ck_store(args->sink + (int64_t)t->index * CK_LANES, sum);
}

void CK_NAME(ck_bench_copy)(const void *pointer, const ck_thread *t) {
  const ck_bench_copy_args *args = pointer;
  char *target = (char *)args->target + t->index * args->stride;
  const char *source = (const char *)args->source + t->index * args->stride;
  for (int64_t round = 0; round < args->rounds; round++) {
    if (args->nontemporal) {
      for (int64_t i = 0; i < args->bytes; i += 64) {
        __builtin_nontemporal_store(ck_load(source + i), (ck_v16f *)(target + i));
      }
    } else {
      for (int64_t i = 0; i < args->bytes; i += 256) {
        const ck_v16f w = ck_load(source + i), x = ck_load(source + i + 64);
        const ck_v16f y = ck_load(source + i + 128), z = ck_load(source + i + 192);
        ck_store(target + i, w);
        ck_store(target + i + 64, x);
        ck_store(target + i + 128, y);
        ck_store(target + i + 192, z);
      }
    }
    __asm__ volatile("" ::: "memory");  // each round is done for real
  }
}

/// Sums what it reads: an addition a vector, which costs no time beside the load.
void CK_NAME(ck_bench_read)(const void *pointer, const ck_thread *t) {
  const ck_bench_copy_args *args = pointer;
  const char *source = (const char *)args->source + t->index * args->stride;
  ck_v16f w = ck_splat(0), x = w, y = w, z = w;
  for (int64_t round = 0; round < args->rounds; round++) {
    for (int64_t i = 0; i < args->bytes; i += 256) {
      w += ck_load(source + i);
      x += ck_load(source + i + 64);
      y += ck_load(source + i + 128);
      z += ck_load(source + i + 192);
    }
    __asm__ volatile("" ::: "memory");  // each round is done for real
  }
  ck_store((char *)args->target + t->index * args->stride, (w + x) + (y + z));
}
