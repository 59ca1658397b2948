// The LSTM by products of bf16 pairs, compiled for the `avx512bf16` level.
#if defined(__x86_64__)
#include "../core/ck_avx512bf16_begin.h"
#include "../gemm/gemm_narrow.h"

static void pack(float *panel, int64_t stride, int64_t width, int64_t K, const float *source,
                 int64_t across, int64_t along) {
  gemm_pairs_avx512bf16.pack(panel, stride, width, K, source, CK_F32, across, along);
}

#define LSTM_PRODUCT gemm_pairs_avx512bf16.level
#define LSTM_PACK pack
#define LSTM_STEPS 2
#include "lstm_body.h"

#include "../core/ck_target_end.h"
#endif
