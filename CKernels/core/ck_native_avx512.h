// The avx512 level's own vector of floats, for kernels that are written in its registers: included
// within the level's region.
#ifndef CK_NATIVE_AVX512_H
#define CK_NATIVE_AVX512_H

#define VECTOR 16
typedef float vec __attribute__((ext_vector_type(16)));
typedef float vec_unaligned __attribute__((ext_vector_type(16), aligned(4)));

static inline __attribute__((always_inline)) vec load_part(const float *p, int count) {
  return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
}

static inline __attribute__((always_inline)) void store_part(float *p, vec x, int count) {
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), x);
}

// The second operand is returned where one is a NaN: relu(NaN) = NaN.
static inline __attribute__((always_inline)) vec relu(vec x) {
  return _mm512_max_ps(_mm512_setzero_ps(), x);
}

#endif
