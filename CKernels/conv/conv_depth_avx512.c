// Depthwise convolutions, compiled for the `avx512` level.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"

#define VECTOR 16
#define SLIDE_VECTORS 2
typedef float vec __attribute__((ext_vector_type(16)));
typedef float vec_unaligned __attribute__((ext_vector_type(16), aligned(4)));

static inline __attribute__((always_inline)) vec load_part(const float *p, int count) {
  return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
}

static inline __attribute__((always_inline)) void store_part(float *p, vec x, int count) {
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), x);
}

static inline __attribute__((always_inline)) void stream(float *p, vec x) {
  _mm512_stream_ps(p, x);
}

// The second operand is returned where one is a NaN: relu(NaN) = NaN.
static inline __attribute__((always_inline)) vec relu(vec x) {
  return _mm512_max_ps(_mm512_setzero_ps(), x);
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
