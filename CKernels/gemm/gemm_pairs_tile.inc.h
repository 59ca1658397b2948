// The register tile of bf16 pairs. One step loads NV vectors of B, sixteen pairs each, broadcasts
// ROWS pairs of A and issues ROWS * NV independent pair products; all sums live in registers until
// the end.

/// What becomes of the sums: one pass over all of them for each thing to do, because every test
/// inside a pass would be made for every vector.
static inline __attribute__((always_inline)) void finish_tile(const gemm_tile *t, __m512 sum[14][4],
                                                              const int ROWS, const int NV) {
  const int last = t->columns - (NV - 1) * 16;
  const ck_v16f alpha = ck_splat(t->alpha);
  if (t->accumulate) {
    const float *from = t->from ? t->from : t->c;
    const int64_t from_row = t->from ? t->from_row : t->c_row;
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        const ck_v16f old =
            load_widened(from + i * from_row + v * 16, CK_F32, v == NV - 1 ? last : 16);
        sum[i][v] = (__m512)ck_fma(alpha, (ck_v16f)sum[i][v], old);
      }
  } else if (t->alpha != 1.0f) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) sum[i][v] = (__m512)(alpha * (ck_v16f)sum[i][v]);
  }
  if (t->bias) {
#pragma clang loop unroll(full)
    for (int v = 0; v < NV; v++) {
      const ck_v16f bias = load_widened(t->bias + v * 16, CK_F32, v == NV - 1 ? last : 16);
#pragma clang loop unroll(full)
      for (int i = 0; i < ROWS; i++) sum[i][v] = (__m512)((ck_v16f)sum[i][v] + bias);
    }
  }
  if (t->combination != CK_ALONE) {
    const bool is_narrow = t->narrow_other;
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        const int64_t at = i * t->other_row + v * 16;
        const int count = v == NV - 1 ? last : 16;
        const ck_v16f other = is_narrow
                                  ? load_widened((const uint16_t *)t->other + at, CK_BF16, count)
                                  : load_widened(t->other + at, CK_F32, count);
        if (t->combination == CK_ADD) {
          sum[i][v] = (__m512)((ck_v16f)sum[i][v] + other);
        } else {
          const __mmask16 passes =
              _mm512_cmp_ps_mask((__m512)other, _mm512_setzero_ps(), _CMP_GT_OQ);
          sum[i][v] = _mm512_maskz_mov_ps(passes, sum[i][v]);
        }
      }
  }
  if (t->relu) {
    // The second operand is returned where one is a NaN: relu(NaN) = NaN.
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) sum[i][v] = _mm512_max_ps(_mm512_setzero_ps(), sum[i][v]);
  }
  if (t->narrow) {
    uint16_t *c = (uint16_t *)t->c;
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++, c += t->c_row)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v += 2) {
        if (v + 1 < NV && (v + 2 < NV || last >= 16)) {
          const __m512bh both = _mm512_cvtne2ps_pbh(sum[i][v + 1], sum[i][v]);
          _mm512_storeu_si512(c + v * 16, (__m512i)both);
        } else {
          const bool is_last = v + 1 == NV;
          store_rounded(c + v * 16, CK_BF16, (ck_v16f)sum[i][v], is_last ? last : 16);
          if (!is_last) store_rounded(c + v * 16 + 16, CK_BF16, (ck_v16f)sum[i][v + 1], last);
        }
      }
    return;
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
    for (int v = 0; v < NV; v++) {
      float *c = t->c + i * t->c_row + v * 16;
      if (v < NV - 1 || last >= 16) {
        ck_store(c, (ck_v16f)sum[i][v]);
      } else {
        ck_store_n(c, (ck_v16f)sum[i][v], last);
      }
    }
}

static inline __attribute__((always_inline)) void tile_body(const gemm_tile *t, const int ROWS,
                                                            const int NV) {
  __m512 sum[14][4];
#pragma clang loop unroll(full)
  for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
    for (int v = 0; v < NV; v++) sum[i][v] = _mm512_setzero_ps();

  if (t->combination != CK_ALONE) {
    // Not into L1: rows a power of two apart would drive one another out of it.
    const int64_t size = t->narrow_other ? 2 : 4;
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++) {
      const char *other = (const char *)t->other + i * t->other_row * size;
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) __builtin_prefetch(other + v * 16 * size, 0, 2);
    }
  }

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
  finish_tile(t, sum, ROWS, NV);
}
