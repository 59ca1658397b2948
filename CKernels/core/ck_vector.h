// The vector vocabulary: 16 lanes at every level.
//
// A ck_v16f is one zmm register with AVX-512, two ymm with AVX2, four xmm at `ref`; the lanes and
// the order of every operation are the same, so all levels give the same bits. Contraction is off:
// a fused multiply-add is written `ck_fma`, and nowhere else does one happen.
//
// Not a header to include by itself: a ck_<level>_begin.h includes it inside the level's region.
#ifndef CK_VECTOR_H
#define CK_VECTOR_H

#define CK_LANES 16
#define CK_INLINE static inline __attribute__((always_inline, unused))

typedef float ck_v16f __attribute__((ext_vector_type(16)));
typedef int32_t ck_v16i __attribute__((ext_vector_type(16)));
typedef uint32_t ck_v16u __attribute__((ext_vector_type(16)));
typedef int64_t ck_v16l __attribute__((ext_vector_type(16)));
typedef uint64_t ck_v16ul __attribute__((ext_vector_type(16)));
typedef double ck_v16d __attribute__((ext_vector_type(16)));
typedef uint16_t ck_v16h __attribute__((ext_vector_type(16)));  // bf16 or f16 bits
typedef uint8_t ck_v16b __attribute__((ext_vector_type(16)));

typedef float ck_v8f __attribute__((ext_vector_type(8)));
typedef int32_t ck_v8i __attribute__((ext_vector_type(8)));
typedef float ck_v4f __attribute__((ext_vector_type(4)));

// The same, wherever they lie in memory and whatever type the memory was written with.
typedef ck_v16f ck_v16f_any __attribute__((aligned(1), may_alias));
typedef ck_v16i ck_v16i_any __attribute__((aligned(1), may_alias));
typedef ck_v16u ck_v16u_any __attribute__((aligned(1), may_alias));
typedef ck_v16l ck_v16l_any __attribute__((aligned(1), may_alias));
typedef ck_v16h ck_v16h_any __attribute__((aligned(1), may_alias));
typedef ck_v16b ck_v16b_any __attribute__((aligned(1), may_alias));

// MARK: Whole vectors

CK_INLINE ck_v16f ck_load(const void *p) { return *(const ck_v16f_any *)p; }
CK_INLINE void ck_store(void *p, ck_v16f v) { *(ck_v16f_any *)p = v; }
CK_INLINE ck_v16i ck_load_i32(const void *p) { return *(const ck_v16i_any *)p; }
CK_INLINE void ck_store_i32(void *p, ck_v16i v) { *(ck_v16i_any *)p = v; }
CK_INLINE ck_v16l ck_load_i64(const void *p) { return *(const ck_v16l_any *)p; }
CK_INLINE void ck_store_i64(void *p, ck_v16l v) { *(ck_v16l_any *)p = v; }
CK_INLINE ck_v16h ck_load_u16(const void *p) { return *(const ck_v16h_any *)p; }
CK_INLINE void ck_store_u16(void *p, ck_v16h v) { *(ck_v16h_any *)p = v; }
CK_INLINE ck_v16b ck_load_u8(const void *p) { return *(const ck_v16b_any *)p; }
CK_INLINE void ck_store_u8(void *p, ck_v16b v) { *(ck_v16b_any *)p = v; }

CK_INLINE ck_v16f ck_splat(float x) { return (ck_v16f)x; }
CK_INLINE ck_v16i ck_splat_i32(int32_t x) { return (ck_v16i)x; }
CK_INLINE ck_v16l ck_splat_i64(int64_t x) { return (ck_v16l)x; }
CK_INLINE ck_v16i ck_lanes(void) {
  return (ck_v16i){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
}

// MARK: Past the cache, for results that leave it before anybody reads them

/// p is 64-byte aligned. Before another thread reads what was written: ck_stream_end.
CK_INLINE void ck_stream(void *p, ck_v16f v) {
#if CK_HAS_AVX2
  __builtin_nontemporal_store(v, (ck_v16f *)p);
#else
  ck_store(p, v);
#endif
}
/// p is 32-byte aligned.
CK_INLINE void ck_stream_u16(void *p, ck_v16h v) {
#if CK_HAS_AVX2
  __builtin_nontemporal_store(v, (ck_v16h *)p);
#else
  ck_store_u16(p, v);
#endif
}
CK_INLINE void ck_stream_end(void) {
#if CK_HAS_AVX2
  _mm_sfence();
#endif
}
/// Whether rows of elements of `size` bytes, dense from p on, are so many that they should be
/// streamed, and can be.
CK_INLINE bool ck_streams_rows(const void *p, int64_t rows, int64_t cols, int64_t size) {
  return ((uintptr_t)p & 63) == 0 && cols % CK_LANES == 0 &&
         rows * cols * size >= ck_cache_bytes() / 4 * 3;
}
CK_INLINE bool ck_streams(const float *p, int64_t rows, int64_t cols) {
  return ck_streams_rows(p, rows, cols, 4);
}

// MARK: The first n lanes (0 <= n <= 16); the other lanes are zero, their memory is not touched

CK_INLINE ck_v16f ck_load_n(const void *p, int n) {
#if CK_HAS_AVX512
  return (ck_v16f)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif CK_HAS_AVX2
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i count = _mm256_set1_epi32(n);
  const __m256i low = _mm256_cmpgt_epi32(count, index);
  const __m256i high = _mm256_cmpgt_epi32(count, _mm256_add_epi32(index, _mm256_set1_epi32(8)));
  const ck_v8f a = (ck_v8f)_mm256_maskload_ps((const float *)p, low);
  const ck_v8f b = (ck_v8f)_mm256_maskload_ps((const float *)p + 8, high);
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  float lanes[16] __attribute__((aligned(64))) = {0};
  memcpy(lanes, p, (size_t)n * 4);
  return ck_load(lanes);
#endif
}

CK_INLINE void ck_store_n(void *p, ck_v16f v, int n) {
#if CK_HAS_AVX512
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif CK_HAS_AVX2
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i count = _mm256_set1_epi32(n);
  const __m256i low = _mm256_cmpgt_epi32(count, index);
  const __m256i high = _mm256_cmpgt_epi32(count, _mm256_add_epi32(index, _mm256_set1_epi32(8)));
  _mm256_maskstore_ps((float *)p, low, (__m256)v.lo);
  _mm256_maskstore_ps((float *)p + 8, high, (__m256)v.hi);
#else
  float lanes[16] __attribute__((aligned(64)));
  ck_store(lanes, v);
  memcpy(p, lanes, (size_t)n * 4);
#endif
}

CK_INLINE ck_v16i ck_load_i32_n(const void *p, int n) { return (ck_v16i)ck_load_n(p, n); }
CK_INLINE void ck_store_i32_n(void *p, ck_v16i v, int n) { ck_store_n(p, (ck_v16f)v, n); }

CK_INLINE ck_v16h ck_load_u16_n(const void *p, int n) {
#if CK_HAS_AVX512
  return (ck_v16h)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p);
#else
  uint16_t lanes[16] __attribute__((aligned(64))) = {0};
  for (int i = 0; i < n; i++) memcpy(&lanes[i], (const char *)p + 2 * i, 2);
  return ck_load_u16(lanes);
#endif
}

CK_INLINE void ck_store_u16_n(void *p, ck_v16h v, int n) {
#if CK_HAS_AVX512
  _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1), (__m256i)v);
#else
  uint16_t lanes[16] __attribute__((aligned(64)));
  ck_store_u16(lanes, v);
  for (int i = 0; i < n; i++) memcpy((char *)p + 2 * i, &lanes[i], 2);
#endif
}

CK_INLINE ck_v16b ck_load_u8_n(const void *p, int n) {
#if CK_HAS_AVX512
  return (ck_v16b)_mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1), p);
#else
  uint8_t lanes[16] __attribute__((aligned(16))) = {0};
  for (int i = 0; i < n; i++) lanes[i] = ((const uint8_t *)p)[i];
  return ck_load_u8(lanes);
#endif
}

CK_INLINE void ck_store_u8_n(void *p, ck_v16b v, int n) {
#if CK_HAS_AVX512
  _mm_mask_storeu_epi8(p, (__mmask16)((1u << n) - 1), (__m128i)v);
#else
  uint8_t lanes[16] __attribute__((aligned(16)));
  ck_store_u8(lanes, v);
  for (int i = 0; i < n; i++) ((uint8_t *)p)[i] = lanes[i];
#endif
}

CK_INLINE ck_v16l ck_load_i64_n(const void *p, int n) {
  int64_t lanes[16] __attribute__((aligned(64))) = {0};
  memcpy(lanes, p, (size_t)n * 8);
  return ck_load_i64(lanes);
}

CK_INLINE void ck_store_i64_n(void *p, ck_v16l v, int n) {
  int64_t lanes[16] __attribute__((aligned(64)));
  ck_store_i64(lanes, v);
  memcpy(p, lanes, (size_t)n * 8);
}

// MARK: Arithmetic

/// a b + c, rounded once.
CK_INLINE ck_v16f ck_fma(ck_v16f a, ck_v16f b, ck_v16f c) {
  return __builtin_elementwise_fma(a, b, c);
}
/// c - a b, rounded once.
CK_INLINE ck_v16f ck_fnma(ck_v16f a, ck_v16f b, ck_v16f c) {
  return __builtin_elementwise_fma(-a, b, c);
}
CK_INLINE ck_v16f ck_abs(ck_v16f a) { return (ck_v16f)((ck_v16u)a & 0x7fffffffu); }
CK_INLINE ck_v16f ck_sqrt(ck_v16f a) { return __builtin_elementwise_sqrt(a); }
/// The magnitude of a with the sign of b.
CK_INLINE ck_v16f ck_copysign(ck_v16f a, ck_v16f b) {
  return (ck_v16f)(((ck_v16u)a & 0x7fffffffu) | ((ck_v16u)b & 0x80000000u));
}

/// Lanes of a where the mask (0 or -1) is set, else of b.
CK_INLINE ck_v16f ck_select(ck_v16i mask, ck_v16f a, ck_v16f b) { return mask ? a : b; }
CK_INLINE ck_v16i ck_select_i32(ck_v16i mask, ck_v16i a, ck_v16i b) { return mask ? a : b; }
CK_INLINE ck_v16l ck_select_i64(ck_v16i mask, ck_v16l a, ck_v16l b) {
  return __builtin_convertvector(mask, ck_v16l) ? a : b;
}

/// a > b ? a : b, one instruction; the second operand where either is NaN.
CK_INLINE ck_v16f ck_max_second(ck_v16f a, ck_v16f b) { return a > b ? a : b; }
CK_INLINE ck_v16f ck_min_second(ck_v16f a, ck_v16f b) { return a < b ? a : b; }
/// The greater of the two; NaN where either is NaN, as in NumPy.
CK_INLINE ck_v16f ck_max(ck_v16f a, ck_v16f b) { return a != a ? a : ck_max_second(a, b); }
CK_INLINE ck_v16f ck_min(ck_v16f a, ck_v16f b) { return a != a ? a : ck_min_second(a, b); }
CK_INLINE ck_v16i ck_max_i32(ck_v16i a, ck_v16i b) { return a > b ? a : b; }
CK_INLINE ck_v16i ck_min_i32(ck_v16i a, ck_v16i b) { return a < b ? a : b; }
CK_INLINE ck_v16l ck_max_i64(ck_v16l a, ck_v16l b) { return a > b ? a : b; }
CK_INLINE ck_v16l ck_min_i64(ck_v16l a, ck_v16l b) { return a < b ? a : b; }

/// table[index & 15], lane by lane.
CK_INLINE ck_v16i ck_pick_i32(ck_v16i table, ck_v16i index) {
#if CK_HAS_AVX512
  return (ck_v16i)_mm512_permutexvar_epi32((__m512i)index, (__m512i)table);
#elif CK_HAS_AVX2
  // Eight lanes are picked by the low three bits; the fourth, as a sign, chooses between halves.
  const __m256i low = (__m256i)table.lo, high = (__m256i)table.hi;
  ck_v8i picked[2];
  for (int i = 0; i < 2; ++i) {
    const __m256i at = i == 0 ? (__m256i)index.lo : (__m256i)index.hi;
    const __m256 a = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(low, at));
    const __m256 b = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(high, at));
    const __m256 choice = _mm256_castsi256_ps(_mm256_slli_epi32(at, 28));
    picked[i] = (ck_v8i)_mm256_blendv_ps(a, b, choice);
  }
  return __builtin_shufflevector(picked[0], picked[1], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
                                 14, 15);
#else
  ck_v16i picked;
  for (int i = 0; i < 16; i++) picked[i] = table[index[i] & 15];
  return picked;
#endif
}

CK_INLINE ck_v16f ck_pick(ck_v16f table, ck_v16i index) {
  return (ck_v16f)ck_pick_i32((ck_v16i)table, index);
}

/// True where any lane of the mask is set.
CK_INLINE bool ck_any(ck_v16i mask) {
#if CK_HAS_AVX512
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#else
  return __builtin_reduce_or(mask) != 0;
#endif
}

// MARK: Across lanes, by halves: (0+8, 1+9, ...), then quarters, the same tree at every level

CK_INLINE float ck_sum(ck_v16f v) {
  const ck_v8f a = v.lo + v.hi;
  const ck_v4f b = a.lo + a.hi;
  return (b.x + b.z) + (b.y + b.w);
}
CK_INLINE float ck_product(ck_v16f v) {
  const ck_v8f a = v.lo * v.hi;
  const ck_v4f b = a.lo * a.hi;
  return (b.x * b.z) * (b.y * b.w);
}
/// NaN where any lane is NaN.
CK_INLINE float ck_highest(ck_v16f v) {
  const ck_v8f a = v.lo != v.lo ? v.lo : (v.lo > v.hi ? v.lo : v.hi);
  const ck_v4f b = a.lo != a.lo ? a.lo : (a.lo > a.hi ? a.lo : a.hi);
  float x = b.x != b.x ? b.x : (b.x > b.z ? b.x : b.z);
  float y = b.y != b.y ? b.y : (b.y > b.w ? b.y : b.w);
  return x != x ? x : (x > y ? x : y);
}
CK_INLINE float ck_lowest(ck_v16f v) { return -ck_highest(-v); }

// MARK: Conversions

/// bf16 bits widened, exactly.
CK_INLINE ck_v16f ck_from_bf16(ck_v16h v) {
  return (ck_v16f)(__builtin_convertvector(v, ck_v16u) << 16);
}

/// Rounded to the nearest bf16, ties to even; a NaN stays a (quiet) NaN.
CK_INLINE ck_v16h ck_to_bf16(ck_v16f v) {
#if CK_ROUNDS_BF16
  // Denormals become 0, which kernels, whose results are flushed, do not have.
  return (ck_v16h)_mm512_cvtneps_pbh((__m512)v);
#else
  const ck_v16u bits = (ck_v16u)v;
  const ck_v16u rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const ck_v16u quiet = (bits >> 16) | 0x40u;
  return __builtin_convertvector(v != v ? quiet : rounded, ck_v16h);
#endif
}

/// f16 bits widened, exactly; half-precision denormals included.
CK_INLINE ck_v16f ck_from_f16(ck_v16h v) {
#if CK_HAS_AVX512
  return (ck_v16f)_mm512_cvtph_ps((__m256i)v);
#elif CK_HAS_AVX2
  const ck_v8f a = (ck_v8f)_mm256_cvtph_ps((__m128i)v.lo);
  const ck_v8f b = (ck_v8f)_mm256_cvtph_ps((__m128i)v.hi);
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  const ck_v16u bits = __builtin_convertvector(v, ck_v16u);
  const ck_v16u sign = (bits & 0x8000u) << 16;
  const ck_v16u rest = bits & 0x7fffu;
  const ck_v16u normal = (rest << 13) + (112u << 23);
  const ck_v16u special = (rest << 13) | 0x7f800000u | (rest > 0x7c00u ? (ck_v16u)0x400000u : 0u);
  // A denormal is its integer times 2^-24, which is exact.
  const ck_v16u small = (ck_v16u)(__builtin_convertvector((ck_v16i)rest, ck_v16f) * 0x1p-24f);
  return (ck_v16f)(sign | (rest >= 0x7c00u ? special : (rest < 0x400u ? small : normal)));
#endif
}

/// Rounded to the nearest f16, ties to even; Inf above 65519, a NaN stays a quiet NaN.
CK_INLINE ck_v16h ck_to_f16(ck_v16f v) {
#if CK_HAS_AVX512
  return (ck_v16h)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif CK_HAS_AVX2
  typedef uint16_t v8h __attribute__((ext_vector_type(8)));
  const v8h a = (v8h)_mm256_cvtps_ph((__m256)v.lo, _MM_FROUND_TO_NEAREST_INT);
  const v8h b = (v8h)_mm256_cvtps_ph((__m256)v.hi, _MM_FROUND_TO_NEAREST_INT);
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  const ck_v16u bits = (ck_v16u)v;
  const ck_v16u sign = (bits >> 16) & 0x8000u;
  const ck_v16u rest = bits & 0x7fffffffu;
  const ck_v16u normal = (rest - (112u << 23) + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  // Below 2^-14: adding 0.5 leaves the value, rounded to a multiple of 2^-24, in the low bits.
  const ck_v16u small = (ck_v16u)((ck_v16f)rest + 0.5f) - 0x3f000000u;
  const ck_v16u nan = 0x7e00u | ((rest >> 13) & 0x3ffu);
  ck_v16u half = rest < 0x38800000u ? small : normal;
  half = rest >= 0x477ff000u ? (ck_v16u)0x7c00u : half;
  half = rest > 0x7f800000u ? nan : half;
  return __builtin_convertvector(sign | half, ck_v16h);
#endif
}

/// Toward zero, as a C cast; what does not fit gives INT32_MIN (INT64_MIN), as on x86.
CK_INLINE ck_v16i ck_to_i32(ck_v16f v) {
  const ck_v16i fits = (v >= -0x1p31f) & (v < 0x1p31f);
  return ck_select_i32(fits, __builtin_convertvector(fits ? v : (ck_v16f)0, ck_v16i),
                       ck_splat_i32(INT32_MIN));
}
CK_INLINE ck_v16l ck_to_i64(ck_v16f v) {
  const ck_v16i fits = (v >= -0x1p63f) & (v < 0x1p63f);
  return ck_select_i64(fits, __builtin_convertvector(fits ? v : (ck_v16f)0, ck_v16l),
                       ck_splat_i64(INT64_MIN));
}
CK_INLINE ck_v16f ck_from_i32(ck_v16i v) { return __builtin_convertvector(v, ck_v16f); }
CK_INLINE ck_v16f ck_from_i64(ck_v16l v) { return __builtin_convertvector(v, ck_v16f); }

/// Half to even, half away never.
CK_INLINE ck_v16f ck_round(ck_v16f v) { return __builtin_elementwise_roundeven(v); }
CK_INLINE ck_v16f ck_floor(ck_v16f v) { return __builtin_elementwise_floor(v); }
CK_INLINE ck_v16f ck_ceil(ck_v16f v) { return __builtin_elementwise_ceil(v); }
CK_INLINE ck_v16f ck_trunc(ck_v16f v) { return __builtin_elementwise_trunc(v); }

// MARK: Storage types. p points at the first of the 16 elements, n of them where partial

CK_INLINE size_t ck_dtype_bytes(ck_dtype dtype) {
  switch (dtype) {
    case CK_F32:
    case CK_I32:
      return 4;
    case CK_BF16:
    case CK_F16:
      return 2;
    case CK_F64:
    case CK_I64:
      return 8;
    case CK_U8:
    case CK_BOOL:
      return 1;
  }
  return 0;
}

/// f32, bf16 or f16 memory as f32 lanes.
CK_INLINE ck_v16f ck_load_as_f32(const void *p, ck_dtype dtype) {
  if (dtype == CK_BF16) return ck_from_bf16(ck_load_u16(p));
  if (dtype == CK_F16) return ck_from_f16(ck_load_u16(p));
  return ck_load(p);
}
CK_INLINE ck_v16f ck_load_as_f32_n(const void *p, ck_dtype dtype, int n) {
  if (dtype == CK_BF16) return ck_from_bf16(ck_load_u16_n(p, n));
  if (dtype == CK_F16) return ck_from_f16(ck_load_u16_n(p, n));
  return ck_load_n(p, n);
}
CK_INLINE void ck_store_as(void *p, ck_dtype dtype, ck_v16f v) {
  if (dtype == CK_BF16) {
    ck_store_u16(p, ck_to_bf16(v));
  } else if (dtype == CK_F16) {
    ck_store_u16(p, ck_to_f16(v));
  } else {
    ck_store(p, v);
  }
}
CK_INLINE void ck_store_as_n(void *p, ck_dtype dtype, ck_v16f v, int n) {
  if (dtype == CK_BF16) {
    ck_store_u16_n(p, ck_to_bf16(v), n);
  } else if (dtype == CK_F16) {
    ck_store_u16_n(p, ck_to_f16(v), n);
  } else {
    ck_store_n(p, v, n);
  }
}

#endif
