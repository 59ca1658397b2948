// The portable driver of the matrix products: how C is cut over the team, blocking, what is packed.
//
// Every element of C belongs to one thread, which sums it in the order that ck_gemm.h states. How C
// is cut may therefore follow the size of the team without touching a bit of the result.
#include "gemm_internal.h"

enum {
  DIRECT_B_ROWS = 28,      // B with unit column stride is read in place for so few rows of A
  SHORT_STEPS = 64,        // panels of B of so few steps are read in place by any number of rows
  KEPT_FLOATS = 1 << 19,   // of B, kept in scratch for all blocks of rows of a fused product
  PACKED_STEPS = 16,       // of all rows of A, where its columns are contiguous
  DIRECT_A_COLUMNS = 256,  // a transposed A is read in place for so few columns of B
  NEAR_STEPS = 2048,       // or where its steps are closer together, in bytes
  NEAR_FLOATS = 1 << 16,   // of B's panels: read again for every few rows, they stay in L2
  LARGE_FLOATS = 1 << 18,  // of B, which the caches of one core do not keep
  WALKING_ROWS = 64,       // so few rows walk along a large B where they would pack it otherwise
  WALKED_COLUMNS = 1024,   // of B at a time: the sums of all rows stay in L2
  WALKED_STEPS = 16,       // rows of B that are walked along side by side, twice as many by several
                           // tiles of rows
  WALKED_AHEAD = 64,       // elements of each that are on their way
};

// MARK: What is packed, a function of the shape alone

static bool packs_a(const ck_gemm_args *g, const gemm_level *level) {
  if (g->N <= 2 * level->columns) return false;
  if (g->a_col == 1) return gemm_rows_that_fit(g->a_row, 2) < level->max_rows;
  if (g->a_row == 1) return g->N > DIRECT_A_COLUMNS && g->a_col * 4 >= NEAR_STEPS;
  return g->N > DIRECT_A_COLUMNS || gemm_rows_that_fit(g->a_col, 2) < level->max_rows;
}

/// Panels of B that stay in L1 where they lie: few whole lines, spread over at least half of its
/// sets.
static bool is_short_panel(const ck_gemm_args *g) {
  return g->K <= SHORT_STEPS && g->b_row % 16 == 0 && g->b_row % 64 != 0;
}

/// Whether few rows go along the rows of a large B: by panels, lines of rows that lie far apart
/// would each be waited for.
static bool walks(const ck_gemm_args *g, const gemm_level *level) {
  return !g->b_packed && g->b_col == 1 && g->b_row >= g->N && g->M <= WALKING_ROWS &&
         g->N >= 16 * level->columns && g->K >= 2 * WALKED_STEPS && g->N * g->K >= LARGE_FLOATS;
}

bool gemm_likes_packed_b(const ck_gemm_args *g, const gemm_level *level) {
  if (g->b_packed || g->b_col != 1) return !g->b_packed;
  if (is_short_panel(g)) return false;
  // Rows of B a multiple of a page apart share a set of L1 and few of L2.
  return g->M > (g->b_row % 1024 == 0 ? level->direct_rows : DIRECT_B_ROWS);
}

/// Whether it is brought into panels on the way.
static bool packs_b(const ck_gemm_args *g, const gemm_level *level) {
  return gemm_likes_packed_b(g, level) && !walks(g, level);
}

int64_t gemm_packed_elements(const ck_gemm_args *g, const gemm_level *level) {
  return (packs_a(g, level) ? g->M * g->K : 0) + (packs_b(g, level) ? g->K * g->N : 0);
}

static int64_t padded_columns(const ck_gemm_args *g, const gemm_level *level) {
  return ceiling(g->N, level->vector) * level->vector;
}

/// The blocks that a thread works on at a time, and the floats of scratch they take.
typedef struct blocking {
  int64_t rows, columns;  // of C
  bool keeps_b;           // B is packed once for all blocks of rows
  bool keeps_steps;       // and for all of K
  int64_t a, b, c, sums;  // floats; each begins behind the one before
} blocking;

static blocking blocking_of(const ck_gemm_args *g, const gemm_level *level) {
  const bool fused = g->epilogue.program != 0;
  const int64_t padded = padded_columns(g, level), k_block = ck_gemm_k_block(g->K);
  blocking k = {
      .rows = fused ? level->fused_rows : level->block_rows,
      .columns = fused ? level->fused_columns : level->block_columns,
  };
  if (walks(g, level)) k.columns = WALKED_COLUMNS;
  const int64_t rows = least(g->M, k.rows), columns = least(padded, k.columns);
  // A panel's last step may write seven floats beyond it.
  if (packs_a(g, level)) k.a = ceiling(rows * k_block + 8, 16) * 16;
  if (packs_b(g, level)) {
    k.keeps_steps = fused && columns * g->K <= KEPT_FLOATS;
    k.keeps_b = g->M > k.rows && (!fused || k.keeps_steps);
    k.b = k.keeps_b ? columns * (fused ? g->K : k_block) : least(padded, level->columns) * k_block;
  } else if (!g->b_packed && g->N % level->vector) {
    k.b =
        least(padded, level->columns) * k_block;  // read in place, but for a last part of a vector
  }
  // One vector more a row: rows a power of two apart would fall on one set of the cache.
  if (fused) k.c = rows * (columns + level->vector);
  if (walks(g, level)) k.sums = rows * (columns + level->vector);
  return k;
}

size_t gemm_scratch_bytes(const ck_gemm_args *args, const gemm_level *level) {
  const blocking k = blocking_of(args, level);
  const int64_t floats = k.a + k.b + ceiling(k.c, 16) * 16 + ceiling(k.sums, 16) * 16;
  const ck_loop_args *epilogue = ck_gemm_program(args);
  return (size_t)floats * sizeof(float) + (epilogue ? ck_loop_scratch_bytes(epilogue) : 0);
}

// MARK: The blocks of one thread

typedef struct block {
  int64_t row, rows;        // of C
  int64_t column, columns;  // of C
  int64_t step, steps;      // of K
  // Of these steps A's rows are packed: those above, or more.
  int64_t packed_step, packed_steps;
} block;

static void pack_a_block(const ck_gemm_args *g, const gemm_level *level, const float *a, block at,
                         float *packed) {
  const int64_t tiles = ceiling(at.rows, level->max_rows);
  // Where steps lie far apart, all rows of a few are taken at a time, as memory likes.
  const int64_t most = g->a_row == 1 ? PACKED_STEPS : at.steps;
  for (int64_t p = 0; p < at.steps; p += most) {
    const int64_t steps = least(most, at.steps - p);
    for (int64_t i = 0; i < tiles; i++) {
      const int64_t begin = tile_begin(at.rows, tiles, i);
      const int64_t rows = tile_begin(at.rows, tiles, i + 1) - begin;
      level->pack(packed + begin * at.steps + p * rows, rows, rows, steps,
                  a + (at.row + begin) * g->a_row + (at.step + p) * g->a_col, g->a_row, g->a_col);
    }
  }
}

/// Tiles must not read more rows of A in place than L1 holds beside one another.
static int32_t tile_rows(const ck_gemm_args *g, const gemm_level *level, int32_t columns) {
  if (columns > level->columns) return level->flat_rows;
  return (int32_t)least(gemm_rows_that_fit(g->a_row, 1), level->max_rows);
}

/// What one thread does of one matrix.
typedef struct job {
  const ck_gemm_args *g;
  const gemm_level *level;
  blocking blocking;
  gemm_matrix m;
  range rows, columns;
  int64_t K;  // as many terms as there are
  bool pack_a, pack_b, walks;
  bool has_b;  // B's panels are packed from an earlier block of rows
  // Where the product goes: element (i, j) to c[(i - c_begin) * c_row + j - c_column].
  float *c;
  int64_t c_row, c_begin, c_column;
  float *a_scratch, *b_scratch, *c_scratch, *sum_scratch, *epilogue_scratch;
} job;

/// The rows [begin, end) of a block against one column panel.
static void multiply_tile(const job *job, gemm_tile *tile, block at, int64_t begin, int64_t end) {
  const ck_gemm_args *g = job->g;
  tile->rows = (int32_t)(end - begin);
  if (job->pack_a) {
    tile->a_row = 1;
    tile->a_col = tile->rows;
    tile->a = job->a_scratch + begin * at.packed_steps + (at.step - at.packed_step) * tile->a_col;
  } else {
    tile->a = job->m.a + (at.row + begin) * g->a_row + at.step * g->a_col;
    tile->a_row = g->a_row;
    tile->a_col = g->a_col;
  }
  tile->c = job->c + (at.row + begin - job->c_begin) * job->c_row + at.column - job->c_column;
  const int64_t other = (at.row + begin) * g->epilogue.other_row + at.column;
  if (tile->combination != CK_ALONE)
    tile->other = g->epilogue.other + job->m.index * g->epilogue.other_matrix + other;
  if (tile->combination == CK_ADD && g->epilogue.mask)
    tile->mask = g->epilogue.mask + job->m.index * g->epilogue.other_matrix + other;
  if (tile->combination == CK_MOMENTUM) {
    tile->weight = g->epilogue.weight + other;
    tile->new_weight = g->epilogue.new_weight + (at.row + begin) * g->c_row + at.column;
  }
  job->level->tile(tile);
  if (tile->packed) {
    tile->b = tile->packed;
    tile->b_row = tile->columns;
    tile->packed = NULL;
  }
}

/// What comes after a tile or a block, brought near while it is multiplied: rows of A that the next
/// tile is the first to read; what the next block of K reads first, line by line of each step (a
/// tile takes one line of all steps; rows of A lie side by side); after the last, what the
/// epilogue's program meets.
typedef struct look_ahead {
  // The first row and step that a block's first panel, or that of the next block, reads rows of A
  // at: in place, or to pack them. NULL where the panel is not the one to bring them near.
  const float *rows_of_a;
  const char *a, *b;         // of the next block's first step; NULL for nothing
  int64_t a_lines, b_lines;  // of a step
  gemm_met met;
} look_ahead;

/// - `row`: of the block, the first of the tile that is to come.
static void take_near(const job *job, gemm_tile *tile, look_ahead *ahead, int64_t row) {
  const ck_gemm_args *g = job->g;
  tile->near = NULL;
  tile->near_lines = tile->near_turn = 0;
  if (ahead->rows_of_a) {
    tile->near = (const char *)(ahead->rows_of_a + row * g->a_row);
    tile->near_step = g->a_row * (int64_t)sizeof(float);
    tile->near_turn = LINE - 16 * tile->near_step;
  } else if (ahead->a_lines > 0) {
    tile->near = ahead->a + --ahead->a_lines * LINE;
    tile->near_step = g->a_col * (int64_t)sizeof(float);
  } else if (ahead->b_lines > 0) {
    tile->near = ahead->b + --ahead->b_lines * LINE;
    tile->near_step = g->b_row * (int64_t)sizeof(float);
  } else if (ahead->met.program) {
    gemm_meet(&ahead->met, tile);
  }
}

static look_ahead look_ahead_of(const job *job, block at, range columns) {
  const ck_gemm_args *g = job->g;
  const int64_t next = at.step + at.steps;
  if (next >= job->K) {
    const range rows = {at.row, at.row + at.rows};
    return (look_ahead){.met = {ck_gemm_program(g), job->m.index, rows, columns, 0}};
  }
  if (g->a_row != 1) return (look_ahead){0};
  look_ahead ahead = {
      .a = (const char *)(job->m.a + at.row + next * g->a_col),
      .a_lines = ceiling(at.rows * (int64_t)sizeof(float), LINE),
  };
  if (g->b_col == 1 && !g->b_packed) {
    ahead.b = (const char *)(job->m.b + columns.begin + next * g->b_row);
    ahead.b_lines = ceiling(length(columns) * (int64_t)sizeof(float), LINE);
  }
  return ahead;
}

/// One column panel against all rows of a block.
static void multiply_panel(const job *job, gemm_tile *tile, block at, look_ahead *ahead) {
  const int32_t most =
      job->pack_a ? job->level->max_rows : tile_rows(job->g, job->level, tile->columns);
  const int64_t tiles = ceiling(at.rows, most);
  for (int64_t i = 0; i < tiles; i++) {
    const int64_t begin = tile_begin(at.rows, tiles, i), end = tile_begin(at.rows, tiles, i + 1);
    take_near(job, tile, ahead, job->pack_a ? begin : end);
    multiply_tile(job, tile, at, begin, end);
  }
}

/// Points the tile at its panel of B, packing it where that is due, and widens it over two panels
/// where few rows read B in place.
static void take_panel(const job *job, gemm_tile *tile, block *at, range columns) {
  const ck_gemm_args *g = job->g;
  const gemm_level *level = job->level;
  const float *b = job->m.b;
  const int64_t j = at->column;
  // Panels start at multiples of their width; a share may begin inside one.
  const int64_t lane = j % level->columns;
  at->columns = least(level->columns - lane, columns.end - j);
  if (g->b_packed) {
    // [K block][panel][step][lane]: the panel at column j of the block at `step` starts at
    // step * padded + j * steps.
    const int64_t padded = padded_columns(g, level), panel = j - lane;
    tile->b_row = least(level->columns, padded - panel);
    tile->b = b + at->step * padded + panel * at->steps + lane;
  } else if (job->pack_b || at->columns % level->vector) {
    tile->b_row = ceiling(at->columns, level->vector) * level->vector;
    float *panel = job->b_scratch;
    if (job->pack_b && job->blocking.keeps_b) {
      const int64_t width = ceiling(length(columns), level->vector) * level->vector;
      panel += (j - columns.begin) * at->steps;
      if (job->blocking.keeps_steps) panel += at->step * width;
    }
    const float *source = b + at->step * g->b_row + j * g->b_col;
    if (job->pack_b && job->has_b) {
      tile->b = panel;
    } else if (job->pack_b && g->b_col == 1 && at->columns == level->columns) {
      // The first tile reads B in place and packs it for the others.
      tile->b = source;
      tile->b_row = g->b_row;
      tile->packed = panel;
    } else {
      level->pack(panel, tile->b_row, at->columns, at->steps, source, g->b_col, g->b_row);
      tile->b = panel;
    }
  } else {
    if (at->rows <= level->flat_rows && columns.end - j >= 2 * level->columns)
      at->columns = 2 * level->columns;
    tile->b_row = g->b_row;
    tile->b = b + at->step * g->b_row + j;
  }
  tile->columns = (int32_t)at->columns;
}

/// Whether a few rows at a time go through all panels, so that A is read, and C written, in the
/// order of memory: where the panels are there and small, and many rows of A lie one behind the
/// other.
static bool goes_by_rows(const job *job, range columns) {
  const ck_gemm_args *g = job->g;
  const bool has_panels = job->has_b || (g->b_packed && g->M > job->blocking.rows);
  return has_panels && !job->pack_a && g->a_col == 1 && g->K <= ck_gemm_k_block(g->K) &&
         length(columns) * g->K <= NEAR_FLOATS;
}

static void multiply_by_rows(const job *job, gemm_tile *tile, block at, range columns) {
  const ck_gemm_args *g = job->g;
  const int64_t tiles = ceiling(at.rows, tile_rows(g, job->level, job->level->columns));
  for (int64_t i = 0; i < tiles; i++) {
    const int64_t begin = tile_begin(at.rows, tiles, i), end = tile_begin(at.rows, tiles, i + 1);
    // The rows that follow are those that are read next.
    tile->near = (const char *)(job->m.a + (at.row + end) * g->a_row);
    tile->near_step = LINE;
    tile->ahead = (end - begin) * job->c_row;
    for (int64_t j = columns.begin; j < columns.end; j += at.columns) {
      at.column = j;
      take_panel(job, tile, &at, columns);
      tile->bias = g->epilogue.bias ? g->epilogue.bias + j : NULL;
      multiply_tile(job, tile, at, begin, end);
      tile->near = NULL;
    }
  }
}

/// A few of B's rows at a time, each along all columns of the range; the sums wait meanwhile.
static void multiply_along(const job *job, gemm_tile *tile, block at, range columns, bool last) {
  const ck_gemm_args *g = job->g;
  const int64_t end = at.step + at.steps;
  const int64_t steps = at.rows <= job->level->max_rows ? WALKED_STEPS : 2 * WALKED_STEPS;
  tile->b_ahead = WALKED_AHEAD;
  for (; at.step < end; at.step += at.steps) {
    at.steps = least(steps, end - at.step);
    tile->K = at.steps;
    tile->resumes = at.step > at.packed_step;
    tile->suspends = at.step + at.steps < end;
    tile->sums = job->sum_scratch;
    for (int64_t j = columns.begin; j < columns.end; j += at.columns) {
      at.column = j;
      take_panel(job, tile, &at, columns);
      tile->bias = g->epilogue.bias && last ? g->epilogue.bias + j : NULL;
      const int64_t width = ceiling(at.columns, job->level->vector) * job->level->vector;
      const int64_t tiles = ceiling(
          at.rows, job->pack_a ? job->level->max_rows : tile_rows(g, job->level, tile->columns));
      for (int64_t i = 0; i < tiles; i++) {
        const int64_t begin = tile_begin(at.rows, tiles, i);
        multiply_tile(job, tile, at, begin, tile_begin(at.rows, tiles, i + 1));
        tile->sums += tile->rows * width;
      }
    }
  }
}

/// Where the rows of A lie that this panel brings near, as `look_ahead` has them: those of its own
/// block, read in place, the first panel; those that are packed next, the last one.
static const float *rows_to_come(const job *job, block at, range columns) {
  const ck_gemm_args *g = job->g;
  if (g->a_col != 1) return NULL;
  if (!job->pack_a)
    return at.column == columns.begin ? job->m.a + at.row * g->a_row + at.step : NULL;
  if (at.column + at.columns < columns.end) return NULL;
  // A fused product goes on along K and then to the next rows, others the other way round.
  int64_t row = at.row, step = at.step;
  if (g->epilogue.program) {
    step += at.steps;
    if (step == job->K) row += at.rows, step = 0;
  } else {
    row += at.rows;
    if (row == job->rows.end) row = job->rows.begin, step += at.steps;
  }
  return row < job->rows.end && step < job->K ? job->m.a + row * g->a_row + step : NULL;
}

/// One block of K against one block of rows and a range of columns.
static void multiply_block(const job *job, range rows, range columns, int64_t step) {
  const ck_gemm_args *g = job->g;
  block at = {.row = rows.begin, .rows = length(rows), .step = step};
  at.steps = least(ck_gemm_k_block(g->K), job->K - step);
  at.packed_step = step, at.packed_steps = at.steps;
  const bool last = step + at.steps == job->K;
  gemm_tile tile = {
      .c_row = job->c_row,
      .K = at.steps,
      .alpha = g->alpha,
      .accumulate = g->accumulate || step > 0,
      .relu = g->epilogue.relu && last,
      .other_row = g->epilogue.other_row,
      .combination = last ? (int32_t)g->epilogue.combination : CK_ALONE,
      .momentum = g->epilogue.momentum,
      .rate = g->epilogue.rate ? *g->epilogue.rate : 0,
  };
  if (job->pack_a) pack_a_block(g, job->level, job->m.a, at, job->a_scratch);
  if (goes_by_rows(job, columns)) {
    multiply_by_rows(job, &tile, at, columns);
    return;
  }
  // So few rows have tiles of two panels, which fetch enough by themselves unless rows are long.
  if (job->walks && (at.rows > job->level->flat_rows || length(columns) >= WALKED_COLUMNS)) {
    multiply_along(job, &tile, at, columns, last);
    return;
  }
  look_ahead ahead = look_ahead_of(job, at, columns);
  for (int64_t j = columns.begin; j < columns.end; j += at.columns) {
    at.column = j;
    take_panel(job, &tile, &at, columns);
    tile.bias = g->epilogue.bias && last ? g->epilogue.bias + j : NULL;
    ahead.rows_of_a = rows_to_come(job, at, columns);
    multiply_panel(job, &tile, at, &ahead);
  }
}

/// Columns, then K, then rows: B's panels are packed once, C is revisited for every block of K.
static void multiply(job *job, range columns) {
  const int64_t blocks = ceiling(length(job->rows), job->blocking.rows);
  int64_t step = 0;
  do {
    for (int64_t r = 0; r < blocks; r++) {
      job->has_b = job->blocking.keeps_b && r > 0;
      multiply_block(job, block_of(job->rows, blocks, r), columns, step);
    }
    step += ck_gemm_k_block(job->g->K);
  } while (step < job->K);
}

/// Columns, then rows, then K: a block of the product is finished in the cache and goes from there
/// through the program.
static void multiply_fused(job *job, range columns) {
  const ck_gemm_args *g = job->g;
  const int64_t blocks = ceiling(length(job->rows), job->blocking.rows);
  job->c = job->c_scratch;
  job->c_row = least(padded_columns(g, job->level), job->blocking.columns) + job->level->vector;
  job->c_column = columns.begin;
  for (int64_t r = 0; r < blocks; r++) {
    const range rows = block_of(job->rows, blocks, r);
    job->c_begin = rows.begin;
    job->has_b = job->blocking.keeps_b && r > 0;
    int64_t step = 0;
    do {
      multiply_block(job, rows, columns, step);
      step += ck_gemm_k_block(g->K);
    } while (step < job->K);
    ck_loop_block(job->level->isa)(ck_gemm_program(g), job->epilogue_scratch, job->m.index,
                                   rows.begin, length(rows), columns.begin, length(columns), job->c,
                                   job->c_row);
  }
}

// MARK: The team

ck_gemm_part gemm_part_of(const ck_gemm_args *g, const gemm_level *level, const ck_thread *t) {
  gemm_cut cut = {.row_unit = 1, .column_unit = level->vector};
  if (packs_a(g, level)) cut.pack_a = 0.25 * level->vector;
  if (packs_b(g, level)) cut.pack_b = 0.25 * level->vector;
  // Rows of one tile stay together where there are columns for all.
  if ((g->M <= level->max_rows || walks(g, level)) && g->N >= 2 * level->vector * t->count)
    cut.row_unit = g->M;
  return gemm_part_by(g, cut, t);
}

void gemm_run(const ck_gemm_args *g, const ck_thread *t, const gemm_level *level) {
  const ck_gemm_part part = gemm_part_of(g, level, t);
  if (part.column >= part.column_end || part.row >= part.row_end) return;
  job job = {.g = g, .level = level, .blocking = blocking_of(g, level), .c_row = g->c_row};
  job.K = gemm_terms(g);
  job.pack_a = packs_a(g, level);
  job.pack_b = packs_b(g, level);
  job.walks = walks(g, level);
  job.a_scratch = t->scratch;
  job.b_scratch = job.a_scratch + job.blocking.a;
  job.c_scratch = job.b_scratch + job.blocking.b;
  job.sum_scratch = job.c_scratch + ceiling(job.blocking.c, 16) * 16;
  job.epilogue_scratch = job.sum_scratch + ceiling(job.blocking.sums, 16) * 16;
  for (int64_t row = part.row; row < part.row_end; row += length(job.rows)) {
    const int64_t first = row % g->M;
    job.m = gemm_matrix_at(g, row / g->M);
    job.rows = (range){first, first + least(g->M - first, part.row_end - row)};
    for (int64_t j = part.column; j < part.column_end; j += job.blocking.columns) {
      const range columns = {j, least(j + job.blocking.columns, part.column_end)};
      if (g->epilogue.program) {
        multiply_fused(&job, columns);
      } else {
        job.c = job.m.c;
        multiply(&job, columns);
      }
    }
  }
}
