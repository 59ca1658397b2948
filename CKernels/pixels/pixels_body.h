// Bytes as floats, written once; pixels_<level>.c compiles it for its level.
#include "ck_pixels.h"

enum {
  AHEAD = 4096,  // bytes that are on their way while others are converted
  LINE = 64,
  STREAMED = 1 << 16,  // bytes of results from which on they go past the cache
};

/// b / 255 without a division: 256/255 = 1.0000000100000001…, so 257·b + b/255 is 65536/255·b to
/// more digits than an f32 has, and its rounding is the quotient's (a test compares all 256).
CK_INLINE ck_v16f unit_of(ck_v16b b) {
  const ck_v16f x = __builtin_convertvector(__builtin_convertvector(b, ck_v16i), ck_v16f);
  return x * ck_splat(257 * 0x1p-16f) + x * ck_splat(0x1p-16f / 255);
}

CK_INLINE ck_v16f scaled(ck_v16b b, ck_pixels_op op, float mean, float deviation) {
  const ck_v16f x = unit_of(b);
  return op == CK_PIXELS_UNIT ? x : (x - ck_splat(mean)) / ck_splat(deviation);
}

/// The results of a batch are memory that the step before has read on several cores: taking its
/// lines back costs more than writing past the cache (mlp_small, 200 KB: 25 against 12 µs).
CK_INLINE void convert(float *to, const uint8_t *from, int64_t n, ck_pixels_op op, float mean,
                       float deviation, bool streams) {
  int64_t i = 0;
  if (streams && (uintptr_t)to % LINE == 0) {
    for (; i + CK_LANES <= n; i += CK_LANES)
      ck_stream(to + i, scaled(ck_load_u8(from + i), op, mean, deviation));
  }
  for (; i + CK_LANES <= n; i += CK_LANES)
    ck_store(to + i, scaled(ck_load_u8(from + i), op, mean, deviation));
  if (i == n) return;
  uint8_t rest[CK_LANES] = {0};
  for (int64_t k = i; k < n; ++k) rest[k - i] = from[k];
  ck_store_n(to + i, scaled(ck_load_u8(rest), op, mean, deviation), (int)(n - i));
}

CK_INLINE const uint8_t *source_of(const ck_pixels_args *a, int64_t row) {
  return a->bytes + (a->rows ? a->rows[row] : row) * a->size;
}

CK_INLINE void convert_rows(const ck_pixels_args *a, const ck_thread *t, ck_pixels_op op) {
  int64_t row, end;
  ck_share(a->count, t, &row, &end);
  // Rows that are asked for while one is converted.
  const int64_t rows = a->size == 0 ? 0 : (AHEAD + a->size - 1) / a->size;
  int64_t asked = row + 1;
  const bool streams = a->count * a->size * (int64_t)sizeof(float) >= STREAMED;
  for (; row < end; ++row) {
    for (; asked < end && asked <= row + rows; ++asked) {
      const uint8_t *next = source_of(a, asked);
      const int64_t bytes = a->size < AHEAD ? a->size : AHEAD;
      for (int64_t i = 0; i < bytes; i += LINE) __builtin_prefetch(next + i, 0, 2);
    }
    convert(a->out + row * a->size, source_of(a, row), a->size, op, a->mean, a->deviation, streams);
  }
  if (streams) ck_stream_end();
}

void CK_NAME(ck_pixels_unit)(const void *args, const ck_thread *t) {
  convert_rows(args, t, CK_PIXELS_UNIT);
}
void CK_NAME(ck_pixels_normal)(const void *args, const ck_thread *t) {
  convert_rows(args, t, CK_PIXELS_NORMAL);
}
