// The peak of bf16 products at the `avx512bf16` level: VDPBF16PS on registers.
#if defined(__x86_64__)
#include <immintrin.h>

#include "ck_bench.h"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))), \
                             apply_to = function)

// 12 chains of 16 lanes, as many as bench_avx512.c has.
enum { CHAINS = 12 };

void ck_bench_dot_bf16_avx512bf16(const void *pointer, const ck_thread *t) {
  const ck_bench_fma_args *args = pointer;
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(args->a), _mm512_set1_ps(-args->a));
  const __m512bh b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(args->b), _mm512_set1_ps(args->b));
  __m512 x[CHAINS];
  for (int i = 0; i < CHAINS; i++) x[i] = _mm512_set1_ps((float)i);
  for (int64_t round = 0; round < args->rounds; round++) {
#pragma clang loop unroll(full)
    for (int i = 0; i < CHAINS; i++) x[i] = _mm512_dpbf16_ps(x[i], a, b);
  }
  __m512 sum = x[0];
  for (int i = 1; i < CHAINS; i++) sum = _mm512_add_ps(sum, x[i]);
  _mm512_store_ps(args->sink + (int64_t)t->index * 16, sum);
}

#pragma clang attribute pop
#endif
