// The avx2 level's own vector of floats, for kernels that are written in its registers: included
// within the level's region.
#ifndef CK_NATIVE_AVX2_H
#define CK_NATIVE_AVX2_H

#define VECTOR 8
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

// The second operand is returned where one is a NaN: relu(NaN) = NaN.
static inline __attribute__((always_inline)) vec relu(vec x) {
  return _mm256_max_ps(_mm256_setzero_ps(), x);
}

#endif
