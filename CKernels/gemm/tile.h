// The register tile of the products: what a level's microkernels (gemm_avx512.c, …) do, and what
// who writes a kernel of products needs to know of them.
//
// A driver cuts its result into tiles, brings what it must into panels by `pack`, and calls `tile`
// for each. Drivers are those of the products (gemm.c, gemm_narrow.c) and of the convolutions
// (conv/). A tile knows no team and allocates nothing.
#ifndef GEMM_TILE_H
#define GEMM_TILE_H

#include "ck_gemm.h"

/// Where a segment of a tile's terms begins: elements from `a` and `b`.
typedef struct gemm_segment {
  int64_t a, b;
} gemm_segment;

/// One register tile: C[rows, columns] = act(alpha * A B (+ C) + bias, other) over K steps.
///
/// A is read an element at a time (broadcast), at any strides. B is read in whole vectors: where
/// `columns` is not a multiple of the vector length, the memory up to the next multiple must be
/// readable (packed panels are padded with zeros).
///
/// A convolution is such a product as well: A is the image, each segment the taps of one of its
/// rows, and the two halves of a tile may be two rows of a small image.
typedef struct gemm_tile {
  const float *a;  // a[i * a_row + p * a_col]
  int64_t a_row, a_col;
  int64_t a_half, c_half;  // where `halves`: from the first row to the first of the second half
  const float *b;          // b[p * b_row + j]
  int64_t b_row;
  float *packed;  // where B is copied to, [K][columns], on the way; NULL for nowhere
  float *c;       // c[i * c_row + j]
  int64_t c_row;
  int64_t K;
  // Where not NULL, the products of all segments are summed, one after the other, each of K steps
  // from a + a and b + b. Not with `packed`.
  const struct gemm_segment *segments;
  int64_t segment_count;
  // A sum may be made of several tiles, each of some of its terms: the sums wait here in between,
  // [rows][vectors up to `columns`], exactly as the registers had them. Not with `packed`, nor of
  // pairs.
  float *sums;
  int32_t resumes, suspends;  // 1: the sums begin with those; they go there, and C is left alone
  int64_t b_ahead;    // elements of B from a step's to those to bring near; 0: some steps on
  const float *bias;  // of the tile's first column, or NULL
  const float *from;  // `accumulate` adds to from[i * from_row + j]; NULL: to C (pairs only)
  int64_t from_row;
  // Memory that is needed soon, of which each step brings one line near, `near_step` bytes on from
  // the last one's; NULL for nothing.
  const char *near;
  int64_t near_step;
  int64_t near_turn;   // bytes more every sixteenth step: a line of sixteen rows, then their next
  int64_t near_lines;  // of so many steps, the first of each segment; 0: of all
  int64_t ahead;       // elements from C's rows, and the others', to those to bring near
  const float *other;  // other[i * other_row + j], unless `combination` is CK_ALONE
  const float *mask;   // as `ck_epilogue` has it, or NULL; lies as `other` (not of pairs)
  int64_t other_row;
  float alpha;
  int32_t accumulate, relu;
  int32_t combination;   // ck_combination, before `relu`
  int32_t narrow_other;  // 1: other is bf16 (pairs only)
  const float *weight;   // weight[i * other_row + j], of CK_MOMENTUM (not of pairs)
  float *new_weight;     // new_weight[i * c_row + j]
  float rate, momentum;
  int32_t rows, columns;
  int32_t halves;  // 1: the second half of an even number of rows lies apart, in A, C and `other`
  int32_t dots;    // 1: b lies [columns up to a power of two][b_row words] (pairs only)
  int32_t narrow;  // 1: c is bf16 (pairs only; with `accumulate` only where there is `from`)
} gemm_tile;

/// What the driver of one row or one column hands on: gemm_internal.h.
typedef struct gemm_vector gemm_vector;

/// A level: its microkernels and the sizes the driver blocks for.
typedef struct gemm_level {
  ck_isa isa;
  int32_t vector;         // floats in a vector
  int32_t max_rows;       // tile rows that go with `columns`
  int32_t narrow_rows;    // tile rows that go with one vector of columns
  int32_t columns;        // tile columns: width of a packed panel of B
  int32_t direct_rows;    // up to so many, B is read in place also where its rows collide
  int32_t flat_rows;      // up to so many rows, tiles are twice as wide where B allows
  int32_t block_rows;     // rows of A packed at a time: block_rows * K block stays in L2
  int32_t block_columns;  // columns of B packed at a time: stays in the thread's part of L3
  int32_t fused_rows;     // with an epilogue: the block of C that is kept, in L2, until it is done
  int32_t fused_columns;
  void (*tile)(const gemm_tile *);
  void (*vector_rows)(const gemm_vector *);    // adds K terms to the lanes' sums; w_col is 1
  void (*vector_short)(const gemm_vector *);   // out = all of the sums of few terms; w_col is 1
  void (*vector_fold)(const gemm_vector *);    // out = the lanes' sums added up
  void (*vector_dots)(const gemm_vector *);    // out = all of the sums; w_row and x_step are 1
  void (*vector_any)(const gemm_vector *);     // the same at any strides
  void (*vector_finish)(const gemm_vector *);  // c = act(alpha * out (+ c) + bias)
  /// panel[p * stride + i] = source[i * across + p * along] for i < width, p < K; zero from there
  /// up to the next multiple of the vector length, where `stride` leaves room for it.
  void (*pack)(float *panel, int64_t stride, int64_t width, int64_t K, const float *source,
               int64_t across, int64_t along);
} gemm_level;

#if defined(__x86_64__)
extern const gemm_level gemm_avx2, gemm_avx512;
#endif

/// How many rows of f32 that lie so far apart a tile can walk along before they drive one another
/// out of L1: lines a page apart share a set, which has as many ways. `left` of them, one or two,
/// are for what else is read. gemm_share.c.
int64_t gemm_rows_that_fit(int64_t stride, int64_t left);

// MARK: Ranges

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t greatest(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

typedef struct range {
  int64_t begin, end;
} range;

static inline int64_t length(range r) { return r.end - r.begin; }

/// Block i of `count` nearly equal ones.
static inline range block_of(range whole, int64_t count, int64_t i) {
  return (range){whole.begin + length(whole) * i / count,
                 whole.begin + length(whole) * (i + 1) / count};
}

/// The width of nearly equal blocks of at most `limit` columns, whole panels.
static inline int64_t even_width(int64_t columns, int64_t limit, int64_t panel) {
  return ceiling(ceiling(columns, ceiling(columns, limit)), panel) * panel;
}

/// Tiles of nearly equal height: 64 rows are 13 + 13 + 13 + 13 + 12, not 14 * 4 + 8.
static inline int64_t tile_begin(int64_t rows, int64_t tiles, int64_t i) {
  return rows * i / tiles;
}

#endif
