// Products with one row or one column: a matrix and a vector.
//
// Bound by how fast the matrix is read. Its elements are used once, so that tiles and packing have
// nothing to gain; sixteen sums for each element (ck_gemm.h) let it be read in the order in which
// it lies, whichever that is.
#include "gemm_internal.h"

enum {
  X_FLOATS = GEMM_LANES_BLOCK,
  SUM_FLOATS = GEMM_LANES * GEMM_VECTOR_COLUMNS,
  OUT_FLOATS = GEMM_VECTOR_COLUMNS,
  C_FLOATS = GEMM_VECTOR_COLUMNS,
  SHORT_TERMS = 64,  // so few are summed in registers
};

/// Floats; an epilogue's scratch follows.
enum { SCRATCH_FLOATS = X_FLOATS + SUM_FLOATS + OUT_FLOATS + C_FLOATS };

size_t gemm_vector_scratch_bytes(const ck_gemm_args *g) {
  const ck_loop_args *epilogue = ck_gemm_program(g);
  return SCRATCH_FLOATS * sizeof(float) + (epilogue ? ck_loop_scratch_bytes(epilogue) : 0);
}

ck_gemm_part gemm_vector_part_of(const ck_gemm_args *g, const gemm_level *level,
                                 const ck_thread *t) {
  return gemm_part_by(g, (gemm_cut){.row_unit = 1, .column_unit = level->vector}, t);
}

/// The matrix of one product, the vector beside it, and the elements of the result in their order.
typedef struct product {
  const ck_gemm_args *g;
  const gemm_level *level;
  const float *x, *w;
  int64_t x_step, w_row, w_col;
  float *x_scratch;
  int64_t K;      // as many terms as there are
  int64_t first;  // element of the result
  gemm_vector v;
} product;

/// Adds the terms [step, step + v.K) of a panel of packed B. Packed blocks of K are not lanes'
/// blocks.
static void add_packed(product *q, int64_t step) {
  const ck_gemm_args *g = q->g;
  const gemm_level *level = q->level;
  const int64_t padded = (g->N + level->vector - 1) / level->vector * level->vector;
  const int64_t k_block = ck_gemm_k_block(g->K), end = step + q->v.K;
  const int64_t lane = q->first % level->columns, panel = q->first - lane;
  gemm_vector v = q->v;
  v.w_row = least(level->columns, padded - panel);
  for (int64_t p = step; p < end; p += v.K) {
    const int64_t block = p / k_block * k_block;
    v.K = least(block + k_block, end) - p;
    v.x = q->x + p * q->x_step;
    v.w =
        q->w + block * padded + panel * least(k_block, g->K - block) + (p - block) * v.w_row + lane;
    v.lane = (p - step) % GEMM_LANES;
    level->vector_rows(&v);
  }
}

/// Elements [first, first + v.columns), into v.c.
static void multiply(product *q, bool packed) {
  const ck_gemm_args *g = q->g;
  gemm_vector *v = &q->v;
  float *const sums = v->sum;
  int64_t step = 0;
  do {
    v->K = least(GEMM_LANES_BLOCK, q->K - step);
    v->x = q->x + step * q->x_step;
    v->w = q->w + step * q->w_row + q->first * q->w_col;
    const bool last = step + v->K == q->K, walks = packed || (q->w_col == 1 && q->w_row != 1);
    if (walks && !packed && v->K <= SHORT_TERMS) {
      q->level->vector_short(v);
    } else if (walks) {
      for (int64_t i = 0; i < GEMM_LANES; i++)
        for (int64_t j = 0; j < v->columns; j++) sums[i * v->sum_row + j] = 0.0f;
      if (packed)
        add_packed(q, step);
      else
        q->level->vector_rows(v);
      q->level->vector_fold(v);
    } else if (q->w_row == 1) {
      if (q->x_step != 1) {
        for (int64_t p = 0; p < v->K; p++) q->x_scratch[p] = v->x[p * q->x_step];
        v->x = q->x_scratch;
      }
      q->level->vector_dots(v);
    } else {
      q->level->vector_any(v);
    }
    v->accumulate = g->accumulate || step > 0;
    v->relu = g->epilogue.relu && last;
    v->bias = g->epilogue.bias && last ? g->epilogue.bias + q->first * v->bias_step : NULL;
    q->level->vector_finish(v);
    step += v->K;
  } while (step < q->K);
}

void gemm_vector_run(const ck_gemm_args *g, const ck_thread *t, const gemm_level *level) {
  ck_gemm_part part = gemm_vector_part_of(g, level, t);
  if (part.column >= part.column_end || part.row >= part.row_end) return;
  float *const scratch = t->scratch;
  const bool row = g->M == 1, packed = g->b_packed && row;
  float *const c = scratch + X_FLOATS + SUM_FLOATS + OUT_FLOATS;
  product q = {.g = g, .level = level, .x_scratch = scratch, .K = gemm_terms(g)};
  q.v = (gemm_vector){.sum = scratch + X_FLOATS,
                      .out = scratch + X_FLOATS + SUM_FLOATS,
                      .alpha = g->alpha,
                      .bias_step = row};
  // A packed vector has the width of its only panel between its elements.
  q.x_step = row ? g->a_col : g->b_packed ? level->vector : g->b_row;
  q.w_row = row ? g->b_row : g->a_col;
  q.w_col = row ? g->b_col : g->a_row;
  q.v.x_step = q.x_step, q.v.w_row = q.w_row, q.v.w_col = q.w_col;
  q.v.sum_row = GEMM_VECTOR_COLUMNS;
  const int64_t widest = packed ? level->columns : GEMM_VECTOR_COLUMNS;
  while (part.row < part.row_end) {
    const int64_t i = part.row % g->M, rows = least(g->M - i, part.row_end - part.row);
    const gemm_matrix m = gemm_matrix_at(g, part.row / g->M);
    q.x = row ? m.a : m.b;
    q.w = row ? m.b : m.a;
    const int64_t begin = row ? part.column : i, end = row ? part.column_end : i + rows;
    for (int64_t j = begin; j < end; j += q.v.columns) {
      q.first = j;
      q.v.columns = least(widest - (packed ? j % widest : 0), end - j);
      q.v.c = g->epilogue.program ? c : m.c + j * (row ? 1 : g->c_row);
      q.v.c_step = g->epilogue.program || row ? 1 : g->c_row;
      multiply(&q, packed);
      if (g->epilogue.program)
        ck_loop_block(level->isa)(ck_gemm_program(g), scratch + SCRATCH_FLOATS, m.index,
                                  row ? 0 : j, row ? 1 : q.v.columns, row ? j : 0,
                                  row ? q.v.columns : 1, c, row ? GEMM_VECTOR_COLUMNS : 1);
    }
    part.row += rows;
  }
}
