// What the portable driver (gemm.c) and the levels' microkernels (gemm_avx512.c, …) agree on.
#ifndef GEMM_INTERNAL_H
#define GEMM_INTERNAL_H

#include "ck_gemm.h"

/// One register tile: C[rows, columns] = act(alpha * A B (+ C) + bias) over K steps.
///
/// A is read an element at a time (broadcast), at any strides. B is read in whole vectors: where
/// `columns` is not a multiple of the vector length, the memory up to the next multiple must be
/// readable (packed panels are padded with zeros).
typedef struct gemm_tile {
  const float *a;  // a[i * a_row + p * a_col]
  int64_t a_row, a_col;
  const float *b;  // b[p * b_row + j]
  int64_t b_row;
  float *c;  // c[i * c_row + j]
  int64_t c_row;
  int64_t K;
  const float *bias;  // of the tile's first column, or NULL
  float alpha;
  int32_t accumulate, relu;
  int32_t rows, columns;
} gemm_tile;

/// A level: its microkernels and the sizes the driver blocks for.
typedef struct gemm_level {
  ck_isa isa;
  int32_t vector;         // floats in a vector
  int32_t max_rows;       // tile rows that go with `columns`
  int32_t columns;        // tile columns: width of a packed panel of B
  int32_t flat_rows;      // up to so many rows, tiles are twice as wide where B allows
  int32_t block_rows;     // rows of A packed at a time: block_rows * K block stays in L2
  int32_t block_columns;  // columns of B packed at a time: stays in the thread's part of L3
  int32_t fused_rows;     // with an epilogue: the block of C that is kept, in L2, until it is done
  int32_t fused_columns;
  void (*tile)(const gemm_tile *);
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

/// The driver: all of a product, this thread's share.
void gemm_run(const ck_gemm_args *args, const ck_thread *t, const gemm_level *level);
void gemm_pack_run(const ck_gemm_pack_args *g, const ck_thread *t, const gemm_level *level);

size_t gemm_scratch_bytes(const ck_gemm_args *args, const gemm_level *level);

/// Floats of scratch that the reference keeps a row of a fused product in; the program's follows.
int64_t gemm_ref_row(const ck_gemm_args *g);

// The entries of the list.
#define CK_GEMM(isa, name, rows, columns, consistent) \
  void name(const void *args, const ck_thread *t);
#include "gemm_kernels.inc"
#undef CK_GEMM

/// The level's table, or NULL for the reference.
const gemm_level *gemm_level_of(ck_isa isa);

#if defined(__x86_64__)
extern const gemm_level gemm_avx2, gemm_avx512;
#endif

#endif
