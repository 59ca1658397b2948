// What the drivers of the matrix products share: the blocks of K, where a matrix lies, and how C is
// cut over a team.
#include <string.h>

#include "../eltwise/loop_plan.h"
#include "gemm_internal.h"

enum { K_BLOCK = 512 };  // a panel of A (14 x 512) stays in L1

int64_t ck_gemm_k_block(int64_t K) {
  if (K <= K_BLOCK) return K > 0 ? K : 1;
  return ceiling(ceiling(K, ceiling(K, K_BLOCK)), 8) * 8;
}

int64_t gemm_rows_that_fit(int64_t stride, int64_t left) {
  enum { PAGE = 4096 };
  const int64_t bytes = (stride < 0 ? -stride : stride) * 4;
  int64_t sets = 1;  // that rows fall on in turn
  while (sets < PAGE / LINE && bytes * sets % PAGE != 0) sets *= 2;
  return bytes == 0 ? PAGE : sets * (ck_first_cache_ways() - left);
}

gemm_offsets gemm_offsets_of(const ck_gemm_args *g, int64_t index) {
  gemm_offsets offsets = {0};
  for (int d = CK_GEMM_BATCH_DIMS - 1; d >= 0; d--) {
    if (g->batch[d] == 1) continue;
    const int64_t at = index % g->batch[d];
    index /= g->batch[d];
    offsets.a += at * g->a_batch[d];
    offsets.b += at * g->b_batch[d];
    offsets.c += at * g->c_batch[d];
  }
  return offsets;
}

gemm_matrix gemm_matrix_at(const ck_gemm_args *g, int64_t index) {
  const gemm_offsets at = gemm_offsets_of(g, index);
  // With an epilogue program there is no C.
  return (gemm_matrix){index, g->a + at.a, g->b + at.b, g->c ? g->c + at.c : NULL};
}

void gemm_meet(gemm_met *met, gemm_tile *tile) {
  const ck_loop_operand *operands = ck_loop_operands(met->program);
  int64_t line = met->line++;
  for (int32_t o = 1; o < met->program->operands; o++) {
    const ck_loop_operand *operand = &operands[o];
    // What is the same for all rows is in the cache after the first.
    if (operand->flags & CK_LOOP_INDEX || operand->stride[1] == 0 || operand->stride[2] != 1)
      continue;
    const int64_t size = (int64_t)loop_dtype_bytes(operand->dtype);
    const int64_t lines = ceiling(length(met->columns) * size, LINE);
    if (line < lines) {
      const int64_t first = met->matrix * operand->stride[0] +
                            met->rows.begin * operand->stride[1] + met->columns.begin;
      tile->near = (const char *)operand->data + first * size + line * LINE;
      tile->near_step = operand->stride[1] * size;
      tile->near_lines = length(met->rows);
      return;
    }
    line -= lines;
  }
  met->program = NULL;
}

void gemm_clear_rest(const ck_gemm_args *g, const ck_thread *t) {
  const int64_t rows = gemm_rows(g), size = g->c_type == CK_F32 ? 4 : 2;
  int64_t begin, end;
  ck_share(g->M - rows, t, &begin, &end);
  for (int64_t i = rows + begin; i < rows + end; i++)
    memset((char *)g->c + i * g->c_row * size, 0, (size_t)(g->N * size));
}

/// Products that a thread does while it would wait for others: for less than that columns are not
/// cut, since layer after layer goes on with the same rows, which need no barrier.
static const double products_of_waiting = 25e3;

/// How many groups the columns are cut into: the number that the thread with most to do likes best.
static int32_t groups_of(const ck_gemm_args *g, gemm_cut cut, int32_t count) {
  const int64_t row_units = ceiling(gemm_rows(g), cut.row_unit);
  const int64_t all = gemm_matrices(g) * row_units;
  int32_t best = 1;
  double best_cost = 0;
  const double margin = products_of_waiting / (double)(g->K > 0 ? g->K : 1);
  for (int32_t groups = 1; groups <= count; groups++) {
    if (count % groups) continue;
    const int64_t units = ceiling(all, count / groups);
    const double rows = (double)(units * cut.row_unit);
    const double columns =
        (double)(ceiling(ceiling(g->N, cut.column_unit), groups) * cut.column_unit);
    const double cost = rows * columns + rows * cut.pack_a +
                        columns * cut.pack_b * (double)ceiling(units, row_units);
    if (groups == 1 || cost + (best == 1 ? margin : 0) < best_cost) best = groups, best_cost = cost;
  }
  return best;
}

/// The row, counted through all matrices, where a unit of rows begins.
static int64_t row_of(const ck_gemm_args *g, gemm_cut cut, int64_t unit) {
  const int64_t rows = gemm_rows(g), units = ceiling(rows, cut.row_unit);
  return unit / units * rows + unit % units * cut.row_unit;
}

ck_gemm_part gemm_part_by(const ck_gemm_args *g, gemm_cut cut, const ck_thread *t) {
  const int64_t matrices = gemm_matrices(g), rows = gemm_rows(g);
  ck_gemm_part part = {0};
  if (matrices <= 0 || rows <= 0 || g->N <= 0) return part;
  const int32_t groups = groups_of(g, cut, t->count);
  const ck_thread in_columns = {.index = t->index % groups, .count = groups};
  const ck_thread in_rows = {.index = t->index / groups, .count = t->count / groups};
  ck_share(ceiling(g->N, cut.column_unit), &in_columns, &part.column, &part.column_end);
  part.column = least(part.column * cut.column_unit, g->N);
  part.column_end = least(part.column_end * cut.column_unit, g->N);
  ck_share(matrices * ceiling(rows, cut.row_unit), &in_rows, &part.row, &part.row_end);
  part.row = row_of(g, cut, part.row);
  part.row_end = row_of(g, cut, part.row_end);
  return part;
}
