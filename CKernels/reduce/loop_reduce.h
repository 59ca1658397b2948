// Reductions of the tile machine. A part of loop_body.h.
//
// Sums are pairwise: blocks (a tile, or 16 rows) are summed in registers, then blocks are combined
// like the digits of a binary counter, so that the tree depends on the number of blocks alone and
// the error grows with its logarithm. Parts of a long row or a tall column go to different threads,
// which leave partial results in the workspace; the same counter combines those in order.
#ifndef LOOP_REDUCE_H
#define LOOP_REDUCE_H

#define REDUCE_TYPE_F ck_v16f
#define REDUCE_TYPE_I ck_v16i
#define REDUCE_TYPE_L ck_v16l
#define REDUCE_TYPE_B ck_v16i

/// Bytes of an accumulator's lane.
CK_INLINE int64_t lane_bytes(int op) {
  return op >= CK_OP_reduce_sum_i64 && op <= CK_OP_reduce_min_i64 ? 8 : 4;
}

// MARK: Vectors

/// *p = the identity of the reduction.
static void put_identity(int op, char *p) {
  switch (op) {
#define CK_REDUCE(name, class, identity, combination)                \
  case CK_OP_##name: {                                               \
    const REDUCE_TYPE_##class one = (REDUCE_TYPE_##class)(identity); \
    PUT_##class(p, one);                                             \
    break;                                                           \
  }
#include "eltwise_ops.inc"
  }
}

/// `count` vectors: to = to . from, lane by lane.
static void combine(int op, char *to, const char *from, int64_t count) {
  switch (op) {
#define CK_REDUCE(name, class, identity, combination)                                         \
  case CK_OP_##name:                                                                          \
    for (int64_t v = 0; v < count; v++, to += 16 * SIZE_##class, from += 16 * SIZE_##class) { \
      const REDUCE_TYPE_##class a = GET_##class(to);                                          \
      const REDUCE_TYPE_##class b = GET_##class(from);                                        \
      PUT_##class(to, combination);                                                           \
    }                                                                                         \
    break;
#include "eltwise_ops.inc"
  }
}

/// The 16 lanes at `from` combined by halves; the result in every lane of the vector at `to`.
static void combine_lanes(int op, char *to, const char *from) {
  switch (op) {
#define CK_REDUCE(name, class, identity, combination) \
  case CK_OP_##name: {                                \
    REDUCE_TYPE_##class a, b, s = GET_##class(from);  \
    ACROSS(s, combination)                            \
    PUT_##class(to, (REDUCE_TYPE_##class)s[0]);       \
    break;                                            \
  }
#include "eltwise_ops.inc"
  }
}

// The elements of a masked load that are not there count as the identity.
#define REST(class, v, n, identity) \
  (REDUCE_TYPE_##class)(FILL_##class(v, n, (REDUCE_TYPE_##class)(identity)))
#define FILL_F(v, n, one) ck_select(ck_lanes() < (n), v, one)
#define FILL_I(v, n, one) ck_select_i32(ck_lanes() < (n), v, one)
#define FILL_B(v, n, one) ck_select_i32(ck_lanes() < (n), v, one)
#define FILL_L(v, n, one) ck_select_i64(ck_lanes() < (n), v, one)
#define GET_N_F ck_load_n
#define GET_N_I ck_load_i32_n
#define GET_N_B ck_load_i32_n
#define GET_N_L ck_load_i64_n

/// `count` elements from p on, `step` from vector to vector, combined to the vector at `to`: four
/// accumulators, then those in pairs.
static void fold_run(int op, char *to, const char *p, int64_t step, int64_t count) {
  const int64_t whole = count / 16;
  const int tail = (int)(count % 16);
  switch (op) {
#define CK_REDUCE(name, class, identity, combination)                               \
  case CK_OP_##name: {                                                              \
    typedef REDUCE_TYPE_##class vector;                                             \
    const vector one = (vector)(identity);                                          \
    vector s0 = one, s1 = one, s2 = one, s3 = one, a, b;                            \
    const int64_t move = step * SIZE_##class;                                       \
    int64_t v = 0;                                                                  \
    for (; v + 4 <= whole; v += 4, p += 4 * move) {                                 \
      a = s0, b = GET_##class(p), s0 = combination;                                 \
      a = s1, b = GET_##class(p + move), s1 = combination;                          \
      a = s2, b = GET_##class(p + 2 * move), s2 = combination;                      \
      a = s3, b = GET_##class(p + 3 * move), s3 = combination;                      \
    }                                                                               \
    for (; v < whole; v++, p += move) a = s0, b = GET_##class(p), s0 = combination; \
    if (tail) {                                                                     \
      b = GET_N_##class(p, tail);                                                   \
      a = s1, b = REST(class, b, tail, identity), s1 = combination;                 \
    }                                                                               \
    a = s0, b = s1, s0 = combination;                                               \
    a = s2, b = s3, s2 = combination;                                               \
    a = s0, b = s2;                                                                 \
    PUT_##class(to, combination);                                                   \
    break;                                                                          \
  }
#include "eltwise_ops.inc"
  }
}

/// Each of `rows` rows combined by itself: `columns` elements, `step` from vector to vector and
/// `pitch` from row to row. The result goes all over the row at d, `spread` elements long (and up
/// to 15 elements further).
static void fold_rows(int op, char *d, int64_t spread, const char *p, int64_t step, int64_t pitch,
                      int64_t rows, int64_t columns) {
  const int64_t whole = columns & ~(int64_t)15;
  const int tail = (int)(columns - whole);
  if (op == CK_OP_reduce_max_f32 || op == CK_OP_reduce_min_f32) {
    const int64_t done = fold_extremes(op, d, spread, p, step, pitch, rows, columns);
    d += done * spread * 4, p += done * pitch * 4, rows -= done;
  }
  switch (op) {
#define CK_REDUCE(name, class, identity, combination)                                           \
  case CK_OP_##name: {                                                                          \
    typedef REDUCE_TYPE_##class vector;                                                         \
    const vector one = (vector)(identity);                                                      \
    for (int64_t r = 0; r < rows; r++, d += spread * SIZE_##class, p += pitch * SIZE_##class) { \
      const char *q = p;                                                                        \
      const int64_t move = step * SIZE_##class;                                                 \
      vector s = one, a, b;                                                                     \
      int64_t c = 0;                                                                            \
      if (whole >= 128) {                                                                       \
        vector s1 = one, s2 = one, s3 = one;                                                    \
        for (; c + 64 <= whole; c += 64, q += 4 * move) {                                       \
          a = s, b = GET_##class(q), s = combination;                                           \
          a = s1, b = GET_##class(q + move), s1 = combination;                                  \
          a = s2, b = GET_##class(q + 2 * move), s2 = combination;                              \
          a = s3, b = GET_##class(q + 3 * move), s3 = combination;                              \
        }                                                                                       \
        a = s, b = s1, s = combination;                                                         \
        a = s2, b = s3, s2 = combination;                                                       \
        a = s, b = s2, s = combination;                                                         \
      }                                                                                         \
      for (; c < whole; c += 16, q += move) a = s, b = GET_##class(q), s = combination;         \
      if (tail) {                                                                               \
        b = GET_N_##class(q, tail);                                                             \
        a = s, b = REST(class, b, tail, identity), s = combination;                             \
      }                                                                                         \
      ACROSS(s, combination)                                                                    \
      s = (vector)s[0];                                                                         \
      for (c = 0; c < spread; c += 16) PUT_##class(d + c * SIZE_##class, s);                    \
    }                                                                                           \
    break;                                                                                      \
  }
#include "eltwise_ops.inc"
  }
}

/// Rows of a tile, `pitch` elements apart, combined column by column into the vectors at `to`.
/// `fetches`: the rows come from memory, which is read best from one line to the next. The four
/// rows after those at hand are asked for in that order.
static void fold_columns(int op, char *to, const char *p, int64_t step, int64_t pitch, int64_t rows,
                         int64_t columns, bool fetches) {
  fetches = fetches && step && pitch == columns;
  switch (op) {
#define CK_REDUCE(name, class, identity, combination)                                         \
  case CK_OP_##name: {                                                                        \
    typedef REDUCE_TYPE_##class vector;                                                       \
    const int64_t apart = (step ? pitch : 0) * SIZE_##class;                                  \
    const int64_t whole = columns & ~(int64_t)15;                                             \
    const int tail = (int)(columns - whole);                                                  \
    vector a, b, s;                                                                           \
    int64_t r = 0;                                                                            \
    for (; r + 4 <= rows; r += 4, p += 4 * apart) {                                           \
      for (int64_t c = 0; c < columns; c += 16) {                                             \
        const char *q = p + (step ? c : 0) * SIZE_##class;                                    \
        vector low, high;                                                                     \
        if (fetches) {                                                                        \
          const char *next = p + 4 * apart + 4 * c * SIZE_##class;                            \
          for (int k = 0; k < SIZE_##class; k++) __builtin_prefetch(next + 64 * k, 0, 2);     \
        }                                                                                     \
        if (c < whole) {                                                                      \
          a = GET_##class(q), b = GET_##class(q + apart), low = combination;                  \
          a = GET_##class(q + 2 * apart), b = GET_##class(q + 3 * apart), high = combination; \
        } else {                                                                              \
          a = GET_N_##class(q, tail), b = GET_N_##class(q + apart, tail), low = combination;  \
          a = GET_N_##class(q + 2 * apart, tail), b = GET_N_##class(q + 3 * apart, tail);     \
          high = combination;                                                                 \
        }                                                                                     \
        a = low, b = high, s = combination;                                                   \
        a = GET_##class(to + c * SIZE_##class), b = s;                                        \
        PUT_##class(to + c * SIZE_##class, combination);                                      \
      }                                                                                       \
    }                                                                                         \
    for (; r < rows; r++, p += apart) {                                                       \
      for (int64_t c = 0; c < columns; c += 16) {                                             \
        const char *q = p + (step ? c : 0) * SIZE_##class;                                    \
        a = GET_##class(to + c * SIZE_##class);                                               \
        b = c < whole ? GET_##class(q) : GET_N_##class(q, tail);                              \
        PUT_##class(to + c * SIZE_##class, combination);                                      \
      }                                                                                       \
    }                                                                                         \
    break;                                                                                    \
  }
#include "eltwise_ops.inc"
  }
}

// MARK: The binary counter

/// Level `level` of reduction r's counter; level LOOP_LEVELS is where a block is made.
CK_INLINE char *level_of(const frame *f, int r, int level) {
  return f->scratch + f->layout.accumulators +
         ((size_t)r * (LOOP_LEVELS + 1) + (size_t)level) * f->layout.level_stride;
}

static inline void copy_vectors(int op, char *to, const char *from, int64_t vectors) {
  const int64_t bytes = vectors * 16 * lane_bytes(op);
  for (int64_t i = 0; i < bytes; i += 64) ck_store(to + i, ck_load(from + i));
}

/// Adds the block at level_of(f, r, LOOP_LEVELS), `vectors` long.
static void count_block(frame *f, int op, int r, int64_t vectors) {
  char *block = level_of(f, r, LOOP_LEVELS);
  int64_t n = f->blocks[r]++;
  int level = 0;
  // Earlier blocks stand on the left.
  for (; n & 1; n >>= 1, level++) {
    char *left = level_of(f, r, level);
    combine(op, left, block, vectors);
    block = left;
  }
  char *place = level_of(f, r, level);
  if (place != block) copy_vectors(op, place, block, vectors);
}

/// The total of all blocks, in level_of(f, r, LOOP_LEVELS); begins anew.
static char *finish_blocks(frame *f, int op, int r, int64_t vectors) {
  char *total = level_of(f, r, LOOP_LEVELS);
  if (f->pending[r] > 0) {
    f->pending[r] = 0;
    if (f->blocks[r] == 0) return total;
    count_block(f, op, r, vectors);
  }
  int64_t n = f->blocks[r];
  f->blocks[r] = 0;
  bool some = false;
  for (int level = 0; n; n >>= 1, level++) {
    if (!(n & 1)) continue;
    char *left = level_of(f, r, level);
    if (some) combine(op, left, total, vectors);
    copy_vectors(op, total, left, vectors);
    some = true;
  }
  if (!some) {
    const int64_t each = 16 * lane_bytes(op);
    for (int64_t v = 0; v < vectors; v++) put_identity(op, total + v * each);
  }
  return total;
}

/// Rows that make a block of columns, at least and at most: few enough that adding them one to the
/// other costs no precision. A tile of few columns has hundreds.
enum { BLOCK_ROWS = 16, MOST_ROWS = 64 };

/// A slot of whole rows: elements from vector to vector within one, and from row to row.
CK_INLINE int64_t packed_step(const slot *s) { return s->step & ~(int64_t)BY_ROW ? 16 : 0; }
CK_INLINE int64_t packed_pitch(const frame *f, const slot *s) {
  return s->step == BY_ROW ? 16 : (s->step == 16 ? f->columns : 0);
}

/// A reduce instruction on the tile at hand.
static void reduce_tile(frame *f, const ck_loop_instruction *at) {
  const slot *from = &f->slots[at->a];
  const int op = at->op, r = at->c;
  if (f->packed) {
    f->slots[at->dst].p = f->own[at->dst];
    f->slots[at->dst].step = f->by_rows ? BY_ROW : 16;
    const int64_t step = packed_step(from), pitch = packed_pitch(f, from);
    const int64_t spread = f->by_rows ? 16 : f->columns;
    if (at->flags & CK_LOOP_PRODUCT) {
      const slot *other = &f->slots[at->b];
      const factor x = {from->p, step, pitch};
      const factor y = {other->p, packed_step(other), packed_pitch(f, other)};
      fold_rows_products(f->own[at->dst], spread, &x, &y, f->rows, f->columns);
      return;
    }
    fold_rows(op, f->own[at->dst], spread, from->p, step, pitch, f->rows, f->columns);
    return;
  }
  char *block = level_of(f, r, LOOP_LEVELS);
  if (f->args->kind == 1) {
    if (f->pending[r] > 0) count_block(f, op, r, 1);
    if (at->flags & CK_LOOP_PRODUCT) {
      const factor x = {from->p, from->step, 0}, y = {f->slots[at->b].p, f->slots[at->b].step, 0};
      fold_run_products(block, &x, &y, f->count);
    } else {
      fold_run(op, block, from->p, from->step, f->count);
    }
    f->pending[r] = 1;
    return;
  }
  const int64_t vectors = (f->columns + 15) / 16;
  const int64_t pitch = f->pitch ? f->pitch[at->a] : f->columns;
  const int64_t each = 16 * lane_bytes(op);
  for (int64_t row = 0; row < f->rows; row += MOST_ROWS) {
    const int64_t rows = f->rows - row < MOST_ROWS ? f->rows - row : MOST_ROWS;
    if (f->pending[r] == 0) {
      for (int64_t v = 0; v < vectors; v++) put_identity(op, block + v * each);
    }
    const char *p = from->p + (from->step ? row * pitch * lane_bytes(op) : 0);
    if (at->flags & CK_LOOP_PRODUCT) {
      const slot *other = &f->slots[at->b];
      const factor x = {p, from->step, pitch};
      factor y = {other->p, other->step, f->pitch ? f->pitch[at->b] : f->columns};
      if (y.step) y.p += row * y.pitch * 4;
      fold_columns_products(block, &x, &y, rows, f->columns);
    } else {
      fold_columns(op, block, p, from->step, pitch, rows, f->columns, f->fetches);
    }
    f->pending[r] += rows;
    if (f->pending[r] >= BLOCK_ROWS) {
      count_block(f, op, r, vectors);
      f->pending[r] = 0;
    }
  }
}

#endif
