// Depthwise convolutions, compiled for the `avx512` level.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"
#include "../core/ck_native_avx512.h"

#define SLIDE_VECTORS 2

static inline __attribute__((always_inline)) void stream(float *p, vec x) {
  _mm512_stream_ps(p, x);
}

// x where `by` is positive, else 0.
static inline __attribute__((always_inline)) vec gate(vec by, vec x) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(by, _mm512_setzero_ps(), _CMP_GT_OQ), x);
}

#include "conv_depth_body.h"

const depth_level depth_avx512 = {
    .isa = CK_ISA_AVX512,
    .tile = tile,
    .sums = sums,
    .add = add,
    .total = total,
    .rows_together = ROWS_TOGETHER,
};

#include "../core/ck_target_end.h"
#endif
