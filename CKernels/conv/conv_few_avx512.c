// Convolutions whose result has few channels, compiled for the `avx512` level.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"

#define VECTOR 16
#define SUMS 24
#define WIDEST 8
typedef float vec __attribute__((ext_vector_type(16)));
typedef float vec_unaligned __attribute__((ext_vector_type(16), aligned(4)));

static inline __attribute__((always_inline)) vec load_part(const float *p, int count) {
  return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
}

static inline __attribute__((always_inline)) void store_part(float *p, vec x, int count) {
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), x);
}

#include "conv_few_body.h"

const few_level few_avx512 = {.tile = tile, .turn = turn, .pack = pack_panel};

#include "../core/ck_target_end.h"
#endif
