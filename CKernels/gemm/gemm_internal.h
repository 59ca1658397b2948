// What the portable driver (gemm.c) and the levels' microkernels (gemm_avx512.c, …) agree on.
#ifndef GEMM_INTERNAL_H
#define GEMM_INTERNAL_H

#include "ck_gemm.h"

/// One register tile: C[rows, columns] = act(alpha * A B (+ C) + bias, other) over K steps.
///
/// A is read an element at a time (broadcast), at any strides. B is read in whole vectors: where
/// `columns` is not a multiple of the vector length, the memory up to the next multiple must be
/// readable (packed panels are padded with zeros).
typedef struct gemm_tile {
  const float *a;  // a[i * a_row + p * a_col]
  int64_t a_row, a_col;
  const float *b;  // b[p * b_row + j]
  int64_t b_row;
  float *packed;  // where B is copied to, [K][columns], on the way; NULL for nowhere
  float *c;       // c[i * c_row + j]
  int64_t c_row;
  int64_t K;
  const float *bias;  // of the tile's first column, or NULL
  const float *from;  // `accumulate` adds to from[i * from_row + j]; NULL: to C (pairs only)
  int64_t from_row;
  const float *other;  // other[i * other_row + j], unless `combination` is CK_GEMM_ALONE
  int64_t other_row;
  float alpha;
  int32_t accumulate, relu;
  int32_t combination;   // ck_gemm_combination, before `relu`
  int32_t narrow_other;  // 1: other is bf16 (pairs only)
  const float *weight;   // weight[i * other_row + j], of CK_GEMM_MOMENTUM (not of pairs)
  float *new_weight;     // new_weight[i * c_row + j]
  float rate, momentum;
  int32_t rows, columns;
  int32_t dots;    // 1: b lies [columns up to a power of two][b_row words] (pairs only)
  int32_t narrow;  // 1: c is bf16 (pairs only; with `accumulate` only where there is `from`)
} gemm_tile;

enum {
  GEMM_LANES = 16,            // partial sums of an element of a product with one row or column
  GEMM_LANES_BLOCK = 4096,    // terms, after which they are folded
  GEMM_VECTOR_COLUMNS = 512,  // elements of the result at a time
};

/// A matrix and a vector: c[j] = act(alpha * sum of x[p] w[p][j] (+ c[j]) + bias[j]), a block of K
/// and a range of elements at a time.
typedef struct gemm_vector {
  const float *x;  // x[p * x_step]
  int64_t x_step;
  const float *w;  // w[p * w_row + j * w_col]
  int64_t w_row, w_col;
  int64_t columns, K;
  float *sum;  // [GEMM_LANES][sum_row]: each lane's sums, where w's rows are walked along
  int64_t sum_row;
  int64_t lane;  // of the first term
  float *out;    // [columns] up to the next multiple of the vector length
  float *c;      // c[j * c_step]
  int64_t c_step;
  const float *bias;  // bias[j * bias_step], or NULL; the step is 0 or 1
  int64_t bias_step;
  float alpha;
  int32_t accumulate, relu;
} gemm_vector;

/// A level: its microkernels and the sizes the driver blocks for.
typedef struct gemm_level {
  ck_isa isa;
  int32_t vector;         // floats in a vector
  int32_t max_rows;       // tile rows that go with `columns`
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

static inline int64_t gemm_matrices(const ck_gemm_args *g) {
  int64_t count = 1;
  for (int d = 0; d < CK_GEMM_BATCH_DIMS; d++) count *= g->batch[d];
  return count;
}

// MARK: What the drivers share: gemm_share.c

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

/// Elements from each array's first to one matrix of the batch.
typedef struct gemm_offsets {
  int64_t a, b, c;
} gemm_offsets;

gemm_offsets gemm_offsets_of(const ck_gemm_args *g, int64_t index);

/// How a driver cuts C over a team. Each matrix is a grid of units; costs are of packing, against
/// one multiply-add.
typedef struct gemm_cut {
  int64_t row_unit, column_unit;
  double pack_a, pack_b;  // an element of A, of B, once for each step along K
} gemm_cut;

/// Cuts the columns into groups, and lets each share out the rows of all matrices. A function of
/// the shape and the team; it decides no bit of the result.
ck_gemm_part gemm_part_by(const ck_gemm_args *g, gemm_cut cut, const ck_thread *t);

/// What a thread writes: the one place of its driver that says so.
ck_gemm_part gemm_part_of(const ck_gemm_args *g, const gemm_level *level, const ck_thread *t);

/// Where one matrix of the batch lies.
typedef struct gemm_matrix {
  int64_t index;
  const float *a, *b;
  float *c;
} gemm_matrix;

gemm_matrix gemm_matrix_at(const ck_gemm_args *g, int64_t index);

/// One row or one column: each element is summed in lanes.
static inline bool gemm_is_vector(const ck_gemm_args *g) { return g->M == 1 || g->N == 1; }
/// The driver of such products of f32.
void gemm_vector_run(const ck_gemm_args *g, const ck_thread *t, const gemm_level *level);
ck_gemm_part gemm_vector_part_of(const ck_gemm_args *g, const gemm_level *level,
                                 const ck_thread *t);
size_t gemm_vector_scratch_bytes(const ck_gemm_args *g);

/// Whether the f32 driver can take it.
static inline bool gemm_is_f32(const ck_gemm_args *g) {
  return g->a_type == CK_F32 && g->b_type == CK_F32 && g->c_type == CK_F32;
}

/// The driver: all of a product of f32, this thread's share.
void gemm_run(const ck_gemm_args *args, const ck_thread *t, const gemm_level *level);
/// Whether it brings B into panels first, a function of the shape alone.
bool gemm_packs_b(const ck_gemm_args *args, const gemm_level *level);
/// Elements of one matrix's operands that it brings into panels.
int64_t gemm_packed_elements(const ck_gemm_args *args, const gemm_level *level);
void gemm_pack_run(const ck_gemm_pack_args *g, const ck_thread *t, const gemm_level *level);

size_t gemm_scratch_bytes(const ck_gemm_args *args, const gemm_level *level);

/// Floats of scratch that the reference keeps a row of a fused product in; the program's follows.
int64_t gemm_ref_row(const ck_gemm_args *g);

// The entries of the list.
#define CK_GEMM(isa, name, rows, columns, consistent, emulated) \
  void name(const void *args, const ck_thread *t);
#include "gemm_kernels.inc"
#undef CK_GEMM
#define CK_GEMM_PACK(isa, name) void name(const void *args, const ck_thread *t);
#include "gemm_pack_kernels.inc"
#undef CK_GEMM_PACK

#if defined(__x86_64__)
extern const gemm_level gemm_avx2, gemm_avx512;
#endif

#endif
