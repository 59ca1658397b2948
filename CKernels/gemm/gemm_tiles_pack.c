// Packing for the tile products, splitting f32 numbers while at it; and what is done with their
// sums.
//
// A number is cut into bf16 parts by rounding it to the nearest and going on with the rest, which
// is exact in f32: three parts hold all 24 bits, two hold 16. Rounding is done on the bits (half
// away from zero), so that it costs two operations. An infinity or a NaN has no parts, and of a
// tiny number the low parts are lost where they fall below the least normal bf16: the guard
// measures both, and the driver then multiplies the panel by fused multiply-adds instead.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"
#include "gemm_tiles.h"

#define INLINE static inline __attribute__((always_inline))

enum { WORDS = 16 };  // a row of a tile: pairs along K, or lanes

/// Sixteen words, and the next row's: of `parts` parts each.
typedef struct split {
  ck_v16u word[3];
} split;

typedef struct extremes {
  ck_v16u least, greatest;  // of the magnitudes' bits; `least` less 2^23, so that zero is great
} extremes;

INLINE void note(extremes *e, ck_v16f x) {
  const ck_v16u bits = (ck_v16u)x & 0x7fffffffu;
  e->greatest = (ck_v16u)_mm512_max_epu32((__m512i)e->greatest, (__m512i)bits);
  e->least = (ck_v16u)_mm512_min_epu32((__m512i)e->least, (__m512i)(bits - 0x800000u));
}

INLINE ck_v16u rounded_bits(ck_v16f x) { return ((ck_v16u)x + 0x8000u) & 0xffff0000u; }

/// To the nearest even, NaN kept: for a single part, as the instruction for it rounds.
INLINE ck_v16u bf16_bits(ck_v16f x) {
  return __builtin_convertvector(ck_to_bf16(x), ck_v16u) << 16;
}

/// Words of a pair: `low` into the low halves, `high` into the high ones.
INLINE split split_pairs(ck_v16f low, ck_v16f high, int32_t parts) {
  split s;
  if (parts == 1) {
    s.word[0] = bf16_bits(low) >> 16 | bf16_bits(high);
    return s;
  }
#pragma clang loop unroll(full)
  for (int part = 0; part < parts; part++) {
    const ck_v16u l = rounded_bits(low), h = rounded_bits(high);
    s.word[part] = l >> 16 | h;
    low -= (ck_v16f)l;
    high -= (ck_v16f)h;
  }
  return s;
}

INLINE ck_v16f load(const char *p, ck_dtype type, int count) {
  if (count >= 16) return ck_load_as_f32(p, type);
  return count > 0 ? ck_load_as_f32_n(p, type, count) : ck_splat(0.0f);
}

INLINE int64_t size_of(ck_dtype type) { return type == CK_F32 ? 4 : 2; }

/// 16 x 16 words, rows and columns exchanged.
INLINE void transpose(uint32_t *out, const uint32_t *in) {
  gemm_avx512.pack((float *)out, WORDS, WORDS, WORDS, (const float *)in, WORDS, 1);
}

/// One tile of each part: up to 16 lanes, up to 32 elements along K. `tile` is where the first
/// part's lies; the others follow at TILE_STEP_BYTES. `by_lane`: a row of the tile is a lane, else
/// a pair.
INLINE void pack_tile(char *tile, int lanes, int count, const char *source, ck_dtype type,
                      int64_t across, int64_t along, int32_t parts, bool by_lane, extremes *e) {
  uint32_t staged[3][WORDS * WORDS] __attribute__((aligned(64)));
  const int64_t size = size_of(type);
  // Which way the source lies decides which way whole vectors can be read.
  const bool reads_lanes = across == 1;
  const bool transposes = reads_lanes == by_lane;
  uint32_t *rows[3];
#pragma clang loop unroll(full)
  for (int part = 0; part < parts; part++)
    rows[part] = transposes ? staged[part] : (uint32_t *)(tile + part * TILE_STEP_BYTES);
  for (int r = 0; r < WORDS; r++) {
    ck_v16f low = ck_splat(0.0f), high = ck_splat(0.0f);
    if (reads_lanes) {
      const char *at = source + 2 * r * along * size;
      if (2 * r < count) low = load(at, type, lanes);
      if (2 * r + 1 < count) high = load(at + along * size, type, lanes);
    } else if (r < lanes) {
      // Neighbours along K: even ones are the low halves of words.
      ck_v16f first, second;
      const char *at = source + r * across * size;
      if (along == 1) {
        first = load(at, type, count);
        second = load(at + 16 * size, type, count - 16);
      } else {
        float gathered[TILE_STEP] __attribute__((aligned(64))) = {0};
        for (int p = 0; p < count; p++)
          gathered[p] = ck_load_as_f32_n(at + p * along * size, type, 1)[0];
        first = ck_load(gathered);
        second = ck_load(gathered + 16);
      }
      low = __builtin_shufflevector(first, second, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24,
                                    26, 28, 30);
      high = __builtin_shufflevector(first, second, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25,
                                     27, 29, 31);
    }
    if (parts > 1) {
      note(e, low);
      note(e, high);
    }
    const split s = split_pairs(low, high, parts);
#pragma clang loop unroll(full)
    for (int part = 0; part < parts; part++)
      ck_store_i32(rows[part] + r * WORDS, (ck_v16i)s.word[part]);
  }
  if (transposes) {
#pragma clang loop unroll(full)
    for (int part = 0; part < parts; part++)
      transpose((uint32_t *)(tile + part * TILE_STEP_BYTES), staged[part]);
  }
}

INLINE tile_guard pack(char *panel, int64_t lanes, int64_t K, const char *source, ck_dtype type,
                       int64_t across, int64_t along, int32_t parts, bool is_b) {
  extremes e = {.least = (ck_v16u)0xffffffffu, .greatest = (ck_v16u)0u};
  for (int64_t p = 0; p < K; p += TILE_STEP) {
    const int count = K - p < TILE_STEP ? (int)(K - p) : TILE_STEP;
    for (int64_t half = 0; half < 2; half++) {
      const int64_t left = lanes - 16 * half;
      const int n = left >= 16 ? 16 : left > 0 ? (int)left : 0;
      pack_tile(panel + half * 1024, n, count,
                source + (16 * half * across + p * along) * size_of(type), type, across, along,
                parts, !is_b, &e);
    }
    panel += parts * TILE_STEP_BYTES;
  }
  const uint32_t least = _mm512_reduce_min_epu32((__m512i)e.least);
  const uint32_t greatest = _mm512_reduce_max_epu32((__m512i)e.greatest);
  return (tile_guard){
      .least = least >= 0x7f800000u ? 255 : (uint8_t)((least + 0x800000u) >> 23),
      .greatest = (uint8_t)(greatest >> 23),
      .form = TILE_SAFE,
  };
}

INLINE tile_guard pack_parts(char *panel, int64_t lanes, int64_t K, const char *source,
                             ck_dtype type, int64_t across, int64_t along, int32_t parts,
                             bool is_b) {
  switch (type) {
    case CK_BF16:
      return pack(panel, lanes, K, source, CK_BF16, across, along, parts, is_b);
    case CK_F16:
      return pack(panel, lanes, K, source, CK_F16, across, along, parts, is_b);
    default:
      return pack(panel, lanes, K, source, CK_F32, across, along, parts, is_b);
  }
}

static tile_guard pack_1(void *panel, int64_t lanes, int64_t K, const void *source, ck_dtype type,
                         int64_t across, int64_t along, bool is_b) {
  return pack_parts(panel, lanes, K, source, type, across, along, 1, is_b);
}
static tile_guard pack_2(void *panel, int64_t lanes, int64_t K, const void *source, ck_dtype type,
                         int64_t across, int64_t along, bool is_b) {
  return pack_parts(panel, lanes, K, source, type, across, along, 2, is_b);
}
static tile_guard pack_3(void *panel, int64_t lanes, int64_t K, const void *source, ck_dtype type,
                         int64_t across, int64_t along, bool is_b) {
  return pack_parts(panel, lanes, K, source, type, across, along, 3, is_b);
}

tile_guard gemm_tiles_pack(void *panel, int64_t lanes, int64_t K, const void *source, ck_dtype type,
                           int64_t across, int64_t along, int32_t parts, bool is_b) {
  if (parts == 1) return pack_1(panel, lanes, K, source, type, across, along, is_b);
  if (parts == 2) return pack_2(panel, lanes, K, source, type, across, along, is_b);
  return pack_3(panel, lanes, K, source, type, across, along, is_b);
}

void gemm_tiles_join(float *panel, int64_t K, const void *packed, int32_t parts) {
  for (int64_t p = 0; p < K; p++) {
    const char *step = (const char *)packed + p / TILE_STEP * parts * TILE_STEP_BYTES;
    for (int half = 0; half < 2; half++) {
      // Row p / 2 of the tile holds this element and its neighbour along K.
      const char *row = step + half * 1024 + p % TILE_STEP / 2 * 64;
      ck_v16f sum = ck_splat(0.0f);
      for (int part = parts - 1; part >= 0; part--) {
        const ck_v16u words = (ck_v16u)ck_load_i32(row + part * TILE_STEP_BYTES);
        sum += (ck_v16f)(p % 2 ? words & 0xffff0000u : words << 16);
      }
      ck_store(panel + p * TILE_LANES + half * 16, sum);
    }
  }
}

void gemm_tiles_finish(const tile_finish *f, const float *strip, int64_t rows, int64_t columns) {
  const ck_v16f alpha = ck_splat(f->alpha);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < columns; j += 16) {
      const int n = columns - j < 16 ? (int)(columns - j) : 16;
      char *at = (char *)f->c + (i * f->c_row + j) * size_of(f->type);
      const ck_v16f sum = ck_load(strip + i * TILE_LANES + j);
      ck_v16f x = f->accumulate ? ck_fma(alpha, sum, load(at, f->type, n)) : alpha * sum;
      if (f->bias) x += load((const char *)(f->bias + j), CK_F32, n);
      // The second operand is returned where one is a NaN: relu(NaN) = NaN.
      if (f->relu) x = (ck_v16f)_mm512_max_ps(_mm512_setzero_ps(), (__m512)x);
      if (n == 16) {
        ck_store_as(at, f->type, x);
      } else {
        ck_store_as_n(at, f->type, x, n);
      }
    }
  }
}

#include "../core/ck_target_end.h"
#endif
