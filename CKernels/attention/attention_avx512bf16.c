// Attention by products of bf16 pairs, compiled for the `avx512bf16` level.
#if defined(__x86_64__)
#include "../core/ck_avx512bf16_begin.h"

#define ATTENTION_STEPS 2
#include "attention_body.h"

#include "../gemm/gemm_narrow.h"

static attention_level level(void) {
  const gemm_level *tiles = gemm_pairs_avx512bf16.level;
  return level_of(tiles->max_rows, tiles->columns, tiles->tile, gemm_avx512.pack);
}

#include "attention_entries.h"

#include "../core/ck_target_end.h"
#endif
