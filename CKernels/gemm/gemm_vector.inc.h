// Products of a matrix and a vector: written once, compiled at each level.
//
// Reading the matrix is all the work, so no part of it is copied: where its rows are contiguous,
// eight of them are walked along at a time, and sixteen rows of partial sums stay in the cache;
// where its columns are, each is a scalar product over sixteen lanes.

/// sum[j] += x[s * x_step] * w[s * w_row + j] for s < STEPS.
static inline __attribute__((always_inline)) void add_rows(float *sum, int64_t columns,
                                                           const float *x, int64_t x_step,
                                                           const float *w, int64_t w_row,
                                                           const int STEPS) {
  vec xs[STEPS];
#pragma clang loop unroll(full)
  for (int s = 0; s < STEPS; s++) xs[s] = (vec)x[s * x_step];
  const float *low = w, *high = w + 4 * w_row;
  int64_t j = 0;
  for (; j + VECTOR <= columns; j += VECTOR) {
    vec t = load(sum + j);
#pragma clang loop unroll(full)
    for (int s = 0; s < STEPS; s++)
      t = __builtin_elementwise_fma(
          xs[s], load((s < 4 ? low + s * w_row : high + (s - 4) * w_row) + j), t);
    store(sum + j, t);
  }
  if (j == columns) return;
  vec t = load(sum + j);
#pragma clang loop unroll(full)
  for (int s = 0; s < STEPS; s++)
    t = __builtin_elementwise_fma(xs[s], load_part(w + s * w_row + j, (int)(columns - j)), t);
  store(sum + j, t);
}

/// Rows that a lane's sums take at a time.
enum { LANE_ROWS = 8 };

static void vector_rows(const gemm_vector *v) {
  const int64_t lanes = GEMM_LANES, w_row = lanes * v->w_row, x_step = lanes * v->x_step;
  for (int64_t begin = 0; begin < v->K; begin += lanes * LANE_ROWS) {
    const int64_t steps = v->K - begin;
    for (int64_t l = 0; l < lanes && l < steps; l++) {
      float *sum = v->sum + (v->lane + l) % lanes * v->sum_row;
      const float *x = v->x + (begin + l) * v->x_step, *w = v->w + (begin + l) * v->w_row;
      int64_t rows = (steps - l + lanes - 1) / lanes;
      if (rows >= LANE_ROWS) {
        add_rows(sum, v->columns, x, x_step, w, w_row, LANE_ROWS);
        continue;
      }
      for (; rows >= 2; rows -= 2, x += 2 * x_step, w += 2 * w_row)
        add_rows(sum, v->columns, x, x_step, w, w_row, 2);
      if (rows) add_rows(sum, v->columns, x, x_step, w, w_row, 1);
    }
  }
}

/// out[j] = the sum of the lanes' sums.
static void vector_fold(const gemm_vector *v) {
  for (int64_t j = 0; j < v->columns; j += VECTOR) {
    vec t[GEMM_LANES];
    for (int l = 0; l < GEMM_LANES; l++) t[l] = load(v->sum + l * v->sum_row + j);
    for (int half = GEMM_LANES / 2; half > 0; half /= 2)
      for (int l = 0; l < half; l++) t[l] += t[l + half];
    store(v->out + j, t[0]);
  }
}

/// out[j ...] of one vector of columns, its sums in registers: REGISTER_LANES of them at a time,
/// every second one where registers are few, which is a half of the tree in which lanes are added
/// up.
static inline __attribute__((always_inline)) void short_columns(const gemm_vector *v, int64_t j,
                                                                const int WHOLE, int count) {
  enum { PASSES = GEMM_LANES / REGISTER_LANES };
  const int64_t w_row = v->w_row, x_step = v->x_step;
  vec total[PASSES];
#pragma clang loop unroll(full)
  for (int h = 0; h < PASSES; h++) {
    vec sum[REGISTER_LANES];
#pragma clang loop unroll(full)
    for (int l = 0; l < REGISTER_LANES; l++) sum[l] = (vec)0.0f;
    const float *x = v->x + h * x_step, *w = v->w + h * w_row + j;
    int64_t p = v->K - h;
    for (; p > GEMM_LANES - PASSES; p -= GEMM_LANES) {
#pragma clang loop unroll(full)
      for (int l = 0; l < REGISTER_LANES; l++) {
        const vec wv = WHOLE ? load(w) : load_part(w, count);
        sum[l] = __builtin_elementwise_fma((vec)*x, wv, sum[l]);
        x += PASSES * x_step, w += PASSES * w_row;
      }
    }
#pragma clang loop unroll(full)
    for (int l = 0; l < REGISTER_LANES - 1; l++) {
      if (p > l * PASSES) {
        const vec wv = WHOLE ? load(w) : load_part(w, count);
        sum[l] = __builtin_elementwise_fma((vec)*x, wv, sum[l]);
        x += PASSES * x_step, w += PASSES * w_row;
      }
    }
#pragma clang loop unroll(full)
    for (int half = REGISTER_LANES / 2; half > 0; half /= 2)
#pragma clang loop unroll(full)
      for (int l = 0; l < half; l++) sum[l] += sum[l + half];
    total[h] = sum[0];
  }
  store(v->out + j, PASSES == 2 ? total[0] + total[PASSES - 1] : total[0]);
}

static void vector_short(const gemm_vector *v) {
  int64_t j = 0;
  for (; j + VECTOR <= v->columns; j += VECTOR) short_columns(v, j, 1, VECTOR);
  if (j < v->columns) short_columns(v, j, 0, (int)(v->columns - j));
}

/// half[i] = lanes 0..7 of column i's sums + lanes 8..15.
static inline __attribute__((always_inline)) void dot_columns(v8 *half, const gemm_vector *v,
                                                              const float *w, const int COUNT) {
  const int PARTS = GEMM_LANES / VECTOR;
  vec sum[COUNT][PARTS];
  const int64_t w_col = v->w_col;
  const float *x = v->x, *low = w, *high = w + 4 * w_col;
#pragma clang loop unroll(full)
  for (int i = 0; i < COUNT; i++)
#pragma clang loop unroll(full)
    for (int q = 0; q < PARTS; q++) sum[i][q] = (vec)0.0f;
  int64_t p = v->K;
  for (; p >= GEMM_LANES; p -= GEMM_LANES) {
#pragma clang loop unroll(full)
    for (int q = 0; q < PARTS; q++) {
      const vec xv = load(x + q * VECTOR);
#pragma clang loop unroll(full)
      for (int i = 0; i < COUNT; i++)
        sum[i][q] = __builtin_elementwise_fma(
            xv, load((i < 4 ? low + i * w_col : high + (i - 4) * w_col) + q * VECTOR), sum[i][q]);
    }
    x += GEMM_LANES, low += GEMM_LANES, high += GEMM_LANES;
  }
#pragma clang loop unroll(full)
  for (int q = 0; q < PARTS; q++) {
    const int count = (int)(p - q * VECTOR < VECTOR ? p - q * VECTOR : VECTOR);
    if (count <= 0) continue;
    const vec xv = load_part(x + q * VECTOR, count);
#pragma clang loop unroll(full)
    for (int i = 0; i < COUNT; i++) {
      const vec wv =
          load_part((i < 4 ? low + i * w_col : high + (i - 4) * w_col) + q * VECTOR, count);
      // Lanes without a term keep their sums, to the sign of a zero.
      sum[i][q] = first_of(__builtin_elementwise_fma(xv, wv, sum[i][q]), sum[i][q], count);
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < COUNT; i++) half[i] = halved(sum[i]);
}

/// out[i] = h[i][0..7] summed: l and l + 4, then l and l + 2, then l and l + 1.
static inline __attribute__((always_inline)) void fold_eight(float *out, const v8 *h) {
  v8 four[4], two[2];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++)
    four[i] = __builtin_shufflevector(h[i], h[i + 4], 0, 1, 2, 3, 8, 9, 10, 11) +
              __builtin_shufflevector(h[i], h[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; i++)
    two[i] = __builtin_shufflevector(four[i], four[i + 2], 0, 1, 8, 9, 4, 5, 12, 13) +
             __builtin_shufflevector(four[i], four[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
  const v8 one = __builtin_shufflevector(two[0], two[1], 0, 8, 2, 10, 4, 12, 6, 14) +
                 __builtin_shufflevector(two[0], two[1], 1, 9, 3, 11, 5, 13, 7, 15);
  *(v8_unaligned *)out = one;
}

static inline __attribute__((always_inline)) void dot_eight(const gemm_vector *v, int64_t column) {
  v8 half[8];
  for (int i = 0; i < 8; i += DOT_COLUMNS)
    dot_columns(half + i, v, v->w + (column + i) * v->w_col, DOT_COLUMNS);
  fold_eight(v->out + column, half);
}

static void vector_dots(const gemm_vector *v) {
  int64_t j = 0;
  for (; j + 8 <= v->columns; j += 8) dot_eight(v, j);
  if (j == v->columns) return;
  if (v->columns >= 8) return dot_eight(v, v->columns - 8);  // some once more, to the same bits
  v8 half[8];
  for (int64_t i = 0; i < 8; i++) half[i] = (v8)0.0f;
  for (; j < v->columns; j++) dot_columns(half + j, v, v->w + j * v->w_col, 1);
  float out[8];
  fold_eight(out, half);
  for (int64_t i = 0; i < v->columns; i++) v->out[i] = out[i];
}

/// Any strides.
static void vector_any(const gemm_vector *v) {
  for (int64_t j = 0; j < v->columns; j++) {
    float sum[GEMM_LANES] = {0};
    for (int64_t p = 0; p < v->K; p++)
      sum[p % GEMM_LANES] = __builtin_fmaf(v->x[p * v->x_step], v->w[p * v->w_row + j * v->w_col],
                                           sum[p % GEMM_LANES]);
    for (int half = GEMM_LANES / 2; half > 0; half /= 2)
      for (int l = 0; l < half; l++) sum[l] += sum[l + half];
    v->out[j] = sum[0];
  }
}

/// c = act(alpha * out (+ c) + bias).
static void vector_finish(const gemm_vector *v) {
  const vec alpha = (vec)v->alpha;
  for (int64_t j = 0; j < v->columns; j += VECTOR) {
    const int count = (int)(v->columns - j < VECTOR ? v->columns - j : VECTOR);
    float *c = v->c + j * v->c_step;
    float kept[VECTOR];
    vec x = load(v->out + j);
    if (v->accumulate) {
      for (int i = 0; i < VECTOR; i++) kept[i] = i < count ? c[i * v->c_step] : 0.0f;
      x = __builtin_elementwise_fma(alpha, x, load(kept));
    } else {
      x *= alpha;
    }
    if (v->bias) x += v->bias_step ? load_part(v->bias + j, count) : (vec)v->bias[0];
    if (v->relu) x = relu(x);
    if (v->c_step == 1 && count == VECTOR) {
      store(c, x);
    } else if (v->c_step == 1) {
      store_part(c, x, count);
    } else {
      store(kept, x);
      for (int i = 0; i < count; i++) c[i * v->c_step] = kept[i];
    }
  }
}
