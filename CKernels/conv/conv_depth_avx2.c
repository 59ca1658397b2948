// Depthwise convolutions, compiled for the `avx2` level.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"
#include "../core/ck_native_avx2.h"

#define SLIDE_VECTORS 1

static inline __attribute__((always_inline)) void stream(float *p, vec x) {
  _mm256_stream_ps(p, x);
}

// x where `by` is positive, else 0.
static inline __attribute__((always_inline)) vec gate(vec by, vec x) {
  return _mm256_and_ps(_mm256_cmp_ps(by, _mm256_setzero_ps(), _CMP_GT_OQ), x);
}

#include "conv_depth_body.h"

const depth_level depth_avx2 = {
    .isa = CK_ISA_AVX2,
    .tile = tile,
    .sums = sums,
    .add = add,
    .total = total,
    .rows_together = ROWS_TOGETHER,
};

#include "../core/ck_target_end.h"
#endif
