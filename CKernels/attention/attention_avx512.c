// Attention, compiled for the `avx512` level.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"

#include "attention_body.h"

static attention_level level(void) {
  return level_of(gemm_avx512.max_rows, gemm_avx512.columns, gemm_avx512.tile, gemm_avx512.pack);
}

#include "attention_entries.h"

#include "../core/ck_target_end.h"
#endif
