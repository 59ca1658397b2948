// The driver of the tile products: how C is cut over the team, blocking, what is packed, and which
// blocks are multiplied without tiles.
//
// The unit is 32 x 32 elements of C and one block of K, on a grid that starts at the matrix's first
// element, whatever the team. Each is either a product of tiles or, where the guards of the two
// panels say that splitting would lose something, one of fused multiply-adds: a question of the
// data alone.
#include "gemm_tiles.h"

#if defined(__x86_64__)

enum {
  K_BLOCK = 512,            // of parts; three of 192 rows are 576 KB of L2
  K_BLOCK_BF16 = 1024,      // of a single part
  ROW_PANELS = 6,           // of A, packed at a time
  COLUMN_PANELS = 16,       // of B, kept packed for all rows
  KEPT_BYTES = 4 << 20,     // of B at most, unless one panel takes more
  LARGEST_KEPT = 16 << 20,  // of B; above that B is packed anew for each block of rows

  // Biased exponents. Three parts of a number of 2^-103 and above are normal bf16 numbers; products
  // of 2^-100 and above stay far from where sums are flushed; sums of a block stay below infinity.
  LEAST = 127 - 103,
  LEAST_OF_PRODUCTS = 2 * 127 - 100,
  GREATEST = 252,
  GREATEST_OF_PRODUCTS = 2 * 127 + 114
};

static int64_t k_block_of(int64_t K, int32_t parts) {
  const int64_t most = parts == 1 ? K_BLOCK_BF16 : K_BLOCK;
  if (K <= most) return K > 0 ? K : 1;
  return ceiling(ceiling(K, ceiling(K, most)), TILE_STEP) * TILE_STEP;
}

/// Bytes of a panel of K elements; with fewer than three parts room for f32 is no less.
static int64_t panel_bytes(int64_t K, int32_t parts) {
  return ceiling(K, TILE_STEP) * TILE_STEP_BYTES * parts;
}

static int64_t k_blocks(int64_t K, int32_t parts) {
  return K > 0 ? ceiling(K, k_block_of(K, parts)) : 1;
}

/// Bytes of one panel of all of K: blocks but the last are whole steps.
static int64_t column_bytes(int64_t K, int32_t parts) { return panel_bytes(K, parts); }

// MARK: Guards

static bool is_safe(tile_guard g) { return g.least >= LEAST && g.greatest <= GREATEST; }

static bool can_split(tile_guard a, tile_guard b) {
  return is_safe(a) && is_safe(b) && a.least + b.least >= LEAST_OF_PRODUCTS &&
         a.greatest + b.greatest <= GREATEST_OF_PRODUCTS;
}

// MARK: B packed beforehand
//
// [panel's guards: column panel][K block], up to a multiple of 64 bytes; then [column panel][K].

static int64_t guard_bytes(int64_t K, int64_t N, int32_t parts) {
  const int64_t count = ceiling(N, TILE_LANES) * k_blocks(K, parts);
  return ceiling(count * (int64_t)sizeof(tile_guard), 64) * 64;
}

int64_t gemm_tiles_packed_bytes(int64_t K, int64_t N, int32_t parts) {
  return guard_bytes(K, N, parts) + ceiling(N, TILE_LANES) * column_bytes(K, parts);
}

/// f32 panel[p * 32 + j] of up to 32 lanes, zero beyond them.
static void pack_wide(float *panel, int64_t lanes, int64_t K, const void *source, ck_dtype type,
                      int64_t across, int64_t along) {
  gemm_narrow_avx512.pack(panel, TILE_LANES, lanes, K, source, type, across, along);
}

void gemm_tiles_pack_run(const ck_gemm_pack_args *g, const ck_thread *t, int32_t parts) {
  const int64_t panels = ceiling(g->N, TILE_LANES), blocks = k_blocks(g->K, parts);
  const int64_t k_block = k_block_of(g->K, parts), size = gemm_type_bytes(g->b_type);
  int64_t begin, end;
  ck_share(g->count * panels * blocks, t, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    const int64_t block = i % blocks, panel = i / blocks % panels, matrix = i / blocks / panels;
    char *packed = (char *)g->packed + matrix * gemm_tiles_packed_bytes(g->K, g->N, parts);
    tile_guard *guard = (tile_guard *)packed + panel * blocks + block;
    char *to = packed + guard_bytes(g->K, g->N, parts) + panel * column_bytes(g->K, parts) +
               panel_bytes(block * k_block, parts);
    const int64_t steps = least(k_block, g->K - block * k_block);
    const int64_t lanes = least(TILE_LANES, g->N - panel * TILE_LANES);
    const char *from =
        (const char *)g->b +
        (matrix * g->b_batch + block * k_block * g->b_row + panel * TILE_LANES * g->b_col) * size;
    *guard = gemm_tiles_pack(to, lanes, steps, from, (ck_dtype)g->b_type, g->b_col, g->b_row, parts,
                             true);
    if (parts > 1 && !is_safe(*guard)) {
      pack_wide((float *)to, lanes, steps, from, (ck_dtype)g->b_type, g->b_col, g->b_row);
      guard->form = TILE_WIDE;
    }
  }
}

// MARK: The blocks of one thread

typedef struct blocking {
  int64_t column_panels;  // worked on at a time
  bool keeps_b;           // packed for all blocks of rows
  bool in_block;          // C is summed in scratch
  int64_t k_block;
  int64_t a, b, guards, wide, c;  // bytes of scratch, in this order, each a multiple of 64
} blocking;

static int64_t line(int64_t bytes) { return ceiling(bytes, 64) * 64; }

static blocking blocking_of(const ck_gemm_args *g, int32_t parts) {
  blocking k = {.k_block = k_block_of(g->K, parts)};
  const int64_t blocks = k_blocks(g->K, parts), panels = ceiling(g->N, TILE_LANES);
  const int64_t column = column_bytes(g->K, parts);
  k.column_panels = least(panels, COLUMN_PANELS);
  if (!g->b_packed) {
    while (k.column_panels > 1 && k.column_panels * column > KEPT_BYTES) k.column_panels--;
    k.keeps_b = column <= LARGEST_KEPT;
    k.b = k.column_panels * (k.keeps_b ? column : panel_bytes(k.k_block, parts));
  }
  k.in_block = g->epilogue.program || (g->c_type != CK_F32 && blocks > 1);
  const int64_t row_panels = least(ceiling(g->M, TILE_LANES), ROW_PANELS);
  k.a = row_panels * panel_bytes(k.k_block, parts);
  k.guards = line((row_panels + k.column_panels * blocks) * (int64_t)sizeof(tile_guard));
  // The f32 panels of A and B, the strip, and what packing may write beyond a panel.
  k.wide = line(((parts > 1 ? 2 * TILE_LANES * k.k_block : 0) + TILE_LANES * TILE_LANES + 16) * 4);
  if (k.in_block) k.c = line(row_panels * TILE_LANES * (k.column_panels * TILE_LANES + 16) * 4);
  return k;
}

size_t gemm_tiles_scratch_bytes(const ck_gemm_args *args, int32_t parts) {
  const blocking k = blocking_of(args, parts);
  const ck_loop_args *epilogue = ck_gemm_program(args);
  return (size_t)(k.a + k.b + k.guards + k.wide + k.c) +
         (epilogue ? ck_loop_scratch_bytes(epilogue) : 0);
}

/// What one thread does of one matrix. Panels are counted from the matrix's first.
typedef struct job {
  const ck_gemm_args *g;
  const gemm_tiles *tiles;
  int32_t parts;
  blocking blocking;
  int64_t M, K;   // as many rows and terms as there are
  int64_t index;  // of the matrix
  const char *a, *b;
  char *c;
  char *a_scratch, *b_scratch;
  tile_guard *a_guards, *b_guards;  // of the row panels; of [column panel][K block]
  float *strip, *a_wide, *b_wide, *c_scratch;
  void *epilogue_scratch;
  int64_t block_row;  // distance of the rows of C's block
} job;

static void enter_matrix(job *job, int64_t index) {
  const ck_gemm_args *g = job->g;
  const gemm_offsets at = gemm_offsets_of(g, index);
  job->index = index;
  job->a = (const char *)g->a + at.a * gemm_type_bytes(g->a_type);
  job->b = (const char *)g->b + at.b * (g->b_packed ? 4 : gemm_type_bytes(g->b_type));
  job->c = g->epilogue.program ? NULL : (char *)g->c + at.c * gemm_type_bytes(g->c_type);
}

/// A block of K: where it begins, and its length.
typedef struct k_range {
  int64_t index, begin, steps;
} k_range;

static k_range k_range_of(const job *job, int64_t index) {
  const int64_t begin = index * job->blocking.k_block;
  return (k_range){index, begin, least(job->blocking.k_block, job->K - begin)};
}

static const char *a_source(const job *job, int64_t panel, k_range k) {
  const ck_gemm_args *g = job->g;
  return job->a + (panel * TILE_LANES * g->a_row + k.begin * g->a_col) * gemm_type_bytes(g->a_type);
}

static const char *b_source(const job *job, int64_t panel, k_range k) {
  const ck_gemm_args *g = job->g;
  return job->b + (k.begin * g->b_row + panel * TILE_LANES * g->b_col) * gemm_type_bytes(g->b_type);
}

static int64_t lanes_of(int64_t extent, int64_t panel) {
  return least(TILE_LANES, extent - panel * TILE_LANES);
}

/// A panel of B, packed: beforehand or in scratch.
typedef struct b_panel {
  const char *data;
  tile_guard *guard;
} b_panel;

static b_panel b_panel_of(const job *job, range columns, int64_t panel, k_range k) {
  const ck_gemm_args *g = job->g;
  const int64_t blocks = k_blocks(g->K, job->parts);
  if (g->b_packed)
    return (b_panel){job->b + guard_bytes(g->K, g->N, job->parts) +
                         panel * column_bytes(g->K, job->parts) + panel_bytes(k.begin, job->parts),
                     (tile_guard *)job->b + panel * blocks + k.index};
  const int64_t local = panel - columns.begin;
  const char *data = job->blocking.keeps_b
                         ? job->b_scratch + local * column_bytes(g->K, job->parts) +
                               panel_bytes(k.begin, job->parts)
                         : job->b_scratch + local * panel_bytes(job->blocking.k_block, job->parts);
  return (b_panel){data, job->b_guards + local * blocks + k.index};
}

static void pack_b(const job *job, range columns, k_range k) {
  const ck_gemm_args *g = job->g;
  for (int64_t panel = columns.begin; panel < columns.end; panel++) {
    const b_panel to = b_panel_of(job, columns, panel, k);
    *to.guard =
        gemm_tiles_pack((char *)to.data, lanes_of(g->N, panel), k.steps, b_source(job, panel, k),
                        (ck_dtype)g->b_type, g->b_col, g->b_row, job->parts, true);
  }
}

static void pack_a(const job *job, range rows, k_range k) {
  const ck_gemm_args *g = job->g;
  for (int64_t panel = rows.begin; panel < rows.end; panel++) {
    const int64_t local = panel - rows.begin;
    job->a_guards[local] =
        gemm_tiles_pack(job->a_scratch + local * panel_bytes(job->blocking.k_block, job->parts),
                        lanes_of(job->M, panel), k.steps, a_source(job, panel, k),
                        (ck_dtype)g->a_type, g->a_row, g->a_col, job->parts, false);
  }
}

/// The strip by fused multiply-adds, from f32 panels.
static void multiply_wide(const job *job, int64_t row, int64_t column, b_panel b, k_range k) {
  const ck_gemm_args *g = job->g;
  const float *b_wide = job->b_wide;
  if (!g->b_packed) {
    pack_wide(job->b_wide, lanes_of(g->N, column), k.steps, b_source(job, column, k),
              (ck_dtype)g->b_type, g->b_col, g->b_row);
  } else if (b.guard->form == TILE_WIDE) {
    b_wide = (const float *)b.data;
  } else {
    gemm_tiles_join(job->b_wide, k.steps, b.data, job->parts);
  }
  const int64_t rows = lanes_of(job->M, row);
  pack_wide(job->a_wide, rows, k.steps, a_source(job, row, k), (ck_dtype)g->a_type, g->a_row,
            g->a_col);
  gemm_tile tile = {
      .a_row = 1,
      .a_col = TILE_LANES,
      .b = b_wide,
      .b_row = TILE_LANES,
      .c_row = TILE_LANES,
      .K = k.steps,
      .alpha = 1,
      .columns = TILE_LANES,
  };
  const int64_t most = least(gemm_avx512.max_rows, 8);
  for (int64_t i = 0; i < rows; i += most) {
    tile.a = job->a_wide + i;
    tile.c = job->strip + i * TILE_LANES;
    tile.rows = (int32_t)least(most, rows - i);
    gemm_avx512.tile(&tile);
  }
}

/// One block of K against a block of row panels and the panels of some columns.
static void multiply_block(const job *job, range rows, range columns, k_range k) {
  const ck_gemm_args *g = job->g;
  const bool in_block = job->blocking.in_block, last = k.begin + k.steps >= job->K;
  const ck_dtype type = in_block ? CK_F32 : (ck_dtype)g->c_type;
  tile_finish finish = {
      .c_row = in_block ? job->block_row : g->c_row,
      .type = type,
      .alpha = g->alpha,
      .accumulate = g->accumulate || k.index > 0,
      .relu = g->epilogue.relu && last,
  };
  pack_a(job, rows, k);
  for (int64_t column = columns.begin; column < columns.end; column++) {
    const b_panel b = b_panel_of(job, columns, column, k);
    const int64_t width = lanes_of(g->N, column);
    finish.bias = g->epilogue.bias && last ? g->epilogue.bias + column * TILE_LANES : NULL;
    for (int64_t row = rows.begin; row < rows.end; row++) {
      const int64_t local = row - rows.begin;
      if (job->parts == 1 || can_split(job->a_guards[local], *b.guard)) {
        job->tiles->multiply(
            job->strip, job->a_scratch + local * panel_bytes(job->blocking.k_block, job->parts),
            b.data, ceiling(k.steps, TILE_STEP), job->parts);
      } else {
        multiply_wide(job, row, column, b, k);
      }
      if (in_block) {
        finish.c = job->c_scratch + local * TILE_LANES * job->block_row +
                   (column - columns.begin) * TILE_LANES;
      } else {
        finish.c = job->c +
                   (row * TILE_LANES * g->c_row + column * TILE_LANES) * gemm_type_bytes(g->c_type);
      }
      gemm_tiles_finish(&finish, job->strip, lanes_of(job->M, row), width);
    }
  }
}

/// Columns, then rows, then K: a block of C stays in the cache until it is done.
static void multiply(job *job, range rows, range columns) {
  const ck_gemm_args *g = job->g;
  const int64_t blocks = greatest(1, ceiling(job->K, job->blocking.k_block));
  const bool packs_b = !g->b_packed;
  job->block_row = job->blocking.column_panels * TILE_LANES + 16;
  if (packs_b && job->blocking.keeps_b)
    for (int64_t i = 0; i < blocks; i++) pack_b(job, columns, k_range_of(job, i));
  for (int64_t row = rows.begin; row < rows.end; row += ROW_PANELS) {
    const range part = {row, least(row + ROW_PANELS, rows.end)};
    const int64_t height = least(part.end * TILE_LANES, job->M) - row * TILE_LANES;
    const int64_t left = columns.begin * TILE_LANES;
    const int64_t width = least(columns.end * TILE_LANES, g->N) - left;
    char *c = NULL;
    if (!g->epilogue.program)
      c = job->c + (row * TILE_LANES * g->c_row + left) * gemm_type_bytes(g->c_type);
    if (job->blocking.in_block && g->accumulate)
      gemm_narrow_avx512.widen(job->c_scratch, job->block_row, c, (ck_dtype)g->c_type, g->c_row,
                               height, width);
    for (int64_t i = 0; i < blocks; i++) {
      const k_range k = k_range_of(job, i);
      if (packs_b && !job->blocking.keeps_b) pack_b(job, columns, k);
      multiply_block(job, part, columns, k);
    }
    if (g->epilogue.program) {
      if (g->c_type != CK_F32)
        gemm_narrow_avx512.round_in_place(job->c_scratch, (ck_dtype)g->c_type, job->block_row,
                                          height, width);
      ck_loop_block(CK_ISA_AVX512)(ck_gemm_program(g), job->epilogue_scratch, job->index,
                                   row * TILE_LANES, height, left, width, job->c_scratch,
                                   job->block_row);
    } else if (job->blocking.in_block) {
      gemm_narrow_avx512.round(c, (ck_dtype)g->c_type, g->c_row, job->c_scratch, job->block_row,
                               height, width);
    }
  }
}

// MARK: The team

ck_gemm_part gemm_tiles_part_of(const ck_gemm_args *g, const ck_thread *t) {
  // A product of two panels takes twice as long as packing one of them.
  const gemm_cut cut = {
      .row_unit = TILE_LANES,
      .column_unit = TILE_LANES,
      .pack_a = TILE_LANES / 2,
      .pack_b = g->b_packed ? 0 : TILE_LANES / 2,
  };
  return gemm_part_by(g, cut, t);
}

static job job_of(const ck_gemm_args *g, const ck_thread *t, const gemm_tiles *tiles,
                  int32_t parts) {
  job job = {.g = g, .tiles = tiles, .parts = parts, .blocking = blocking_of(g, parts)};
  const blocking *k = &job.blocking;
  job.M = gemm_rows(g), job.K = gemm_terms(g);
  const int64_t row_panels = least(ceiling(g->M, TILE_LANES), ROW_PANELS);
  char *scratch = t->scratch;
  job.a_scratch = scratch, scratch += k->a;
  job.b_scratch = scratch, scratch += k->b;
  job.a_guards = (tile_guard *)scratch, scratch += k->guards;
  job.b_guards = job.a_guards + row_panels;
  job.strip = (float *)scratch;
  job.a_wide = job.strip + TILE_LANES * TILE_LANES;
  job.b_wide = job.a_wide + TILE_LANES * k->k_block;
  scratch += k->wide;
  job.c_scratch = (float *)scratch, scratch += k->c;
  job.epilogue_scratch = scratch;
  return job;
}

void gemm_tiles_run(const ck_gemm_args *g, const ck_thread *t, const gemm_tiles *tiles,
                    int32_t parts) {
  const ck_gemm_part part = gemm_tiles_part_of(g, t);
  if (part.column >= part.column_end || part.row >= part.row_end) return;
  const range columns = {part.column / TILE_LANES, ceiling(part.column_end, TILE_LANES)};
  job job = job_of(g, t, tiles, parts);
  tiles->enter();
  int64_t count;
  for (int64_t row = part.row; row < part.row_end; row += count) {
    const int64_t first = row % g->M;
    count = least(g->M - first, part.row_end - row);
    const range rows = {first / TILE_LANES, ceiling(first + count, TILE_LANES)};
    enter_matrix(&job, row / g->M);
    for (int64_t j = columns.begin; j < columns.end; j += job.blocking.column_panels)
      multiply(&job, rows, (range){j, least(j + job.blocking.column_panels, columns.end)});
  }
  tiles->leave();
}

#endif
