// The reference of the LSTM: a tile one element at a time, in double.
#include "../core/ck_ref_begin.h"
#include "../gemm/tile.h"

static void tile(const gemm_tile *t) {
  for (int32_t i = 0; i < t->rows; ++i) {
    for (int32_t j = 0; j < t->columns; ++j) {
      float *c = t->c + i * t->c_row + j;
      double sum = t->accumulate ? *c : 0;
      for (int64_t p = 0; p < t->K; ++p) {
        sum += (double)t->a[i * t->a_row + p * t->a_col] * t->b[p * t->b_row + j];
      }
      *c = (float)sum;
    }
  }
}

static void pack(float *panel, int64_t stride, int64_t width, int64_t K, const float *source,
                 int64_t across, int64_t along) {
  for (int64_t p = 0; p < K; ++p) {
    for (int64_t i = 0; i < width; ++i) panel[p * stride + i] = source[i * across + p * along];
  }
}

static const gemm_level product = {
    .vector = 16, .max_rows = 8, .columns = 32, .tile = tile, .pack = pack};

#define LSTM_PRODUCT &product
#define LSTM_PACK pack
#define LSTM_STEPS 1
#include "lstm_body.h"

#include "../core/ck_target_end.h"
