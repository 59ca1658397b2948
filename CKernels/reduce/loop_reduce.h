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

/// The 16 lanes at p combined by halves; the result is in lane 0 of the vector put back there.
static void combine_lanes(int op, char *p) {
  const int64_t size = lane_bytes(op);
  char other[128] __attribute__((aligned(64)));
  for (int half = 8; half > 0; half /= 2) {
    memcpy(other, p + half * size, (size_t)(half * size));
    combine(op, p, other, 1);
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

/// Rows of a tile combined column by column: to[c] = fold over r of the slot's row r, for `columns`
/// columns in whole vectors. Four accumulators take the rows in turn.
static void fold_columns(int op, char *to, const char *p, int64_t step, int64_t rows,
                         int64_t columns) {
  switch (op) {
#define CK_REDUCE(name, class, identity, combination)                                            \
  case CK_OP_##name: {                                                                           \
    typedef REDUCE_TYPE_##class vector;                                                          \
    const vector one = (vector)(identity);                                                       \
    const int64_t pitch = (step ? columns : 0) * SIZE_##class;                                   \
    for (int64_t c = 0; c < columns; c += 16) {                                                  \
      const int n = columns - c < 16 ? (int)(columns - c) : 16;                                  \
      const char *q = p + (step ? c : 0) * SIZE_##class;                                         \
      vector s[4] = {one, one, one, one}, a, b;                                                  \
      if (n == 16) {                                                                             \
        int64_t r = 0;                                                                           \
        for (; r + 4 <= rows; r += 4, q += 4 * pitch) {                                          \
          a = s[0], b = GET_##class(q), s[0] = combination;                                      \
          a = s[1], b = GET_##class(q + pitch), s[1] = combination;                              \
          a = s[2], b = GET_##class(q + 2 * pitch), s[2] = combination;                          \
          a = s[3], b = GET_##class(q + 3 * pitch), s[3] = combination;                          \
        }                                                                                        \
        for (; r < rows; r++, q += pitch) a = s[0], b = GET_##class(q), s[0] = combination;      \
      } else {                                                                                   \
        int64_t r = 0;                                                                           \
        for (; r + 4 <= rows; r += 4, q += 4 * pitch) {                                          \
          a = s[0], b = GET_N_##class(q, n), s[0] = combination;                                 \
          a = s[1], b = GET_N_##class(q + pitch, n), s[1] = combination;                         \
          a = s[2], b = GET_N_##class(q + 2 * pitch, n), s[2] = combination;                     \
          a = s[3], b = GET_N_##class(q + 3 * pitch, n), s[3] = combination;                     \
        }                                                                                        \
        for (; r < rows; r++, q += pitch) a = s[0], b = GET_N_##class(q, n), s[0] = combination; \
      }                                                                                          \
      a = s[0], b = s[1], s[0] = combination;                                                    \
      a = s[2], b = s[3], s[2] = combination;                                                    \
      a = s[0], b = s[2];                                                                        \
      PUT_##class(to + c * SIZE_##class, combination);                                           \
    }                                                                                            \
    break;                                                                                       \
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
  if (place != block) memcpy(place, block, (size_t)(vectors * 16 * lane_bytes(op)));
}

/// Puts the total of all blocks into level_of(f, r, LOOP_LEVELS) and begins anew.
static char *finish_blocks(frame *f, int op, int r, int64_t vectors) {
  char *total = level_of(f, r, LOOP_LEVELS);
  const size_t bytes = (size_t)(vectors * 16 * lane_bytes(op));
  int64_t n = f->blocks[r];
  f->blocks[r] = 0;
  bool some = false;
  for (int level = 0; n; n >>= 1, level++) {
    if (!(n & 1)) continue;
    char *left = level_of(f, r, level);
    if (some) combine(op, left, total, vectors);
    memcpy(total, left, bytes);
    some = true;
  }
  if (!some) {
    const int64_t each = 16 * lane_bytes(op);
    for (int64_t v = 0; v < vectors; v++) put_identity(op, total + v * each);
  }
  return total;
}

/// A reduce instruction on the tile at hand.
static void reduce_tile(frame *f, const ck_loop_instruction *at) {
  const slot *from = &f->slots[at->a];
  const int op = at->op, r = at->c;
  const int64_t size = lane_bytes(op);
  if (f->packed) {
    // Each row by itself; its result at once all over the row.
    char *d = f->own[at->dst];
    char value[128] __attribute__((aligned(64)));
    for (int64_t row = 0; row < f->rows; row++) {
      const int64_t place = row * f->columns * size;
      fold_run(op, value, from->p + (from->step ? place : 0), from->step, f->columns);
      combine_lanes(op, value);
      if (size == 8) {
        int64_t x;
        memcpy(&x, value, 8);
        for (int64_t c = 0; c < f->columns; c += 16)
          ck_store_i64(d + place + 8 * c, ck_splat_i64(x));
      } else {
        int32_t x;
        memcpy(&x, value, 4);
        for (int64_t c = 0; c < f->columns; c += 16)
          ck_store_i32(d + place + 4 * c, ck_splat_i32(x));
      }
    }
    f->slots[at->dst].p = d;
    f->slots[at->dst].step = 16;
    return;
  }
  char *block = level_of(f, r, LOOP_LEVELS);
  if (f->args->kind == 1) {
    fold_run(op, block, from->p, from->step, f->count);
    count_block(f, op, r, 1);
  } else {
    fold_columns(op, block, from->p, from->step, f->rows, f->columns);
    count_block(f, op, r, (f->columns + 15) / 16);
  }
}

#endif
