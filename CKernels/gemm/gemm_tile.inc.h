// The register tile, written once and compiled at each level. The including file defines `vec` (a
// vector of floats), VECTOR (its length), TILE_ROWS, FLAT_ROWS and `store_part`.
//
// One K step loads NV vectors of B, broadcasts ROWS elements of A and issues ROWS * NV independent
// fused multiply-adds; all sums live in registers until the end. With PACK it copies B on the way,
// which costs nothing beside the multiply-adds.

// Elements from the tile's start to row i of an array whose rows lie `row` apart.
#define ROW(i, row) ((i) * (row) + ((i) < HALF ? 0 : c_apart))

static inline __attribute__((always_inline)) void tile_body(const gemm_tile *t, const int ROWS,
                                                            const int NV, const int PACK) {
  vec sum[TILE_ROWS][4];
  if (!PACK && t->resumes) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) sum[i][v] = load(t->sums + (i * NV + v) * VECTOR);
  } else {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) sum[i][v] = (vec)0.0f;
  }

  const int64_t a_row = t->a_row, a_col = t->a_col, b_row = t->b_row, c_row = t->c_row;
  float *c = t->c;
  // Rows from here on are the second half, which may lie apart.
  const int HALF = (ROWS + 1) / 2;
  const int64_t a_apart = t->halves ? t->a_half : HALF * a_row;
  const int64_t c_apart = t->halves ? t->c_half - HALF * c_row : 0;
  if (PACK || !t->suspends) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v * VECTOR < NV * VECTOR; v += 16 / VECTOR)
        __builtin_prefetch(c + t->ahead + ROW(i, c_row) + v * VECTOR, 1);
  }
  if (t->combination == CK_MOMENTUM) {
    // `other` is mostly where C is.
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v * VECTOR < NV * VECTOR; v += 16 / VECTOR)
        __builtin_prefetch(t->new_weight + ROW(i, c_row) + v * VECTOR, 1);
  } else if (t->combination != CK_ALONE) {
    // Not into L1: rows a power of two apart would drive one another out of it.
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v * VECTOR < NV * VECTOR; v += 16 / VECTOR)
        __builtin_prefetch(t->other + t->ahead + ROW(i, t->other_row) + v * VECTOR, 0, 2);
  }
  if (t->mask) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v * VECTOR < NV * VECTOR; v += 16 / VECTOR)
        __builtin_prefetch(t->mask + t->ahead + ROW(i, t->other_row) + v * VECTOR, 0, 2);
  }

  // Four rows share a pointer, so that the addresses need few registers: base + {0, 1, 2, 3} rows.
  const int QUARTERS = (HALF + 3) / 4;
  const float *a[2 * ((TILE_ROWS + 7) / 8)];
  const float *b = t->b;
  float *packed = t->packed;
  const char *near = t->near ? t->near : (const char *)t->a;
  const int64_t near_step = t->near ? t->near_step : 0;
  const int64_t near_turn = near_step + (t->near ? t->near_turn : 0);
  const int64_t near_rest = t->near_lines ? t->K - t->near_lines : 0;
  int64_t segment = 0;
  const int64_t segments = t->segments && !PACK ? t->segment_count : 1;
  // Steps a multiple of a page apart share a set of L1: of many, the first would be gone again.
  const int64_t b_ahead = PACK         ? PACK_AHEAD * b_row
                          : t->b_ahead ? t->b_ahead
                                       : PREFETCH_STEPS * b_row;
  const int64_t a_ahead = (a_col % 1024 == 0 ? A_AHEAD_FAR : A_AHEAD) * a_col;
  for (; segment < segments; segment++) {
    const float *start = t->a;
    if (!PACK && t->segments) {
      start += t->segments[segment].a;
      b = t->b + t->segments[segment].b;
    }
#pragma clang loop unroll(full)
    for (int q = 0; q < QUARTERS; q++) a[q] = start + 4 * q * a_row;
#pragma clang loop unroll(full)
    for (int q = 0; q < QUARTERS; q++) a[QUARTERS + q] = start + a_apart + 4 * q * a_row;
    for (int64_t p = t->K; p > 0; p--) {
      vec bv[4];
      __builtin_prefetch(near, 0, 2);
      near += p > near_rest ? (p & 15) == 1 ? near_turn : near_step : 0;
      // A's columns may lie anywhere; its rows, read along, the processor fetches by itself.
      if (NV > 1) __builtin_prefetch(a[0] + a_ahead);
      if (NV > 1 && ROWS > 8) __builtin_prefetch(a[0] + a_ahead + (ROWS - 1) * a_row);
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        bv[v] = load(b + v * VECTOR);
        if (PACK) store(packed + v * VECTOR, bv[v]);
        if (NV > 1 && v % (16 / VECTOR) == 0) __builtin_prefetch(b + v * VECTOR + b_ahead);
      }
#pragma clang loop unroll(full)
      for (int i = 0; i < ROWS; i++) {
        const int q = i < HALF ? i / 4 : QUARTERS + (i - HALF) / 4;
        const vec av = (vec)a[q][((i < HALF ? i : i - HALF) % 4) * a_row];
#pragma clang loop unroll(full)
        for (int v = 0; v < NV; v++) sum[i][v] = __builtin_elementwise_fma(av, bv[v], sum[i][v]);
      }
#pragma clang loop unroll(full)
      for (int q = 0; q < 2 * QUARTERS; q++) {
        a[q] += a_col;
        // Pointers of their own: else the compiler walks from each row to the next, which is a
        // chain of additions as long as the multiply-adds, or keeps one pointer a row in memory.
        __asm__("" : "+r"(a[q]));
      }
      b += b_row;
      if (PACK) packed += NV * VECTOR;
    }
  }

  if (!PACK && t->suspends) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) store(t->sums + (i * NV + v) * VECTOR, sum[i][v]);
    return;
  }
  const vec alpha = (vec)t->alpha;
  const int last = t->columns - (NV - 1) * VECTOR;
  if (t->accumulate) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        const float *at = c + ROW(i, c_row) + v * VECTOR;
        const vec old = v == NV - 1 && last < VECTOR ? load_part(at, last) : load(at);
        sum[i][v] = __builtin_elementwise_fma(alpha, sum[i][v], old);
      }
  } else if (t->alpha != 1.0f) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) sum[i][v] *= alpha;
  }
  if (t->bias) {
    vec bias[4];
#pragma clang loop unroll(full)
    for (int v = 0; v < NV; v++) {
      const float *at = t->bias + v * VECTOR;
      bias[v] = v == NV - 1 && last < VECTOR ? load_part(at, last) : load(at);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) sum[i][v] += bias[v];
  }
  if (t->combination == CK_MOMENTUM) {
    const vec momentum = (vec)t->momentum, rate = (vec)t->rate;
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        const int64_t at = ROW(i, t->other_row) + v * VECTOR;
        float *to = t->new_weight + ROW(i, c_row) + v * VECTOR;
        const bool part = v == NV - 1 && last < VECTOR;
        const vec old = part ? load_part(t->other + at, last) : load(t->other + at);
        const vec weight = part ? load_part(t->weight + at, last) : load(t->weight + at);
        sum[i][v] = old * momentum + sum[i][v];
        const vec updated = weight - sum[i][v] * rate;
        if (part) {
          store_part(to, updated, last);
        } else {
          store(to, updated);
        }
      }
  } else if (t->combination != CK_ALONE) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        const float *at = t->other + ROW(i, t->other_row) + v * VECTOR;
        const vec other = v == NV - 1 && last < VECTOR ? load_part(at, last) : load(at);
        sum[i][v] = t->combination == CK_ADD ? sum[i][v] + other : gate(other, sum[i][v]);
      }
  }
  if (t->mask) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) {
        const float *at = t->mask + ROW(i, t->other_row) + v * VECTOR;
        sum[i][v] = gate(v == NV - 1 && last < VECTOR ? load_part(at, last) : load(at), sum[i][v]);
      }
  }
  if (t->relu) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) sum[i][v] = relu(sum[i][v]);
  }
  if (last == VECTOR) {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++)
#pragma clang loop unroll(full)
      for (int v = 0; v < NV; v++) store(c + ROW(i, c_row) + v * VECTOR, sum[i][v]);
  } else {
#pragma clang loop unroll(full)
    for (int i = 0; i < ROWS; i++) {
#pragma clang loop unroll(full)
      for (int v = 0; v < NV - 1; v++) store(c + ROW(i, c_row) + v * VECTOR, sum[i][v]);
      store_part(c + ROW(i, c_row) + (NV - 1) * VECTOR, sum[i][NV - 1], last);
    }
  }
}

#undef ROW
