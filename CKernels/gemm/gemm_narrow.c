// The portable driver of products whose operands or result are narrower than f32: how C is cut over
// the team, blocking, what is packed.
//
// As in gemm.c every element of C belongs to one thread, which sums it in one order, so that the
// cut may follow the size of the team. A narrow C is summed in a block of f32 that stays in the
// cache, and is rounded once.
#include "gemm_narrow.h"

enum {
  BLOCK_WORDS = 512,       // of a panel, that a level's `block_columns` reckons with
  KEPT_WORDS = 1 << 19,    // of B, kept in scratch for all blocks of rows of a block of C
  DOT_COLUMNS = 8,         // are so few that lanes run along K
  DIRECT_A_COLUMNS = 256,  // A is read in place, where it can be, for so few columns of B
  PACKED_STEPS = 32,       // of all rows of A, whole words, where its columns are contiguous
  FAR_STEPS = 512          // and its steps so far apart, in elements
};

/// The length of the blocks that K is cut into, in elements.
static int64_t k_block_of(int64_t K, const gemm_narrow *narrow) {
  if (narrow->steps == 1) return ck_gemm_k_block(K);
  const int64_t most = narrow->k_block * narrow->steps;
  if (K <= most) return K > 0 ? K : 1;
  return ceiling(ceiling(K, ceiling(K, most)), 16) * 16;
}

static int64_t padded_columns(int64_t N, const gemm_narrow *narrow) {
  return ceiling(N, narrow->level->vector) * narrow->level->vector;
}

/// Words of the panels of one column from K = 0 up to there. All blocks but the last are even.
static int64_t words_of(int64_t K, const gemm_narrow *narrow) { return ceiling(K, narrow->steps); }

/// Whether the tiles of the last block of K round what they write to C.
static bool rounds_in_tile(const ck_gemm_args *g, const gemm_narrow *narrow) {
  return narrow->steps == 2 && g->c_type == CK_BF16 && !g->epilogue.program;
}

/// Whether C is summed in a block of scratch.
static bool uses_block(const ck_gemm_args *g, const gemm_narrow *narrow) {
  if (g->epilogue.program) return true;
  if (g->c_type == CK_F32) return false;
  return !rounds_in_tile(g, narrow) || g->accumulate || g->K > k_block_of(g->K, narrow);
}

/// The blocks that a thread works on at a time, and the words of scratch they take.
typedef struct blocking {
  int64_t rows, columns, k_block;
  bool in_block;     // C is summed in scratch
  bool keeps_b;      // B is packed once for all blocks of rows
  bool keeps_steps;  // and for all of K
  int64_t a, b, c;   // b begins behind a, c behind b, turned panels behind c
  int64_t turned;
} blocking;

static blocking blocking_of(const ck_gemm_args *g, const gemm_narrow *narrow) {
  const gemm_level *level = narrow->level;
  const int64_t padded = padded_columns(g->N, narrow);
  blocking k = {.in_block = uses_block(g, narrow), .k_block = k_block_of(g->K, narrow)};
  const int64_t block_words = words_of(k.k_block, narrow);
  k.rows = k.in_block ? level->fused_rows : level->block_rows;
  k.columns = level->fused_columns;
  if (!k.in_block) {
    // The fewer words a panel has, the more panels go into the cache, and the less often A is
    // packed.
    const int64_t panels = (int64_t)level->block_columns * BLOCK_WORDS / block_words;
    k.columns = greatest(level->block_columns, panels / level->columns * level->columns);
  }
  const int64_t rows = least(g->M, k.rows), columns = least(padded, k.columns);
  // A panel's last step may write seven words beyond it.
  k.a = ceiling(rows * block_words + 8, 16) * 16;
  if (!g->b_packed) {
    const int64_t words = words_of(g->K, narrow);
    k.keeps_steps = k.in_block && columns * words <= KEPT_WORDS;
    k.keeps_b = g->M > k.rows && (!k.in_block || k.keeps_steps);
    k.b = k.keeps_b ? columns * (k.in_block ? words : block_words)
                    : least(padded, level->columns) * block_words;
    k.b = ceiling(k.b + 8, 16) * 16;
  }
  // One vector more a row: rows a power of two apart would fall on one set of the cache.
  if (k.in_block) k.c = ceiling(rows * (columns + level->vector), 16) * 16;
  if (narrow->turn && g->N <= DOT_COLUMNS)
    k.turned = DOT_COLUMNS * ceiling(block_words + 8, 16) * 16;
  return k;
}

static int64_t blocking_words(blocking k) { return k.a + k.b + k.c + k.turned; }

/// Whether A's rows are whole words, if their first is aligned.
static bool has_rows_of_pairs(const ck_gemm_args *g, const gemm_narrow *narrow) {
  return narrow->steps == 2 && g->a_type == CK_BF16 && g->a_col == 1 && g->a_row % 2 == 0 &&
         g->K % 2 == 0;
}

/// A product with one column fills one lane of a vector: its transpose, with one row, fills all.
static bool is_better_transposed(const ck_gemm_args *g, const gemm_narrow *narrow) {
  return g->N == 1 && g->M > 1 && g->c_row == 1 && !g->epilogue.bias && !g->epilogue.program &&
         !g->b_packed && !has_rows_of_pairs(g, narrow);
}

static ck_gemm_args transposed(const ck_gemm_args *g) {
  ck_gemm_args other = *g;
  other.a = g->b, other.a_row = g->b_col, other.a_col = g->b_row;
  other.b = g->a, other.b_row = g->a_col, other.b_col = g->a_row;
  other.a_type = g->b_type, other.b_type = g->a_type;
  other.M = 1, other.N = g->M, other.c_row = g->M;
  for (int d = 0; d < CK_GEMM_BATCH_DIMS; d++) {
    other.a_batch[d] = g->b_batch[d];
    other.b_batch[d] = g->a_batch[d];
  }
  return other;
}

size_t gemm_narrow_scratch_bytes(const ck_gemm_args *args, const gemm_narrow *narrow) {
  const ck_loop_args *epilogue = ck_gemm_program(args);
  const size_t program = epilogue ? ck_loop_scratch_bytes(epilogue) : 0;
  const int64_t words = blocking_words(blocking_of(args, narrow));
  if (args->N != 1) return (size_t)words * sizeof(float) + program;
  // Whether there is a bias may not be known yet, and so, which way it will go.
  const ck_gemm_args other = transposed(args);
  const int64_t transposed_words = blocking_words(blocking_of(&other, narrow));
  return (size_t)(words > transposed_words ? words : transposed_words) * sizeof(float) + program;
}

// MARK: The blocks of one thread

typedef struct block {
  int64_t row, rows;        // of C
  int64_t column, columns;  // of C
  int64_t step, steps;      // of K, elements
} block;

/// What one thread does of one matrix.
typedef struct job {
  const ck_gemm_args *g;
  const gemm_narrow *narrow;
  blocking blocking;
  int64_t K;      // as many terms as there are
  int64_t index;  // of the matrix
  const char *a, *b;
  char *c;
  range rows, columns;
  bool direct_a;  // A is read in place, as words
  bool dots;      // lanes run along K
  bool has_b;     // B's panels are packed from an earlier block of rows
  float *a_scratch, *b_scratch, *c_scratch, *dot_scratch, *epilogue_scratch;
  int64_t block_row;  // distance of the rows of C's block
} job;

static void enter_matrix(job *job, int64_t index) {
  const ck_gemm_args *g = job->g;
  const gemm_offsets at = gemm_offsets_of(g, index);
  job->index = index;
  job->a = (const char *)g->a + at.a * gemm_type_bytes(g->a_type);
  job->b = (const char *)g->b + at.b * (g->b_packed ? 4 : gemm_type_bytes(g->b_type));
  job->c = g->epilogue.program ? NULL : (char *)g->c + at.c * gemm_type_bytes(g->c_type);
  // In place: no more columns than the panels are worth, and whole, aligned words.
  job->direct_a = g->N <= DIRECT_A_COLUMNS && (uintptr_t)job->a % 4 == 0;
  if (job->narrow->steps == 1) {
    job->direct_a &= g->a_type == CK_F32;
  } else {
    job->direct_a &= has_rows_of_pairs(g, job->narrow) && job->K % 2 == 0;
  }
  job->dots = job->direct_a && job->narrow->steps == 2 && g->N <= DOT_COLUMNS;
}

static void pack_a_block(const job *job, block at) {
  const ck_gemm_args *g = job->g;
  const int64_t tiles = ceiling(at.rows, job->narrow->level->max_rows);
  const int64_t words = words_of(at.steps, job->narrow);
  // Where steps lie far apart, all rows of a few are taken at a time, as memory likes.
  const int64_t most = g->a_row == 1 && g->a_col >= FAR_STEPS ? PACKED_STEPS : at.steps;
  int64_t p = 0;
  do {
    const int64_t steps = least(most, at.steps - p);
    for (int64_t i = 0; i < tiles; i++) {
      const int64_t begin = tile_begin(at.rows, tiles, i);
      const int64_t rows = tile_begin(at.rows, tiles, i + 1) - begin;
      const int64_t from = (at.row + begin) * g->a_row + (at.step + p) * g->a_col;
      job->narrow->pack(job->a_scratch + begin * words + words_of(p, job->narrow) * rows, rows,
                        rows, steps, job->a + from * gemm_type_bytes(g->a_type),
                        (ck_dtype)g->a_type, g->a_row, g->a_col);
    }
    p += steps;
  } while (p < at.steps);
}

/// One column panel against all rows of a block. `c` is where the block's first row meets the
/// panel, `c_size` bytes an element; `from` is that place in the sums so far, where they lie
/// elsewhere.
static void multiply_panel(const job *job, gemm_tile *tile, block at, char *c, int64_t c_size,
                           const float *from, gemm_met *met) {
  const ck_gemm_args *g = job->g;
  const gemm_level *level = job->narrow->level;
  const char *other = (const char *)g->epilogue.other;
  const int64_t tiles = ceiling(at.rows, level->max_rows), steps = job->narrow->steps;
  for (int64_t i = 0; i < tiles; i++) {
    const int64_t begin = tile_begin(at.rows, tiles, i);
    tile->rows = (int32_t)(tile_begin(at.rows, tiles, i + 1) - begin);
    if (job->direct_a) {
      const int64_t from = (at.row + begin) * g->a_row + at.step * g->a_col;
      tile->a = (const float *)(job->a + from * gemm_type_bytes(g->a_type));
      tile->a_row = g->a_row / steps;
      tile->a_col = g->a_col;
    } else {
      tile->a = job->a_scratch + begin * tile->K;
      tile->a_row = 1;
      tile->a_col = tile->rows;
    }
    tile->c = (float *)(c + begin * tile->c_row * c_size);
    if (from) tile->from = from + begin * tile->from_row;
    if (tile->combination != CK_ALONE) {
      const int64_t place = job->index * g->epilogue.other_matrix +
                            (at.row + begin) * g->epilogue.other_row + at.column;
      tile->other =
          (const float *)(other + place * gemm_type_bytes((int16_t)g->epilogue.other_type));
    }
    tile->near = NULL;
    if (met->program) gemm_meet(met, tile);
    level->tile(tile);
  }
}

/// Points the tile at its panel of B, packing it where that is due.
static void take_panel(const job *job, gemm_tile *tile, block *at, range columns) {
  const ck_gemm_args *g = job->g;
  const gemm_level *level = job->narrow->level;
  const int64_t j = at->column, words = tile->K, before = at->step / job->narrow->steps;
  // Panels start at multiples of their width; a share may begin inside one.
  const int64_t lane = j % level->columns;
  at->columns = least(level->columns - lane, columns.end - j);
  tile->columns = (int32_t)at->columns;
  if (g->b_packed) {
    // [K block][panel][word][lane], as in gemm.c.
    const int64_t padded = padded_columns(g->N, job->narrow), panel = j - lane;
    tile->b_row = least(level->columns, padded - panel);
    tile->b = (const float *)job->b + before * padded + panel * words + lane;
    return;
  }
  tile->b_row = padded_columns(at->columns, job->narrow);
  float *panel = job->b_scratch;
  if (job->blocking.keeps_b) {
    panel += (j - columns.begin) * words;
    if (job->blocking.keeps_steps) panel += before * padded_columns(length(columns), job->narrow);
  }
  if (!job->has_b)
    job->narrow->pack(panel, tile->b_row, at->columns, at->steps,
                      job->b + (at->step * g->b_row + j * g->b_col) * gemm_type_bytes(g->b_type),
                      (ck_dtype)g->b_type, g->b_col, g->b_row);
  tile->b = panel;
}

/// Turns the only panel, for lanes along K.
static void turn_panel(const job *job, gemm_tile *tile) {
  job->narrow->turn(job->dot_scratch, tile->b, tile->b_row, tile->K);
  tile->b = job->dot_scratch;
  tile->b_row = tile->K;
  tile->dots = 1;
}

/// One block of K against one block of rows and a range of columns.
static void multiply_block(const job *job, range rows, range columns, int64_t step) {
  const ck_gemm_args *g = job->g;
  block at = {.row = rows.begin, .rows = length(rows), .step = step};
  at.steps = least(job->blocking.k_block, job->K - step);
  const bool last = step + at.steps == job->K;
  const bool sums_in_block = job->blocking.in_block;
  const bool to_block = sums_in_block && !(last && rounds_in_tile(g, job->narrow));
  gemm_tile tile = {
      .c_row = to_block ? job->block_row : g->c_row,
      .from_row = job->block_row,
      .other_row = g->epilogue.other_row,
      .combination = last ? (int32_t)g->epilogue.combination : CK_ALONE,
      .narrow_other = g->epilogue.other_type == CK_BF16,
      .K = words_of(at.steps, job->narrow),
      .alpha = g->alpha,
      .accumulate = g->accumulate || step > 0,
      .relu = g->epilogue.relu && last,
      .narrow = !to_block && g->c_type == CK_BF16,
  };
  const int64_t c_size = to_block ? 4 : gemm_type_bytes(g->c_type);
  if (!job->direct_a) pack_a_block(job, at);
  gemm_met met = {last ? ck_gemm_program(g) : NULL, job->index, rows, columns, 0};
  for (int64_t j = columns.begin; j < columns.end; j += at.columns) {
    at.column = j;
    take_panel(job, &tile, &at, columns);
    if (job->dots) turn_panel(job, &tile);
    tile.bias = g->epilogue.bias && last ? g->epilogue.bias + j : NULL;
    float *in_block = job->c_scratch + j - columns.begin;
    char *c = to_block ? (char *)in_block : job->c + (at.row * g->c_row + j) * c_size;
    multiply_panel(job, &tile, at, c, c_size, sums_in_block && !to_block ? in_block : NULL, &met);
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
    step += job->blocking.k_block;
  } while (step < job->K);
}

/// Columns, then rows, then K: a block of C is summed in the cache and goes from there through the
/// program, or is rounded, which its last tiles do where they can.
static void multiply_in_block(job *job, range columns) {
  const ck_gemm_args *g = job->g;
  const gemm_narrow *narrow = job->narrow;
  const int64_t blocks = ceiling(length(job->rows), job->blocking.rows);
  job->block_row =
      least(padded_columns(g->N, narrow), job->blocking.columns) + narrow->level->vector;
  for (int64_t r = 0; r < blocks; r++) {
    const range rows = block_of(job->rows, blocks, r);
    char *c = NULL;
    if (!g->epilogue.program)
      c = job->c + (rows.begin * g->c_row + columns.begin) * gemm_type_bytes(g->c_type);
    if (g->accumulate)
      narrow->widen(job->c_scratch, job->block_row, c, (ck_dtype)g->c_type, g->c_row, length(rows),
                    length(columns));
    job->has_b = job->blocking.keeps_b && r > 0;
    int64_t step = 0;
    do {
      multiply_block(job, rows, columns, step);
      step += job->blocking.k_block;
    } while (step < job->K);
    if (g->epilogue.program) {
      if (g->c_type != CK_F32)
        narrow->round_in_place(job->c_scratch, (ck_dtype)g->c_type, job->block_row, length(rows),
                               length(columns));
      ck_loop_block(narrow->level->isa)(ck_gemm_program(g), job->epilogue_scratch, job->index,
                                        rows.begin, length(rows), columns.begin, length(columns),
                                        job->c_scratch, job->block_row);
    } else if (!rounds_in_tile(g, narrow)) {
      narrow->round(c, (ck_dtype)g->c_type, g->c_row, job->c_scratch, job->block_row, length(rows),
                    length(columns));
    }
  }
}

// MARK: The team

ck_gemm_part gemm_narrow_part_of(const ck_gemm_args *g, const gemm_narrow *narrow,
                                 const ck_thread *t) {
  const int64_t vector = narrow->level->vector;
  gemm_cut cut = {.row_unit = 1, .column_unit = vector};
  if (g->N == 1) {
    // Transposed or not, which the bias decides: vectors along the rows of all matrices.
    ck_gemm_part part = {.column_end = 1};
    const int64_t rows = gemm_matrices(g) * gemm_rows(g);
    ck_share(ceiling(rows, vector), t, &part.row, &part.row_end);
    part.row = least(part.row * vector, rows);
    part.row_end = least(part.row_end * vector, rows);
    return part;
  }
  if (g->N > DIRECT_A_COLUMNS) cut.pack_a = 0.4 * (double)vector;
  if (!g->b_packed) cut.pack_b = 0.4 * (double)vector;
  return gemm_part_by(g, cut, t);
}

void gemm_narrow_run(const ck_gemm_args *args, const ck_thread *t, const gemm_narrow *narrow) {
  const bool transposes = is_better_transposed(args, narrow);
  const ck_gemm_args other = transposes ? transposed(args) : (ck_gemm_args){0};
  const ck_gemm_args *g = transposes ? &other : args;
  const ck_gemm_part part = gemm_narrow_part_of(args, narrow, t);
  if (part.column >= part.column_end || part.row >= part.row_end) return;
  job job = {.g = g, .narrow = narrow, .blocking = blocking_of(g, narrow), .K = gemm_terms(args)};
  job.a_scratch = t->scratch;
  job.b_scratch = job.a_scratch + job.blocking.a;
  job.c_scratch = job.b_scratch + job.blocking.b;
  job.dot_scratch = job.c_scratch + job.blocking.c;
  job.epilogue_scratch = job.dot_scratch + job.blocking.turned;
  int64_t count;
  for (int64_t row = part.row; row < part.row_end; row += count) {
    const int64_t first = row % args->M;
    count = least(args->M - first, part.row_end - row);
    enter_matrix(&job, row / args->M);
    const range rows = {first, first + count}, columns = {part.column, part.column_end};
    job.rows = transposes ? columns : rows;
    const range across = transposes ? rows : columns;
    const int64_t width = even_width(length(across), job.blocking.columns, narrow->level->columns);
    for (int64_t j = across.begin; j < across.end; j += width) {
      const range block = {j, least(j + width, across.end)};
      if (job.blocking.in_block) {
        multiply_in_block(&job, block);
      } else {
        multiply(&job, block);
      }
    }
  }
}

// MARK: B packed beforehand

int64_t gemm_narrow_packed_floats(int64_t K, int64_t N, const gemm_narrow *narrow) {
  return padded_columns(N, narrow) * words_of(K, narrow);
}

void gemm_narrow_pack_run(const ck_gemm_pack_args *g, const ck_thread *t,
                          const gemm_narrow *narrow) {
  const gemm_level *level = narrow->level;
  const int64_t panels = ceiling(g->N, level->columns), k_block = k_block_of(g->K, narrow);
  const int64_t padded = padded_columns(g->N, narrow), size = gemm_type_bytes(g->b_type);
  int64_t begin, end;
  ck_share(g->count * panels, t, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    const int64_t matrix = i / panels, column = i % panels * level->columns;
    const int64_t columns = least(level->columns, g->N - column);
    float *packed = g->packed + matrix * gemm_narrow_packed_floats(g->K, g->N, narrow);
    for (int64_t step = 0; step < g->K; step += k_block) {
      const int64_t steps = least(k_block, g->K - step);
      const int64_t from = matrix * g->b_batch + step * g->b_row + column * g->b_col;
      narrow->pack(packed + step / narrow->steps * padded + column * words_of(steps, narrow),
                   least(level->columns, padded - column), columns, steps,
                   (const char *)g->b + from * size, (ck_dtype)g->b_type, g->b_col, g->b_row);
    }
  }
}
