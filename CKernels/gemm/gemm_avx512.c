// The AVX-512 microkernels: tiles up to 14x32 (28 of 32 registers are sums), 6x64 for few rows and
// 16x16.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"
#include "../core/ck_native_avx512.h"
#include "gemm_internal.h"

#define TILE_ROWS 16
#define PREFETCH_STEPS 8
#define PACK_AHEAD 16
#define A_AHEAD 16
#define A_AHEAD_FAR 4
#define REGISTER_LANES 16
#define DOT_COLUMNS 8

// x where `by` is positive, else 0.
static inline __attribute__((always_inline)) vec gate(vec by, vec x) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(by, _mm512_setzero_ps(), _CMP_GT_OQ), x);
}

// Lanes below `count` of x, the others of y.
static inline __attribute__((always_inline)) vec first_of(vec x, vec y, int count) {
  return _mm512_mask_blend_ps((__mmask16)((1u << count) - 1), y, x);
}

// Lanes 0..7 and 8..15 of sixteen sums added up.
static inline __attribute__((always_inline)) __m256 halved(const vec sum[1]) {
  return _mm512_castps512_ps256(sum[0]) + _mm512_extractf32x8_ps(sum[0], 1);
}

#include "gemm_pack.inc.h"
#include "gemm_tile.inc.h"
#include "gemm_vector.inc.h"

static void tile_one(const gemm_tile *t) {
  switch (t->rows) {
    case 1:
      return tile_body(t, 1, 1, 0);
    case 2:
      return tile_body(t, 2, 1, 0);
    case 3:
      return tile_body(t, 3, 1, 0);
    case 4:
      return tile_body(t, 4, 1, 0);
    case 5:
      return tile_body(t, 5, 1, 0);
    case 6:
      return tile_body(t, 6, 1, 0);
    case 7:
      return tile_body(t, 7, 1, 0);
    case 8:
      return tile_body(t, 8, 1, 0);
    case 9:
      return tile_body(t, 9, 1, 0);
    case 10:
      return tile_body(t, 10, 1, 0);
    case 11:
      return tile_body(t, 11, 1, 0);
    case 12:
      return tile_body(t, 12, 1, 0);
    case 13:
      return tile_body(t, 13, 1, 0);
    case 14:
      return tile_body(t, 14, 1, 0);
    case 15:
      return tile_body(t, 15, 1, 0);
    default:
      return tile_body(t, 16, 1, 0);
  }
}

static void tile_two(const gemm_tile *t) {
  switch (t->rows) {
    case 1:
      return tile_body(t, 1, 2, 0);
    case 2:
      return tile_body(t, 2, 2, 0);
    case 3:
      return tile_body(t, 3, 2, 0);
    case 4:
      return tile_body(t, 4, 2, 0);
    case 5:
      return tile_body(t, 5, 2, 0);
    case 6:
      return tile_body(t, 6, 2, 0);
    case 7:
      return tile_body(t, 7, 2, 0);
    case 8:
      return tile_body(t, 8, 2, 0);
    case 9:
      return tile_body(t, 9, 2, 0);
    case 10:
      return tile_body(t, 10, 2, 0);
    case 11:
      return tile_body(t, 11, 2, 0);
    case 12:
      return tile_body(t, 12, 2, 0);
    case 13:
      return tile_body(t, 13, 2, 0);
    default:
      return tile_body(t, 14, 2, 0);
  }
}

static void tile_two_packing(const gemm_tile *t) {
  switch (t->rows) {
    case 1:
      return tile_body(t, 1, 2, 1);
    case 2:
      return tile_body(t, 2, 2, 1);
    case 3:
      return tile_body(t, 3, 2, 1);
    case 4:
      return tile_body(t, 4, 2, 1);
    case 5:
      return tile_body(t, 5, 2, 1);
    case 6:
      return tile_body(t, 6, 2, 1);
    case 7:
      return tile_body(t, 7, 2, 1);
    case 8:
      return tile_body(t, 8, 2, 1);
    case 9:
      return tile_body(t, 9, 2, 1);
    case 10:
      return tile_body(t, 10, 2, 1);
    case 11:
      return tile_body(t, 11, 2, 1);
    case 12:
      return tile_body(t, 12, 2, 1);
    case 13:
      return tile_body(t, 13, 2, 1);
    default:
      return tile_body(t, 14, 2, 1);
  }
}

static void tile_four(const gemm_tile *t) {
  switch (t->rows) {
    case 1:
      return tile_body(t, 1, 4, 0);
    case 2:
      return tile_body(t, 2, 4, 0);
    case 3:
      return tile_body(t, 3, 4, 0);
    case 4:
      return tile_body(t, 4, 4, 0);
    case 5:
      return tile_body(t, 5, 4, 0);
    default:
      return tile_body(t, 6, 4, 0);
  }
}

static void tile(const gemm_tile *t) {
  if (t->packed) return tile_two_packing(t);
  if (t->columns <= 16) return tile_one(t);
  if (t->columns <= 32) return tile_two(t);
  tile_four(t);
}

const gemm_level gemm_avx512 = {
    .isa = CK_ISA_AVX512,
    .vector = 16,
    .max_rows = 14,
    .narrow_rows = 16,
    .columns = 32,
    .direct_rows = 28,
    .flat_rows = 6,
    .block_rows = 280,
    .block_columns = 1024,
    .fused_rows = 70,
    .fused_columns = 256,
    .tile = tile,
    .vector_rows = vector_rows,
    .vector_short = vector_short,
    .vector_fold = vector_fold,
    .vector_dots = vector_dots,
    .vector_any = vector_any,
    .vector_finish = vector_finish,
    .pack = pack_panel,
};

#include "../core/ck_target_end.h"
#endif
