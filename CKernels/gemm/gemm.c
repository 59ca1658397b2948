// The portable driver of the matrix products: how C is cut over the team, blocking, what is packed.
//
// Every element of C belongs to one thread, which sums it in the order that ck_gemm.h states. How C
// is cut may therefore follow the size of the team without touching a bit of the result.
#include "gemm_internal.h"

enum {
  K_BLOCK = 512,          // a panel of A (14 x 512) stays in L1
  DIRECT_B_ROWS = 28,     // B with unit column stride is read in place for so few rows of A
  DIRECT_A_COLUMNS = 256  // A is read in place for so few columns of B
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t ck_gemm_k_block(int64_t K) {
  if (K <= K_BLOCK) return K > 0 ? K : 1;
  return ceiling(ceiling(K, ceiling(K, K_BLOCK)), 8) * 8;
}

// MARK: What is packed, a function of the shape alone

/// Rows of A that fall on the same sets of L1 when a tile walks along K.
static bool rows_collide(int64_t stride) {
  const int64_t bytes = (stride < 0 ? -stride : stride) * 4;
  return bytes % 2048 == 0 && bytes > 0;
}

static bool packs_a(const ck_gemm_args *g, const gemm_level *level) {
  if (g->N <= 2 * level->columns) return false;
  if (g->N > DIRECT_A_COLUMNS) return true;
  return g->a_col == 1 ? rows_collide(g->a_row) : rows_collide(g->a_col) && g->a_row != 1;
}

static bool packs_b(const ck_gemm_args *g, const gemm_level *level) {
  (void)level;
  return !g->b_packed && (g->b_col != 1 || g->M > DIRECT_B_ROWS);
}

static int64_t padded_columns(const ck_gemm_args *g, const gemm_level *level) {
  return ceiling(g->N, level->vector) * level->vector;
}

/// Floats of scratch for A; a panel's last step may write seven floats beyond it.
static int64_t scratch_a(const ck_gemm_args *g, const gemm_level *level) {
  if (!packs_a(g, level)) return 0;
  return ceiling(least(g->M, level->block_rows) * ck_gemm_k_block(g->K) + 8, 16) * 16;
}

static int64_t scratch_b(const ck_gemm_args *g, const gemm_level *level) {
  if (g->b_packed) return 0;
  const int64_t columns = packs_b(g, level) ? least(padded_columns(g, level), level->block_columns)
                          : g->N % level->vector ? level->columns
                                                 : 0;
  return columns * ck_gemm_k_block(g->K);
}

size_t gemm_scratch_bytes(const ck_gemm_args *g, const gemm_level *level) {
  return (size_t)(scratch_a(g, level) + scratch_b(g, level)) * sizeof(float);
}

// MARK: The blocks of one thread

typedef struct matrix {
  const float *a, *b;
  float *c;
} matrix;

static matrix matrix_at(const ck_gemm_args *g, int64_t index) {
  matrix m = {g->a, g->b, g->c};
  for (int d = CK_GEMM_BATCH_DIMS - 1; d >= 0; d--) {
    const int64_t at = index % g->batch[d];
    index /= g->batch[d];
    m.a += at * g->a_batch[d];
    m.b += at * g->b_batch[d];
    m.c += at * g->c_batch[d];
  }
  return m;
}

typedef struct block {
  int64_t row, rows;        // of C
  int64_t column, columns;  // of C
  int64_t step, steps;      // of K
} block;

/// Tiles of nearly equal height: 64 rows are 13 + 13 + 13 + 13 + 12, not 14 * 4 + 8.
static int64_t tile_begin(int64_t rows, int64_t tiles, int64_t i) { return rows * i / tiles; }

static void pack_a_block(const ck_gemm_args *g, const gemm_level *level, const float *a, block at,
                         float *packed) {
  const int64_t tiles = ceiling(at.rows, level->max_rows);
  for (int64_t i = 0; i < tiles; i++) {
    const int64_t begin = tile_begin(at.rows, tiles, i);
    const int64_t rows = tile_begin(at.rows, tiles, i + 1) - begin;
    level->pack(packed + begin * at.steps, rows, rows, at.steps,
                a + (at.row + begin) * g->a_row + at.step * g->a_col, g->a_row, g->a_col);
  }
}

/// One column panel against all rows of a block.
static void multiply_panel(const ck_gemm_args *g, const gemm_level *level, gemm_tile *tile,
                           const float *a, const float *packed_a, float *c, block at) {
  const int32_t most = tile->columns > level->columns ? level->flat_rows : level->max_rows;
  const int64_t tiles = ceiling(at.rows, most);
  for (int64_t i = 0; i < tiles; i++) {
    const int64_t begin = tile_begin(at.rows, tiles, i);
    tile->rows = (int32_t)(tile_begin(at.rows, tiles, i + 1) - begin);
    if (packed_a) {
      tile->a = packed_a + begin * at.steps;
      tile->a_row = 1;
      tile->a_col = tile->rows;
    } else {
      tile->a = a + (at.row + begin) * g->a_row + at.step * g->a_col;
      tile->a_row = g->a_row;
      tile->a_col = g->a_col;
    }
    tile->c = c + (at.row + begin) * g->c_row + at.column;
    level->tile(tile);
  }
}

static void multiply(const ck_gemm_args *g, const gemm_level *level, matrix m, int64_t row_begin,
                     int64_t row_end, int64_t column_begin, int64_t column_end, float *scratch) {
  const bool pack_a = packs_a(g, level), pack_b = packs_b(g, level);
  float *a_scratch = scratch, *b_scratch = scratch + scratch_a(g, level);
  const int64_t k_block = ck_gemm_k_block(g->K), padded = padded_columns(g, level);
  // Packed B is [K block][panel][step][lane]: the panel at `column` of the block at `step` starts
  // at step * padded + column * steps.
  for (int64_t j0 = column_begin; j0 < column_end; j0 += level->block_columns) {
    const int64_t j1 = least(j0 + level->block_columns, column_end);
    int64_t step = 0;
    do {
      const int64_t steps = least(k_block, g->K - step);
      gemm_tile tile = {
          .c_row = g->c_row,
          .K = steps,
          .alpha = g->alpha,
          .accumulate = g->accumulate || step > 0,
          .relu = g->relu && step + steps == g->K,
      };
      const int64_t row_blocks = pack_a ? ceiling(row_end - row_begin, level->block_rows) : 1;
      for (int64_t r = 0; r < row_blocks; r++) {
        block at = {.step = step, .steps = steps};
        at.row = row_begin + (row_end - row_begin) * r / row_blocks;
        at.rows = row_begin + (row_end - row_begin) * (r + 1) / row_blocks - at.row;
        if (pack_a) pack_a_block(g, level, m.a, at, a_scratch);
        for (int64_t j = j0; j < j1; j += at.columns) {
          at.column = j;
          // Panels start at multiples of their width, so that a share may begin inside one.
          at.columns = least(level->columns - j % level->columns, j1 - j);
          if (g->b_packed) {
            const int64_t panel = j - j % level->columns;
            tile.b_row = least(level->columns, padded - panel);
            tile.b = m.b + step * padded + panel * steps + (j - panel);
          } else if (pack_b || at.columns % level->vector) {
            tile.b_row = ceiling(at.columns, level->vector) * level->vector;
            float *panel = pack_b ? b_scratch + (j - j0) * steps : b_scratch;
            if (r == 0)
              level->pack(panel, tile.b_row, at.columns, steps,
                          m.b + step * g->b_row + j * g->b_col, g->b_col, g->b_row);
            tile.b = panel;
          } else {
            if (at.rows <= level->flat_rows && j1 - j >= 2 * level->columns)
              at.columns = 2 * level->columns;
            tile.b_row = g->b_row;
            tile.b = m.b + step * g->b_row + j;
          }
          tile.columns = (int32_t)at.columns;
          tile.bias = g->bias && step + steps == g->K ? g->bias + j : NULL;
          multiply_panel(g, level, &tile, m.a, pack_a ? a_scratch : NULL, m.c, at);
        }
      }
      step += steps;
    } while (step < g->K);
  }
}

// MARK: The team

/// How many groups the columns are cut into; each group shares out the rows of all matrices.
static int64_t column_groups(const ck_gemm_args *g, const gemm_level *level, int64_t matrices,
                             int32_t count) {
  const int64_t rows = matrices * g->M, units = ceiling(g->N, level->vector);
  const double pack_cost = 0.25 * level->vector;  // of one float, against one fused multiply-add
  int64_t best = 1;
  double best_cost = 0;
  for (int64_t groups = 1; groups <= count; groups++) {
    if (count % groups) continue;
    const double r = (double)ceiling(rows, count / groups);
    const double c = (double)(ceiling(units, groups) * level->vector);
    double cost = r * c;
    if (packs_a(g, level)) cost += r * pack_cost;
    if (packs_b(g, level)) cost += c * pack_cost * (double)ceiling((int64_t)r, g->M);
    if (groups == 1 || cost < best_cost) best = groups, best_cost = cost;
  }
  return best;
}

void gemm_run(const ck_gemm_args *g, const ck_thread *t, const gemm_level *level) {
  const int64_t matrices = g->batch[0] * g->batch[1] * g->batch[2];
  if (matrices <= 0 || g->M <= 0 || g->N <= 0) return;
  const int32_t groups = (int32_t)column_groups(g, level, matrices, t->count);
  const ck_thread in_columns = {.index = t->index % groups, .count = groups};
  const ck_thread in_rows = {.index = t->index / groups, .count = t->count / groups};
  int64_t column, column_end, row, row_end;
  ck_share(ceiling(g->N, level->vector), &in_columns, &column, &column_end);
  column *= level->vector;
  column_end = least(column_end * level->vector, g->N);
  ck_share(matrices * g->M, &in_rows, &row, &row_end);
  if (column >= column_end) return;
  while (row < row_end) {
    const int64_t index = row / g->M, first = row % g->M;
    const int64_t rows = least(g->M - first, row_end - row);
    multiply(g, level, matrix_at(g, index), first, first + rows, column, column_end, t->scratch);
    row += rows;
  }
}

// MARK: B packed beforehand

void gemm_pack_run(const ck_gemm_pack_args *g, const ck_thread *t, const gemm_level *level) {
  const int64_t panels = ceiling(g->N, level->columns), k_block = ck_gemm_k_block(g->K);
  const int64_t padded = ceiling(g->N, level->vector) * level->vector;
  int64_t begin, end;
  ck_share(g->count * panels, t, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    const int64_t matrix = i / panels, column = i % panels * level->columns;
    const int64_t columns = least(level->columns, g->N - column);
    for (int64_t step = 0; step < g->K; step += k_block) {
      const int64_t steps = least(k_block, g->K - step);
      level->pack(g->packed + matrix * padded * g->K + step * padded + column * steps,
                  least(level->columns, padded - column), columns, steps,
                  g->b + matrix * g->b_batch + step * g->b_row + column * g->b_col, g->b_col,
                  g->b_row);
    }
  }
}
