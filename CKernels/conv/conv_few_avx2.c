// Convolutions whose result has few channels, compiled for the `avx2` level.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"

#define VECTOR 8
#define SUMS 12
#define WIDEST 6
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

#include "conv_few_body.h"

const few_level few_avx2 = {.tile = tile, .turn = turn, .pack = pack_panel};

#include "../core/ck_target_end.h"
#endif
