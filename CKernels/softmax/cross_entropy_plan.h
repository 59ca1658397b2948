// How cross-entropy cuts its rows, shared by the levels and by the workspace's
// size.
#ifndef CK_SOFTMAX_CROSS_ENTROPY_PLAN_H
#define CK_SOFTMAX_CROSS_ENTROPY_PLAN_H

#include "ck_cross_entropy.h"

/// A block's part of the two sums over rows.
typedef struct row_sums {
  double loss;
  double weight;
} row_sums;

/// Rows of a block: about 8192 logits, so that a block is worth a thread's
/// while; at most 16, which take a microsecond or two however few the classes.
static inline int64_t block_rows(const ck_cross_entropy_args *a) {
  const int64_t rows = a->cols > 0 ? 8192 / a->cols : 1;
  return rows < 1 ? 1 : rows > 16 ? 16 : rows;
}

static inline int64_t block_count(const ck_cross_entropy_args *a) {
  return (a->rows + block_rows(a) - 1) / block_rows(a);
}

/// Rows of block b: the last may have fewer than the others.
static inline int rows_of_block(const ck_cross_entropy_args *a, int64_t b) {
  const int64_t size = block_rows(a), left = a->rows - b * size;
  return (int)(left < size ? left : size);
}

/// The most rows whose labels each thread reads for itself to know what the
/// mean divides by.
enum { OWN_LABELS = 512 };

#endif
