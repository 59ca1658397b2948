// Folds of f32 that have a loop of their own: the greatest and the least, which test for NaN once a
// row, and sums of products, which go through no slot. The same bits as the general folds of
// loop_reduce.h. A part of loop_body.h.
#ifndef LOOP_FOLDS_H
#define LOOP_FOLDS_H

// s combined with its lanes turned by `half`: after 8, 4, 2 and 1 every lane holds the result.
#define TURN(s, l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10, l11, l12, l13, l14, l15)            \
  __builtin_shufflevector(s, s, l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10, l11, l12, l13, l14, \
                          l15)
#define ACROSS(s, combination)                                                               \
  a = s, b = TURN(s, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7), s = combination; \
  a = s, b = TURN(s, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11), s = combination; \
  a = s, b = TURN(s, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13), s = combination; \
  a = s, b = TURN(s, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14), s = combination;

// MARK: The greatest and the least

/// The greatest (or least) of `whole` vectors at p, `move` bytes from one to the next, and of
/// `tail` lanes of another, in four accumulators where there are 8 vectors and more, then lane by
/// lane in *result. A NaN is passed over here: false where there is one, or where Inf stands beside
/// -Inf, and the caller has to look again with the test for NaN at every step.
CK_INLINE bool extreme_of(ck_v16f *result, bool greatest, const char *p, int64_t move,
                          int64_t whole, int tail) {
#define EXTREME(b, a) (greatest ? ck_max_second(b, a) : ck_min_second(b, a))
  const ck_v16f one = ck_splat(greatest ? -INFINITY : INFINITY);
  // Their sum is NaN where one of them is.
  ck_v16f s = one, sum = ck_splat(0);
  int64_t v = 0;
  if (whole >= 8) {
    ck_v16f s1 = one, s2 = one, s3 = one;
    for (; v + 4 <= whole; v += 4, p += 4 * move) {
      const ck_v16f a = ck_load(p), b = ck_load(p + move);
      const ck_v16f c = ck_load(p + 2 * move), d = ck_load(p + 3 * move);
      s = EXTREME(a, s), s1 = EXTREME(b, s1), s2 = EXTREME(c, s2), s3 = EXTREME(d, s3);
      sum += (a + b) + (c + d);
    }
    s = EXTREME(s1, s), s2 = EXTREME(s3, s2), s = EXTREME(s2, s);
  }
  for (; v < whole; v++, p += move) {
    const ck_v16f a = ck_load(p);
    s = EXTREME(a, s), sum += a;
  }
  if (tail) {
    const ck_v16f a = ck_load_n(p, tail);
    s = EXTREME(ck_select(ck_lanes() < tail, a, one), s), sum += a;
  }
  *result = s;
  return !ck_any(sum != sum);
#undef EXTREME
}

/// Row by row as fold_rows; returns how many rows it did, up to the first with a NaN.
static int64_t fold_extremes(int op, char *d, int64_t spread, const char *p, int64_t step,
                             int64_t pitch, int64_t rows, int64_t columns) {
  const bool greatest = op == CK_OP_reduce_max_f32;
  const int tail = (int)(columns % 16);
  for (int64_t r = 0; r < rows; r++, d += spread * 4, p += pitch * 4) {
    ck_v16f a, b, s;
    const bool plain = greatest ? extreme_of(&s, true, p, step * 4, columns / 16, tail)
                                : extreme_of(&s, false, p, step * 4, columns / 16, tail);
    if (!plain) return r;
    if (greatest) {
      ACROSS(s, ck_max_second(b, a))
    } else {
      ACROSS(s, ck_min_second(b, a))
    }
    for (int64_t c = 0; c < spread; c += 16) ck_store(d + c * 4, ck_splat(s[0]));
  }
  return rows;
}

// MARK: Sums of products

/// A factor as a tile has it: elements from vector to vector, and from row to row.
typedef struct factor {
  const char *p;
  int64_t step, pitch;
} factor;

CK_INLINE ck_v16f product_at(const char *p, const char *q) { return ck_load(p) * ck_load(q); }

/// Lane by lane the sum of `whole` products of vectors and `tail` lanes of one more. `run`: in the
/// order of fold_run, else of fold_rows.
CK_INLINE ck_v16f sum_products(const char *p, int64_t move_p, const char *q, int64_t move_q,
                               int64_t whole, int tail, bool run) {
  ck_v16f s = ck_splat(0), s1 = s, s2 = s, s3 = s;
  int64_t v = 0;
  if (run || whole >= 8) {
    for (; v + 4 <= whole; v += 4, p += 4 * move_p, q += 4 * move_q) {
      s += product_at(p, q);
      s1 += product_at(p + move_p, q + move_q);
      s2 += product_at(p + 2 * move_p, q + 2 * move_q);
      s3 += product_at(p + 3 * move_p, q + 3 * move_q);
    }
    if (!run) s = (s + s1) + (s2 + s3);
  }
  for (; v < whole; v++, p += move_p, q += move_q) s += product_at(p, q);
  if (tail) {
    const ck_v16f last = ck_load_n(p, tail) * ck_load_n(q, tail);
    if (run) {
      s1 += last;
    } else {
      s += last;
    }
  }
  return run ? (s + s1) + (s2 + s3) : s;
}

/// As fold_run.
static void fold_run_products(char *to, const factor *x, const factor *y, int64_t count) {
  ck_store(to,
           sum_products(x->p, x->step * 4, y->p, y->step * 4, count / 16, (int)(count % 16), true));
}

/// As fold_rows.
static void fold_rows_products(char *d, int64_t spread, const factor *x, const factor *y,
                               int64_t rows, int64_t columns) {
  const int tail = (int)(columns % 16);
  const bool is_square = x->p == y->p && x->step == y->step;
  for (int64_t r = 0; r < rows; r++, d += spread * 4) {
    const char *p = x->p + r * x->pitch * 4, *q = y->p + r * y->pitch * 4;
    ck_v16f a, b, s;
    if (is_square) {
      s = sum_products(p, x->step * 4, p, x->step * 4, columns / 16, tail, false);
    } else {
      s = sum_products(p, x->step * 4, q, y->step * 4, columns / 16, tail, false);
    }
    ACROSS(s, a + b)
    for (int64_t c = 0; c < spread; c += 16) ck_store(d + c * 4, ck_splat(s[0]));
  }
}

/// As fold_columns.
static void fold_columns_products(char *to, const factor *x, const factor *y, int64_t rows,
                                  int64_t columns) {
  const int64_t by_x = (x->step ? x->pitch : 0) * 4, by_y = (y->step ? y->pitch : 0) * 4;
  const char *p = x->p, *q = y->p;
  int64_t r = 0;
  while (r < rows) {
    const int some = r + 4 <= rows ? 4 : 1;
    for (int64_t c = 0; c < columns; c += 16) {
      const int count = columns - c < 16 ? (int)(columns - c) : 16;
      const char *u = p + (x->step ? 4 * c : 0), *v = q + (y->step ? 4 * c : 0);
      ck_v16f sum = ck_load_n(u, count) * ck_load_n(v, count);
      if (some == 4) {
        sum += ck_load_n(u + by_x, count) * ck_load_n(v + by_y, count);
        sum += ck_load_n(u + 2 * by_x, count) * ck_load_n(v + 2 * by_y, count) +
               ck_load_n(u + 3 * by_x, count) * ck_load_n(v + 3 * by_y, count);
      }
      ck_store(to + 4 * c, ck_load(to + 4 * c) + sum);
    }
    r += some, p += some * by_x, q += some * by_y;
  }
}

#endif
