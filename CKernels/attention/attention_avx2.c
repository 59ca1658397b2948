// Attention, compiled for the `avx2` level.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"

#include "attention_body.h"

static attention_level level(void) {
  return level_of(gemm_avx2.max_rows, gemm_avx2.columns, gemm_avx2.tile, gemm_avx2.pack);
}

#include "attention_entries.h"

#include "../core/ck_target_end.h"
#endif
