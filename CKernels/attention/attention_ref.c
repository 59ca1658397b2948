// Attention, compiled for the `ref` level, whose products are plain loops in the tiles' order.
#include "../core/ck_ref_begin.h"

#include "attention_body.h"

static void tile(const gemm_tile *t) {
  for (int32_t i = 0; i < t->rows; i++) {
    for (int32_t j = 0; j < t->columns; j++) {
      float sum = 0;
      for (int64_t p = 0; p < t->K; p++) {
        sum = __builtin_fmaf(t->a[i * t->a_row + p * t->a_col], t->b[p * t->b_row + j], sum);
      }
      float *c = t->c + i * t->c_row + j;
      *c = t->accumulate ? __builtin_fmaf(t->alpha, sum, *c) : sum * t->alpha;
    }
  }
}

static void pack(float *panel, int64_t stride, int64_t width, int64_t K, const float *source,
                 int64_t across, int64_t along) {
  for (int64_t p = 0; p < K; p++) {
    for (int64_t i = 0; i < width; i++) {
      panel[p * stride + i] = source[i * across + p * along];
    }
  }
}

static attention_level level(void) { return level_of(14, 32, tile, pack); }

#include "attention_entries.h"

#include "../core/ck_target_end.h"
