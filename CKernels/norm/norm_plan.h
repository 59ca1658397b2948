// How the backward pass of a normalisation cuts its rows, shared by the levels and by the size of
// the workspace.
#ifndef CK_NORM_PLAN_H
#define CK_NORM_PLAN_H

#include "ck_norm.h"

/// Rows of a block: at least 16, and at most 64 blocks, so that their sums stay cheap to combine.
static inline int64_t block_rows(const ck_norm_backward_args *a) {
  const int64_t rows = (a->rows + 63) / 64;
  return rows < 16 ? 16 : rows;
}

static inline int64_t block_count(const ck_norm_backward_args *a) {
  return (a->rows + block_rows(a) - 1) / block_rows(a);
}

/// Floats from one block's sums to the next: whole cache lines.
static inline int64_t block_stride(const ck_norm_backward_args *a) {
  return (a->cols + 15) / 16 * 16;
}

#endif
