// What the drivers of the matrix products agree on.
#ifndef GEMM_INTERNAL_H
#define GEMM_INTERNAL_H

#include "ck_gemm.h"
#include "tile.h"

enum {
  GEMM_LANES = 16,            // partial sums of an element of a product with one row or column
  GEMM_LANES_BLOCK = 4096,    // terms, after which they are folded
  GEMM_VECTOR_COLUMNS = 512,  // elements of the result at a time
  LINE = 64,                  // bytes of a line of the cache
};

/// A matrix and a vector: c[j] = act(alpha * sum of x[p] w[p][j] (+ c[j]) + bias[j]), a block of K
/// and a range of elements at a time.
struct gemm_vector {
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
};

static inline int64_t gemm_matrices(const ck_gemm_args *g) {
  int64_t count = 1;
  for (int d = 0; d < CK_GEMM_BATCH_DIMS; d++) count *= g->batch[d];
  return count;
}

// MARK: A limit known at run time

static inline int64_t gemm_live(const ck_gemm_args *g, ck_gemm_limit limit, int64_t all) {
  if (g->limit != (int32_t)limit || !g->live) return all;
  return *g->live < 0 ? 0 : *g->live < all ? *g->live : all;
}

/// The rows that a product has: M, or as many of them as there are.
static inline int64_t gemm_rows(const ck_gemm_args *g) {
  return gemm_live(g, CK_GEMM_LIVE_ROWS, g->M);
}

/// Likewise the terms of its sums.
static inline int64_t gemm_terms(const ck_gemm_args *g) {
  return gemm_live(g, CK_GEMM_LIVE_TERMS, g->K);
}

/// Zeros in the rows of C behind those that there are: this thread's share.
void gemm_clear_rest(const ck_gemm_args *g, const ck_thread *t);

// MARK: What the drivers share: gemm_share.c

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

/// What the program of a fused product's epilogue reads and writes of a block, and would wait for.
/// The tiles of the block bring it near, each one line of all rows.
typedef struct gemm_met {
  const ck_loop_args *program;  // NULL: nothing, or no more
  int64_t matrix;
  range rows, columns;
  int64_t line;  // the next, counted through the program's operands
} gemm_met;

/// Has the tile bring the next line.
void gemm_meet(gemm_met *met, gemm_tile *tile);

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
/// Whether panels of B, packed beforehand, would save it time: a function of the shape alone.
bool gemm_likes_packed_b(const ck_gemm_args *args, const gemm_level *level);
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

#endif
