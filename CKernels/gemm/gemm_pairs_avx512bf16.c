// Products of bf16 pairs at the `avx512bf16` level: VDPBF16PS adds two neighbouring products of K
// to each of sixteen f32 sums. Tiles up to 14x32, 28x16, and 6x64 for few rows, as at `avx512`; of
// 8x48 for the gradient of a convolution's weights.
//
// The instruction takes denormals for zero and rounds to the nearest even whatever MXCSR says.
#if defined(__x86_64__)
#include "../core/ck_avx512bf16_begin.h"
#include "gemm_narrow.h"

#define STEPS 2
#define PACK_WORDS gemm_avx512.pack
static inline __attribute__((always_inline)) ck_v16h to_bf16(ck_v16f x) {
  return (ck_v16h)_mm512_cvtneps_pbh((__m512)x);
}
#include "gemm_narrow_body.h"
#include "gemm_pairs_tile.inc.h"

#include "gemm_pairs_dots.inc.h"

static void tile_one(const gemm_tile *t) {
  switch (t->rows) {
    case 1:
      return tile_body(t, 1, 1);
    case 2:
      return tile_body(t, 2, 1);
    case 3:
      return tile_body(t, 3, 1);
    case 4:
      return tile_body(t, 4, 1);
    case 5:
      return tile_body(t, 5, 1);
    case 6:
      return tile_body(t, 6, 1);
    case 7:
      return tile_body(t, 7, 1);
    case 8:
      return tile_body(t, 8, 1);
    case 9:
      return tile_body(t, 9, 1);
    case 10:
      return tile_body(t, 10, 1);
    case 11:
      return tile_body(t, 11, 1);
    case 12:
      return tile_body(t, 12, 1);
    case 13:
      return tile_body(t, 13, 1);
    case 14:
      return tile_body(t, 14, 1);
    case 15:
      return tile_body(t, 15, 1);
    case 16:
      return tile_body(t, 16, 1);
    case 17:
      return tile_body(t, 17, 1);
    case 18:
      return tile_body(t, 18, 1);
    case 19:
      return tile_body(t, 19, 1);
    case 20:
      return tile_body(t, 20, 1);
    case 21:
      return tile_body(t, 21, 1);
    case 22:
      return tile_body(t, 22, 1);
    case 23:
      return tile_body(t, 23, 1);
    case 24:
      return tile_body(t, 24, 1);
    case 25:
      return tile_body(t, 25, 1);
    case 26:
      return tile_body(t, 26, 1);
    case 27:
      return tile_body(t, 27, 1);
    default:
      return tile_body(t, 28, 1);
  }
}

static void tile_two(const gemm_tile *t) {
  switch (t->rows) {
    case 1:
      return tile_body(t, 1, 2);
    case 2:
      return tile_body(t, 2, 2);
    case 3:
      return tile_body(t, 3, 2);
    case 4:
      return tile_body(t, 4, 2);
    case 5:
      return tile_body(t, 5, 2);
    case 6:
      return tile_body(t, 6, 2);
    case 7:
      return tile_body(t, 7, 2);
    case 8:
      return tile_body(t, 8, 2);
    case 9:
      return tile_body(t, 9, 2);
    case 10:
      return tile_body(t, 10, 2);
    case 11:
      return tile_body(t, 11, 2);
    case 12:
      return tile_body(t, 12, 2);
    case 13:
      return tile_body(t, 13, 2);
    default:
      return tile_body(t, 14, 2);
  }
}

static void tile_three(const gemm_tile *t) {
  switch (t->rows) {
    case 1:
      return tile_body(t, 1, 3);
    case 2:
      return tile_body(t, 2, 3);
    case 3:
      return tile_body(t, 3, 3);
    case 4:
      return tile_body(t, 4, 3);
    case 5:
      return tile_body(t, 5, 3);
    case 6:
      return tile_body(t, 6, 3);
    case 7:
      return tile_body(t, 7, 3);
    default:
      return tile_body(t, 8, 3);
  }
}

static void tile_four(const gemm_tile *t) {
  switch (t->rows) {
    case 1:
      return tile_body(t, 1, 4);
    case 2:
      return tile_body(t, 2, 4);
    case 3:
      return tile_body(t, 3, 4);
    case 4:
      return tile_body(t, 4, 4);
    case 5:
      return tile_body(t, 5, 4);
    default:
      return tile_body(t, 6, 4);
  }
}

static void tile(const gemm_tile *t) {
  if (t->dots) return tile_dots(t);
  if (t->columns <= 16) return tile_one(t);
  if (t->columns <= 32) return tile_two(t);
  if (t->columns <= 48) return tile_three(t);
  tile_four(t);
}

static void turn(float *out, const float *panel, int64_t stride, int64_t K) {
  gemm_avx512.pack(out, K, K, 8, panel, stride, 1);
}

static void pair(float *words, const uint16_t *source, int64_t gap, int64_t count) {
  static const uint16_t order[64] __attribute__((aligned(64))) = {
      0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,  //
      8,  40, 9,  41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47,  //
      16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,  //
      24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63,
  };
  const __m512i low = _mm512_load_si512(order), high = _mm512_load_si512(order + 32);
  for (int64_t i = 0; i < count; i += 32) {
    const __m512i a = _mm512_loadu_si512(source + i), b = _mm512_loadu_si512(source + i + gap);
    _mm512_storeu_si512(words + i, _mm512_permutex2var_epi16(a, low, b));
    _mm512_storeu_si512(words + i + 16, _mm512_permutex2var_epi16(a, high, b));
  }
}

static const gemm_level tiles = {
    .isa = CK_ISA_AVX512,
    .vector = 16,
    .max_rows = 14,
    .narrow_rows = 28,
    .columns = 32,
    .flat_rows = 6,
    .block_rows = 280,
    .block_columns = 1024,
    .fused_rows = 140,
    .fused_columns = 512,
    .tile = tile,
};

const gemm_narrow gemm_pairs_avx512bf16 = {
    .level = &tiles,
    .steps = 2,
    .k_block = 1024,
    .pack = pack_narrow,
    .convert = convert_rows,
    .pair = pair,
    .turn = turn,
    .widen = widen_block,
    .round = round_block,
    .round_in_place = round_in_place,
};

#include "../core/ck_target_end.h"
#endif
