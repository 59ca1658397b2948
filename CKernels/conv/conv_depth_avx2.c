// Depthwise convolutions, compiled for the `avx2` level.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"

#define VECTOR 8
#define SLIDE_VECTORS 1
typedef float vec __attribute__((ext_vector_type(8)));
typedef float vec_unaligned __attribute__((ext_vector_type(8), aligned(4)));

static inline __attribute__((always_inline)) __m256i first_lanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline __attribute__((always_inline)) vec load_part(const float *p, int count) {
  return _mm256_maskload_ps(p, first_lanes(count));
}

static inline __attribute__((always_inline)) void store_part(float *p, vec x, int count) {
  _mm256_maskstore_ps(p, first_lanes(count), x);
}

static inline __attribute__((always_inline)) void stream(float *p, vec x) {
  _mm256_stream_ps(p, x);
}

// The second operand is returned where one is a NaN: relu(NaN) = NaN.
static inline __attribute__((always_inline)) vec relu(vec x) {
  return _mm256_max_ps(_mm256_setzero_ps(), x);
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
