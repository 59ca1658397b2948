// The AVX2 microkernels: tiles up to 6x16 (12 of 16 registers are sums), 3x32 for few rows and
// 12x8.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"
#include "../core/ck_native_avx2.h"
#include "gemm_internal.h"

#define TILE_ROWS 12
#define PREFETCH_STEPS 8
#define PACK_AHEAD 16
#define A_AHEAD 16
#define A_AHEAD_FAR 4
#define REGISTER_LANES 8
#define DOT_COLUMNS 4

// x where `by` is positive, else 0.
static inline __attribute__((always_inline)) vec gate(vec by, vec x) {
  return _mm256_and_ps(_mm256_cmp_ps(by, _mm256_setzero_ps(), _CMP_GT_OQ), x);
}

// Lanes below `count` of x, the others of y.
static inline __attribute__((always_inline)) vec first_of(vec x, vec y, int count) {
  return _mm256_blendv_ps(y, x, _mm256_castsi256_ps(first_lanes(count)));
}

// Lanes 0..7 and 8..15 of sixteen sums added up.
static inline __attribute__((always_inline)) vec halved(const vec sum[2]) {
  return sum[0] + sum[1];
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
    default:
      return tile_body(t, 12, 1, 0);
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
    default:
      return tile_body(t, 6, 2, 0);
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
    default:
      return tile_body(t, 6, 2, 1);
  }
}

static void tile_four(const gemm_tile *t) {
  switch (t->rows) {
    case 1:
      return tile_body(t, 1, 4, 0);
    case 2:
      return tile_body(t, 2, 4, 0);
    default:
      return tile_body(t, 3, 4, 0);
  }
}

static void tile(const gemm_tile *t) {
  if (t->packed) return tile_two_packing(t);
  if (t->columns <= 8) return tile_one(t);
  if (t->columns <= 16) return tile_two(t);
  tile_four(t);
}

const gemm_level gemm_avx2 = {
    .isa = CK_ISA_AVX2,
    .vector = 8,
    .max_rows = 6,
    .narrow_rows = 12,
    .columns = 16,
    .direct_rows = 6,
    .flat_rows = 3,
    .block_rows = 276,
    .block_columns = 1024,
    .fused_rows = 138,
    .fused_columns = 512,
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
