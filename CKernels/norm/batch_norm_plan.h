// How batch normalisation cuts its rows and columns, shared by the levels and by the size of the
// workspace.
#ifndef CK_BATCH_NORM_PLAN_H
#define CK_BATCH_NORM_PLAN_H

#include <stdint.h>

/// Rows that are summed on end: few, so that a sum's error stays small. A multiple of four.
enum { RUN_ROWS = 64 };
/// Columns that a thread takes at a time: their sums stay in the first-level cache.
enum { PANEL = 512 };
/// Arrays of the backward pass's second half: gamma rstd, dbeta / R, rstd dgamma / R.
enum { COEFFICIENTS = 3 };

/// Rows of a block: a multiple of 16, and at most 64 blocks, so that they stay cheap to combine.
static inline int64_t column_block_rows(int64_t rows) {
  const int64_t least = (rows + 63) / 64;
  return least <= 16 ? 16 : (least + 15) / 16 * 16;
}

static inline int64_t column_blocks(int64_t rows) {
  return (rows + column_block_rows(rows) - 1) / column_block_rows(rows);
}

static inline int64_t column_panels(int64_t cols) { return (cols + PANEL - 1) / PANEL; }

/// Floats from one block's sums to the next: whole cache lines.
static inline int64_t column_stride(int64_t cols) { return (cols + 15) / 16 * 16; }

#endif
