// The register tile of bf16 pairs for a few columns, whose lanes run along K: a vector of sixteen
// columns would be mostly empty.
//
// A's rows and B's columns are read in whole vectors, a multiply an element of C and thirty-two
// terms. The lanes of an element's sum are added up at the end, those of all columns of a row
// together.

/// The lanes of COLUMNS sums added up: the sum of sum[j] in lane j.
static inline __attribute__((always_inline)) __m512 fold_lanes(const __m512 *sum,
                                                               const int COLUMNS) {
  __m512 folded = _mm512_setzero_ps();
#pragma clang loop unroll(full)
  for (int j = 0; j < COLUMNS; j++)
    folded = _mm512_mask_mov_ps(folded, (__mmask16)(1u << j),
                                _mm512_set1_ps(_mm512_reduce_add_ps(sum[j])));
  return folded;
}

static inline __attribute__((always_inline)) void dot_rows(const gemm_tile *t, __m512 *out,
                                                           int64_t row, const int ROWS,
                                                           const int COLUMNS) {
  __m512 sum[8][8];
#pragma clang loop unroll(full)
  for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < COLUMNS; j++) sum[i][j] = _mm512_setzero_ps();
  const float *a = t->a + row * t->a_row, *b = t->b;
  int64_t p = 0;
  for (; p + 16 <= t->K; p += 16) {
    __m512bh bv[8];
#pragma clang loop unroll(full)
    for (int j = 0; j < COLUMNS; j++) bv[j] = (__m512bh)ck_load(b + j * t->b_row + p);
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++) {
      const __m512bh av = (__m512bh)ck_load(a + i * t->a_row + p);
#pragma clang loop unroll(full)
      for (int j = 0; j < COLUMNS; j++) sum[i][j] = _mm512_dpbf16_ps(sum[i][j], av, bv[j]);
    }
  }
  if (p < t->K) {
    const __mmask16 rest = (__mmask16)((1u << (t->K - p)) - 1);
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++) {
      const __m512bh av = (__m512bh)_mm512_maskz_loadu_ps(rest, a + i * t->a_row + p);
#pragma clang loop unroll(full)
      for (int j = 0; j < COLUMNS; j++) {
        const __m512bh bv = (__m512bh)_mm512_maskz_loadu_ps(rest, b + j * t->b_row + p);
        sum[i][j] = _mm512_dpbf16_ps(sum[i][j], av, bv);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < ROWS; i++) out[i] = fold_lanes(sum[i], COLUMNS);
}

/// Rows AT_ONCE at a time.
static inline __attribute__((always_inline)) void dot_columns(const gemm_tile *t, __m512 *out,
                                                              const int AT_ONCE,
                                                              const int COLUMNS) {
  int64_t i = 0;
  for (; i + AT_ONCE <= t->rows; i += AT_ONCE) dot_rows(t, out + i, i, AT_ONCE, COLUMNS);
  for (; i < t->rows; i++) dot_rows(t, out + i, i, 1, COLUMNS);
}

static void tile_dots(const gemm_tile *t) {
  __m512 sum[PAIR_ROWS][4];
  __m512 out[14];
  if (t->columns <= 1) {
    dot_columns(t, out, 4, 1);
  } else if (t->columns <= 2) {
    dot_columns(t, out, 4, 2);
  } else if (t->columns <= 4) {
    dot_columns(t, out, 4, 4);
  } else {
    dot_columns(t, out, 2, 8);
  }
  for (int i = 0; i < t->rows; i++) {
    gemm_tile row = *t;
    sum[0][0] = out[i];
    row.c = (float *)((char *)t->c + i * t->c_row * (t->narrow ? 2 : 4));
    if (t->from) row.from = t->from + i * t->from_row;
    if (t->combination != CK_ALONE)
      row.other =
          (const float *)((const char *)t->other + i * t->other_row * (t->narrow_other ? 2 : 4));
    finish_tile(&row, sum, 0, 1, 1);
  }
}
