// The register tile of bf16 pairs. One step loads NV vectors of B, sixteen pairs each, broadcasts
// ROWS pairs of A and issues ROWS * NV independent pair products; all sums live in registers until
// the end.

enum { PAIR_ROWS = 28 };  // of one vector of columns

// Elements from the tile's start to row i of an array whose rows lie `row` apart.
#define ROW(i, row) ((i) * (row) + ((i) < HALF ? 0 : apart))

/// Vector v of row i of the other array, or the mask, of a type.
#define LOAD_OTHER(array, at, count)                                          \
  (is_narrow ? load_widened((const uint16_t *)(array) + (at), CK_BF16, count) \
             : load_widened((array) + (at), CK_F32, count))

/// What becomes of the sums: one pass over all of them for each thing to do, because every test
/// inside a pass would be made for every vector.
///
/// - `apart`: elements that the second half of the rows lies further than the first half's rows do.
static inline __attribute__((always_inline)) void finish_tile(const gemm_tile *t,
                                                              __m512 sum[PAIR_ROWS][4],
                                                              const int64_t apart, const int ROWS,
                                                              const int NV) {
  const int HALF = (ROWS + 1) / 2;
  const bool is_narrow = t->narrow_other;
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
            load_widened(from + ROW(i, from_row) + v * 16, CK_F32, v == NV - 1 ? last : 16);
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
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        const int64_t at = ROW(i, t->other_row) + v * 16;
        const ck_v16f other = LOAD_OTHER(t->other, at, v == NV - 1 ? last : 16);
        if (t->combination == CK_ADD) {
          sum[i][v] = (__m512)((ck_v16f)sum[i][v] + other);
        } else {
          const __mmask16 passes =
              _mm512_cmp_ps_mask((__m512)other, _mm512_setzero_ps(), _CMP_GT_OQ);
          sum[i][v] = _mm512_maskz_mov_ps(passes, sum[i][v]);
        }
      }
  }
  if (t->mask) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        const int64_t at = ROW(i, t->other_row) + v * 16;
        const ck_v16f mask = LOAD_OTHER(t->mask, at, v == NV - 1 ? last : 16);
        const __mmask16 passes = _mm512_cmp_ps_mask((__m512)mask, _mm512_setzero_ps(), _CMP_GT_OQ);
        sum[i][v] = _mm512_maskz_mov_ps(passes, sum[i][v]);
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
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++) {
      uint16_t *c = (uint16_t *)t->c + ROW(i, t->c_row);
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
    }
    return;
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
    for (int v = 0; v < NV; v++) {
      float *c = t->c + ROW(i, t->c_row) + v * 16;
      if (v < NV - 1 || last >= 16) {
        ck_store(c, (ck_v16f)sum[i][v]);
      } else {
        ck_store_n(c, (ck_v16f)sum[i][v], last);
      }
    }
}

static inline __attribute__((always_inline)) void tile_body(const gemm_tile *t, const int ROWS,
                                                            const int NV) {
  __m512 sum[PAIR_ROWS][4];
#pragma clang loop unroll(full)
  for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
    for (int v = 0; v < NV; v++) sum[i][v] = _mm512_setzero_ps();

  const int64_t a_row = t->a_row, a_col = t->a_col, b_row = t->b_row, c_row = t->c_row;
  // Rows from here on are the second half, which may lie apart.
  const int HALF = (ROWS + 1) / 2;
  const int64_t a_apart = t->halves ? t->a_half : HALF * a_row;
  const int64_t apart = t->halves ? t->c_half - HALF * c_row : 0;
  if (t->combination != CK_ALONE) {
    // Not into L1: rows a power of two apart would drive one another out of it.
    const int64_t size = t->narrow_other ? 2 : 4;
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++) {
      const int64_t at = (t->ahead + ROW(i, t->other_row)) * size;
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        __builtin_prefetch((const char *)t->other + at + v * 16 * size, 0, 2);
        if (t->mask) __builtin_prefetch((const char *)t->mask + at + v * 16 * size, 0, 2);
      }
    }
  }
  if (t->ahead) {
    const int64_t size = t->narrow ? 2 : 4;
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++)
        __builtin_prefetch((char *)t->c + (t->ahead + ROW(i, c_row) + v * 16) * size, 1);
  }

  // Four rows share a pointer, so that the addresses need few registers: base + {0, 1, 2, 3} rows.
  const int QUARTERS = (HALF + 3) / 4;
  const float *a[2 * ((PAIR_ROWS + 7) / 8)];
  const float *b = t->b;
  const char *near = t->near ? t->near : (const char *)t->a;
  const int64_t near_step = t->near ? t->near_step : 0;
  const int64_t near_turn = near_step + (t->near ? t->near_turn : 0);
  const int64_t near_rest = t->near_lines ? t->K - t->near_lines : 0;
  const int64_t segments = t->segments ? t->segment_count : 1;
  for (int64_t segment = 0; segment < segments; segment++) {
    const float *start = t->a;
    if (t->segments) {
      start += t->segments[segment].a;
      b = t->b + t->segments[segment].b;
    }
#pragma clang loop unroll(full)
    for (int q = 0; q < QUARTERS; q++) a[q] = start + 4 * q * a_row;
#pragma clang loop unroll(full)
    for (int q = 0; q < QUARTERS; q++) a[QUARTERS + q] = start + a_apart + 4 * q * a_row;
    for (int64_t p = t->K; p > 0; p--) {
      __m512bh bv[4];
      __builtin_prefetch(near, 0, 2);
      near += p > near_rest ? (p & 15) == 1 ? near_turn : near_step : 0;
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        bv[v] = (__m512bh)ck_load(b + v * 16);
        if (NV > 1) __builtin_prefetch(b + v * 16 + 8 * b_row);
      }
#pragma clang loop unroll(full)
      for (int i = 0; i < ROWS; i++) {
        const int q = i < HALF ? i / 4 : QUARTERS + (i - HALF) / 4;
        const __m512bh av = (__m512bh)_mm512_set1_ps(a[q][((i < HALF ? i : i - HALF) % 4) * a_row]);
#pragma clang loop unroll(full)
        for (int v = 0; v < NV; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], av, bv[v]);
      }
#pragma clang loop unroll(full)
      for (int q = 0; q < 2 * QUARTERS; q++) {
        a[q] += a_col;
        // Pointers of their own: else the compiler walks from each row to the next, which is a
        // chain of additions as long as the multiply-adds, or keeps one pointer a row in memory.
        __asm__("" : "+r"(a[q]));
      }
      b += b_row;
    }
  }
  finish_tile(t, sum, apart, ROWS, NV);
}

#undef ROW
#undef LOAD_OTHER
