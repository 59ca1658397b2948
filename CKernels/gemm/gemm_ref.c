// The reference matrix product: one element at a time, in the order that every level keeps.
#include "gemm_internal.h"

/// The terms [p, end) of an element, summed in the order that ck_gemm.h states.
static float sum_of(const ck_gemm_args *g, const float *a, const float *b, int64_t p, int64_t end) {
  const int lanes = gemm_is_vector(g) ? GEMM_LANES : 1;
  const int64_t b_row =
      g->b_packed ? (int64_t)ck_gemm_packed_floats(1, g->N, CK_ISA_REF) : g->b_row;
  float sum[GEMM_LANES] = {0};
  for (int64_t begin = p; p < end; p++) {
    float *lane = sum + (p - begin) % lanes;
    *lane = __builtin_fmaf(a[p * g->a_col], b[p * b_row], *lane);
  }
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; l++) sum[l] += sum[l + half];
  return sum[0];
}

static float element(const ck_gemm_args *g, const float *a, const float *b, float c, int64_t i,
                     int64_t j) {
  const int64_t block = gemm_is_vector(g) ? GEMM_LANES_BLOCK : ck_gemm_k_block(g->K);
  float value = g->accumulate ? c : 0.0f;
  int64_t p = 0;
  do {
    const int64_t end = p + block < g->K ? p + block : g->K;
    const float sum = sum_of(g, a + i * g->a_row, g->b_packed ? b + j : b + j * g->b_col, p, end);
    value = p == 0 && !g->accumulate ? g->alpha * sum : __builtin_fmaf(g->alpha, sum, value);
    p = end;
  } while (p < g->K);
  if (g->bias) value += g->bias[j];
  return g->relu ? (0.0f > value ? 0.0f : value) : value;
}

int64_t gemm_ref_row(const ck_gemm_args *g) { return (g->N + 15) / 16 * 16; }

void ck_gemm_f32_ref(const void *args, const ck_thread *t) {
  const ck_gemm_args *g = args;
  int64_t begin, end;
  ck_share(gemm_matrices(g) * g->M, t, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    const int64_t i = row % g->M;
    int64_t rest = row / g->M;
    const float *a = g->a, *b = g->b;
    // An offset, not a pointer: with an epilogue program there is no C.
    int64_t at = i * g->c_row;
    for (int d = CK_GEMM_BATCH_DIMS - 1; d >= 0; d--) {
      const int64_t index = rest % g->batch[d];
      rest /= g->batch[d];
      a += index * g->a_batch[d];
      b += index * g->b_batch[d];
      at += index * g->c_batch[d];
    }
    if (!g->epilogue) {
      float *c = g->c + at;
      for (int64_t j = 0; j < g->N; j++) c[j] = element(g, a, b, c[j], i, j);
    } else {
      float *product = t->scratch;
      for (int64_t j = 0; j < g->N; j++) product[j] = element(g, a, b, 0.0f, i, j);
      ck_loop_block(CK_ISA_REF)(ck_gemm_epilogue(g), product + gemm_ref_row(g), row / g->M, i, 1, 0,
                                g->N, product, g->N);
    }
  }
}
