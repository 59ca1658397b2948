// The register tile of bf16 pairs. One step loads NV vectors of B, sixteen pairs each, broadcasts
// ROWS pairs of A and issues ROWS * NV independent pair products; all sums live in registers until
// the end.

static inline __attribute__((always_inline)) void store_tile_part(const gemm_tile *t, int64_t at,
                                                                  ck_v16f x, int count) {
  if (t->narrow) {
    store_rounded((uint16_t *)t->c + at, CK_BF16, x, count);
  } else if (count >= 16) {
    ck_store(t->c + at, x);
  } else {
    ck_store_n(t->c + at, x, count);
  }
}

static inline __attribute__((always_inline)) void tile_body(const gemm_tile *t, const int ROWS,
                                                            const int NV) {
  __m512 sum[14][4];
#pragma clang loop unroll(full)
  for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
    for (int v = 0; v < NV; v++) sum[i][v] = _mm512_setzero_ps();

  const int64_t a_row = t->a_row, a_col = t->a_col, b_row = t->b_row;
  // Four rows share a pointer, so that the addresses need few registers: base + {0, 1, 2, 3} rows.
  const float *a[4];
#pragma clang loop unroll(full)
  for (int q = 0; q < (ROWS + 3) / 4; q++) a[q] = t->a + 4 * q * a_row;
  const float *b = t->b;
  for (int64_t p = t->K; p > 0; p--) {
    __m512bh bv[4];
#pragma clang loop unroll(full)
    for (int v = 0; v < NV; v++) {
      bv[v] = (__m512bh)ck_load(b + v * 16);
      __builtin_prefetch(b + v * 16 + 8 * b_row);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++) {
      const __m512bh av = (__m512bh)_mm512_set1_ps(a[i / 4][(i % 4) * a_row]);
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], av, bv[v]);
    }
#pragma clang loop unroll(full)
    for (int q = 0; q < (ROWS + 3) / 4; q++) a[q] += a_col;
    b += b_row;
  }

  const ck_v16f alpha = ck_splat(t->alpha);
  const int last = t->columns - (NV - 1) * 16;
  ck_v16f bias[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < NV; v++)
    bias[v] =
        t->bias ? load_widened(t->bias + v * 16, CK_F32, v == NV - 1 ? last : 16) : ck_splat(0.0f);
#pragma clang loop unroll(full)
  for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
    for (int v = 0; v < NV; v++) {
      const int count = v == NV - 1 ? last : 16;
      const int64_t at = i * t->c_row + v * 16;
      ck_v16f x = alpha * (ck_v16f)sum[i][v];
      if (t->accumulate)
        x = ck_fma(alpha, (ck_v16f)sum[i][v], load_widened(t->c + at, CK_F32, count));
      if (t->bias) x += bias[v];
      // The second operand is returned where one is a NaN: relu(NaN) = NaN.
      if (t->relu) x = (ck_v16f)_mm512_max_ps(_mm512_setzero_ps(), (__m512)x);
      store_tile_part(t, at, x, count);
    }
}
