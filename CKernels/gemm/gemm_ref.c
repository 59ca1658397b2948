// The reference matrix product: one element at a time, in the order that every level keeps.
#include "../core/ck_ref_begin.h"
#include "gemm_narrow.h"

float gemm_ref_load(const void *p, int16_t type, int64_t at) {
  if (type == CK_F32) return ((const float *)p)[at];
  return ck_load_as_f32_n((const uint16_t *)p + at, (ck_dtype)type, 1)[0];
}

void gemm_ref_store(void *p, int16_t type, int64_t at, float x) {
  if (type == CK_F32) {
    ((float *)p)[at] = x;
  } else {
    ck_store_as_n((uint16_t *)p + at, (ck_dtype)type, ck_splat(x), 1);
  }
}

/// Whether elements are summed in lanes.
static bool has_lanes(const ck_gemm_args *g) { return gemm_is_f32(g) && gemm_is_vector(g); }

/// The terms [p, end) of element (i, j), summed in the order that ck_gemm.h states.
static float sum_of(const ck_gemm_args *g, const void *a, const void *b, int64_t i, int64_t j,
                    int64_t p, int64_t end) {
  const int lanes = has_lanes(g) ? GEMM_LANES : 1;
  const int16_t b_type = g->b_packed ? CK_F32 : g->b_type;
  const int64_t b_row = g->b_packed ? g->N : g->b_row;
  const int64_t b_col = g->b_packed ? 1 : g->b_col;
  float sum[GEMM_LANES] = {0};
  for (int64_t begin = p; p < end; p++) {
    float *lane = sum + (p - begin) % lanes;
    *lane = __builtin_fmaf(gemm_ref_load(a, g->a_type, i * g->a_row + p * g->a_col),
                           gemm_ref_load(b, b_type, p * b_row + j * b_col), *lane);
  }
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; l++) sum[l] += sum[l + half];
  return sum[0];
}

/// What x meets at `other`.
static float combine(const ck_gemm_args *g, float x, const float *other) {
  if (g->epilogue.combination == CK_ADD) return x + *other;
  if (g->epilogue.combination == CK_GATE) return *other > 0 ? x : 0.0f;
  if (g->epilogue.combination == CK_MOMENTUM) return *other * g->epilogue.momentum + x;
  return x;
}

/// `other` is the row's.
static float element(const ck_gemm_args *g, const void *a, const void *b, const float *other,
                     float c, int64_t i, int64_t j) {
  const int64_t block = has_lanes(g) ? GEMM_LANES_BLOCK : ck_gemm_k_block(g->K);
  const int64_t terms = gemm_terms(g);
  float value = g->accumulate ? c : 0.0f;
  int64_t p = 0;
  do {
    const int64_t end = p + block < terms ? p + block : terms;
    const float sum = sum_of(g, a, b, i, j, p, end);
    value = p == 0 && !g->accumulate ? g->alpha * sum : __builtin_fmaf(g->alpha, sum, value);
    p = end;
  } while (p < terms);
  if (g->epilogue.bias) value += g->epilogue.bias[j];
  if (g->epilogue.combination != CK_ALONE) value = combine(g, value, other + j);
  if (g->epilogue.combination == CK_ADD && g->epilogue.mask)
    value = g->epilogue.mask[other + j - g->epilogue.other] > 0 ? value : 0.0f;
  return g->epilogue.relu ? (0.0f > value ? 0.0f : value) : value;
}

int64_t gemm_ref_row(const ck_gemm_args *g) { return (g->N + 15) / 16 * 16; }

void ck_gemm_f32_ref(const void *args, const ck_thread *t) {
  const ck_gemm_args *g = args;
  int64_t begin, end;
  ck_share(gemm_matrices(g) * gemm_rows(g), t, &begin, &end);
  if (g->limit == CK_GEMM_LIVE_ROWS) gemm_clear_rest(g, t);
  for (int64_t row = begin; row < end; row++) {
    const int64_t i = row % g->M;
    int64_t rest = row / g->M;
    // Offsets, not pointers: with an epilogue program there is no C.
    int64_t at_a = 0, at_b = 0, at = i * g->c_row;
    for (int d = CK_GEMM_BATCH_DIMS - 1; d >= 0; d--) {
      const int64_t index = rest % g->batch[d];
      rest /= g->batch[d];
      at_a += index * g->a_batch[d];
      at_b += index * g->b_batch[d];
      at += index * g->c_batch[d];
    }
    const char *a = (const char *)g->a + at_a * gemm_type_bytes(g->a_type);
    const char *b = (const char *)g->b + at_b * (g->b_packed ? 4 : gemm_type_bytes(g->b_type));
    const float *other = NULL;
    if (g->epilogue.combination != CK_ALONE)
      other = g->epilogue.other + row / g->M * g->epilogue.other_matrix + i * g->epilogue.other_row;
    if (!g->epilogue.program) {
      char *c = (char *)g->c + at * gemm_type_bytes(g->c_type);
      for (int64_t j = 0; j < g->N; j++) {
        const float old = g->accumulate ? gemm_ref_load(c, g->c_type, j) : 0.0f;
        const float x = element(g, a, b, other, old, i, j);
        gemm_ref_store(c, g->c_type, j, x);
        if (g->epilogue.combination == CK_MOMENTUM)
          g->epilogue.new_weight[i * g->c_row + j] =
              g->epilogue.weight[i * g->epilogue.other_row + j] - x * *g->epilogue.rate;
      }
    } else {
      float *product = t->scratch;
      for (int64_t j = 0; j < g->N; j++) {
        float rounded;  // to C's type
        gemm_ref_store(&rounded, g->c_type, 0, element(g, a, b, other, 0.0f, i, j));
        product[j] = gemm_ref_load(&rounded, g->c_type, 0);
      }
      ck_loop_block(CK_ISA_REF)(ck_gemm_program(g), product + gemm_ref_row(g), row / g->M, i, 1, 0,
                                g->N, product, g->N);
    }
  }
}

void ck_gemm_pack_ref(const void *args, const ck_thread *t) {
  const ck_gemm_pack_args *g = args;
  int64_t begin, end;
  ck_share(g->count * g->K, t, &begin, &end);
  for (int64_t row = begin; row < end; row++)
    for (int64_t j = 0; j < g->N; j++)
      g->packed[row * g->N + j] = gemm_ref_load(
          g->b, g->b_type, row / g->K * g->b_batch + row % g->K * g->b_row + j * g->b_col);
}

#include "../core/ck_target_end.h"
