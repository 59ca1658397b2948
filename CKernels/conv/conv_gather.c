// The driver of convolutions that gather: forward, and the gradient of data a phase at a time.
//
// The weights are packed once by all threads, into panels of a tile's columns that hold all taps. A
// thread then goes through its rows of the result in blocks whose part of the source stays in the
// second cache. Of one row of the result a tile takes up to so many places: their elements of the
// source lie evenly apart, whatever the tap, so that a tile reads the source where it lies. Only
// where the last axis is padded is a block's source copied, with zeros around its rows.
#include <string.h>

#include "conv_internal.h"

enum {
  SOURCE_FLOATS = 1 << 16,   // of a block
  PROGRAM_FLOATS = 1 << 16,  // of a block of the result that a program follows
  MOST_PIECES = 32,
  TILES_AHEAD = 4,         // whose places in the result are brought near
  COLLIDING_FLOATS = 512,  // elements a multiple of this apart share a few sets of L1
  APART = 16               // more, where they would
};

// MARK: What a walk needs, a function of the shape alone

typedef struct plan {
  conv_walk walk;
  int64_t padded;      // channels of a group, in whole vectors
  bool joins;          // the taps along the last axis are one run of the source
  bool copies;         // the source goes through scratch
  int64_t columns[2];  // of the source that a row reads, from … to
  int64_t pixel;       // floats from one element of a row to the next
  int64_t row;         // from row to row
  int64_t block_rows;  // of the result
  int64_t source;      // floats of a block's copy
  int64_t run;         // terms of a segment
  int64_t most_segments;
} plan;

static int64_t source_channels(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? g->out_channels : g->in_channels;
}

static int64_t result_channels(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? g->in_channels : g->out_channels;
}

static const int64_t *result_extents(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? g->image : g->output;
}

/// Rows of the source that `rows` rows of the result read, of all planes.
static int64_t source_rows(const conv_walk *w, int64_t rows) {
  const conv_axis *h = &w->axis[1];
  const int64_t span = (rows - 1) * h->step + (h->taps - 1) * h->offset_step + 1;
  return w->axis[0].taps * least(span, h->extent);
}

static plan plan_of(const ck_conv_args *g, ck_conv_op op, int64_t index, const gemm_level *level) {
  plan p = {.walk = conv_walk_at(g, op, index)};
  const conv_walk *w = &p.walk;
  const conv_axis *last = &w->axis[2];
  const int64_t channels = source_channels(g, op);
  p.padded = ceiling(w->channels, level->vector) * level->vector;
  p.columns[0] = last->offset;
  p.columns[1] =
      (last->count - 1) * last->step + last->offset + (last->taps - 1) * last->offset_step + 1;
  const bool collides = last->step * channels % COLLIDING_FLOATS == 0;
  p.copies = w->taps > 0 && (p.columns[0] < 0 || p.columns[1] > last->extent || collides);
  p.joins = g->groups == 1 && last->offset_step == 1 && !(p.copies && collides);
  p.pixel = channels + (p.copies && collides ? APART : 0);
  p.row = p.copies ? (p.columns[1] - p.columns[0]) * p.pixel : last->extent * channels;
  p.run = w->source_channels * (p.joins ? last->taps : 1);
  p.most_segments = w->axis[0].taps * w->axis[1].taps * (p.joins ? 1 : last->taps);
  // The block with most rows that fits.
  int64_t rows = greatest(w->axis[1].count, 1);
  const int64_t images = greatest(least(g->images * w->axis[0].count, MOST_PIECES), 1);
  while (rows > 1 && source_rows(w, rows) * p.row > SOURCE_FLOATS) rows = ceiling(rows, 2);
  p.block_rows = rows;
  int64_t pieces = 1;
  if (rows == w->axis[1].count) {
    pieces = greatest(SOURCE_FLOATS / greatest(source_rows(w, rows) * p.row, 1), 1);
    pieces = least(pieces, images);
    p.block_rows = rows * pieces;
  }
  if (g->epilogue.program) {
    const int64_t columns = least(p.padded, level->fused_columns) + level->vector;
    const int64_t most = PROGRAM_FLOATS / greatest(columns * last->count, 1);
    p.block_rows = greatest(least(p.block_rows, most), 1);
  }
  // Rows of more than one image may be in a block that begins within one.
  if (p.copies) p.source = ceiling((pieces + 1) * source_rows(w, rows) * p.row, 16) * 16;
  return p;
}

static int64_t packed_floats(const plan *p) {
  return p->walk.taps * p->walk.source_channels * p->padded;
}

size_t conv_gather_workspace_bytes(const ck_conv_args *g, ck_conv_op op, const gemm_level *level) {
  int64_t floats = 0;
  for (int64_t i = 0; i < conv_walks(g, op); i++) {
    const plan p = plan_of(g, op, i, level);
    floats += packed_floats(&p) * g->groups;
  }
  return (size_t)floats * sizeof(float);
}

/// Floats of a thread's scratch: the copied source, the segments, a block that a program follows.
typedef struct layout {
  int64_t source, segments, block;
} layout;

static layout layout_of(const ck_conv_args *g, ck_conv_op op, const gemm_level *level) {
  layout all = {0};
  for (int64_t i = 0; i < conv_walks(g, op); i++) {
    const plan p = plan_of(g, op, i, level);
    all.source = greatest(all.source, p.source);
    const int64_t words = ceiling((p.most_segments + 1) * (int64_t)sizeof(gemm_segment), 64) * 16;
    all.segments = greatest(all.segments, words);
    if (!g->epilogue.program) continue;
    const int64_t columns = least(p.padded, level->fused_columns) + level->vector;
    all.block = ceiling(p.block_rows * p.walk.axis[2].count * columns, 16) * 16;
  }
  return all;
}

size_t conv_gather_scratch_bytes(const ck_conv_args *g, ck_conv_op op, const gemm_level *level) {
  const layout all = layout_of(g, op, level);
  const ck_loop_args *program = ck_conv_program(g);
  return (size_t)(all.source + all.segments + all.block) * sizeof(float) +
         (program ? ck_loop_scratch_bytes(program) : 0);
}

// MARK: The weights' panels

/// Tap i of a walk in the kernel's own order.
static int64_t kernel_tap(const ck_conv_args *g, const conv_walk *w, int64_t i) {
  int64_t tap = 0, size = 1;
  for (int d = CK_CONV_AXES - 1; d >= 0; d--) {
    const conv_axis *axis = &w->axis[d];
    tap += (axis->tap + i % axis->taps * axis->tap_step) * size;
    i /= axis->taps;
    size *= g->kernel[d];
  }
  return tap;
}

/// [tap][channel of the source][column], as wide as a tile, or as what is left.
static void pack_panel(const ck_conv_args *g, ck_conv_op op, const gemm_level *level, const plan *p,
                       int64_t group, int64_t column, float *panel) {
  const conv_walk *w = &p->walk;
  const int64_t width = least(level->columns, p->padded - column);
  const int64_t columns = least(level->columns, w->channels - column);
  const int64_t taps = conv_product(g->kernel), in = g->in_channels / g->groups;
  const int64_t out = g->out_channels / g->groups;
  if (op == CK_CONV_FORWARD) {
    level->pack(panel, width, columns, taps * in, g->b + (group * out + column) * taps * in,
                taps * in, 1);
    return;
  }
  for (int64_t i = 0; i < w->taps; i++)
    level->pack(panel + i * out * width, width, columns, out,
                g->b + (group * out * taps + kernel_tap(g, w, i)) * in + column, 1, taps * in);
}

static void pack_weights(const ck_conv_args *g, ck_conv_op op, const ck_thread *t,
                         const gemm_level *level) {
  float *packed = g->workspace;
  for (int64_t i = 0; i < conv_walks(g, op); i++) {
    const plan p = plan_of(g, op, i, level);
    const int64_t panels = ceiling(p.walk.channels, level->columns);
    const int64_t terms = p.walk.taps * p.walk.source_channels;
    int64_t begin, end;
    ck_share(g->groups * panels, t, &begin, &end);
    for (int64_t k = begin; k < end && terms > 0; k++) {
      const int64_t group = k / panels, column = k % panels * level->columns;
      pack_panel(g, op, level, &p, group, column,
                 packed + group * packed_floats(&p) + column * terms);
    }
    packed += packed_floats(&p) * g->groups;
  }
}

// MARK: A block of rows

/// Rows of one plane of one image.
typedef struct piece {
  int64_t image, plane;
  range rows;
  range planes;         // taps that meet the source
  const float *source;  // of the first plane and row that is there
  int64_t plane_pitch, first_row;
} piece;

typedef struct job {
  const ck_conv_args *g;
  ck_conv_op op;
  const gemm_level *level;
  plan plan;
  const float *packed;
  float *source, *block, *program_scratch;
  gemm_segment *segments;
  piece pieces[MOST_PIECES];
  int64_t count, rows;  // of pieces, of their rows
} job;

/// Points a piece at its source, copying it to `*copy` where it is not read in place.
static void bring_source(const job *job, piece *piece, float **copy) {
  const ck_conv_args *g = job->g;
  const plan *p = &job->plan;
  const conv_axis *axis = p->walk.axis;
  const int64_t channels = source_channels(g, job->op);
  const int64_t source_row = axis[2].extent * channels;
  const float *image = g->a + piece->image * axis[0].extent * axis[1].extent * source_row;
  piece->planes = conv_taps_at(&axis[0], piece->plane);
  const int64_t first_plane =
      piece->plane * axis[0].step + axis[0].offset + piece->planes.begin * axis[0].offset_step;
  if (!p->copies) {
    piece->source = image + first_plane * axis[1].extent * source_row;
    piece->plane_pitch = axis[0].offset_step * axis[1].extent * source_row;
    piece->first_row = 0;
    return;
  }
  const range rows = conv_source_of(&axis[1], piece->rows);
  piece->source = *copy;
  piece->first_row = rows.begin;
  piece->plane_pitch = greatest(length(rows), 0) * p->row;
  const int64_t left = greatest(-p->columns[0], 0);
  const range inside = {greatest(p->columns[0], 0), least(p->columns[1], axis[2].extent)};
  for (int64_t plane = 0; plane < length(piece->planes); plane++) {
    for (int64_t row = rows.begin; row < rows.end; row++) {
      const float *from =
          image +
          ((first_plane + plane * axis[0].offset_step) * axis[1].extent + row) * source_row +
          inside.begin * channels;
      float *to = *copy;
      const int64_t kept = greatest(length(inside), 0), before = least(left * p->pixel, p->row);
      memset(to, 0, (size_t)before * sizeof(float));
      if (p->pixel == channels) {
        memcpy(to + before, from, (size_t)(kept * channels) * sizeof(float));
      } else {
        for (int64_t i = 0; i < kept; i++)
          memcpy(to + before + i * p->pixel, from + i * channels, (size_t)channels * sizeof(float));
      }
      const int64_t filled = before + kept * p->pixel;
      memset(to + filled, 0, (size_t)(p->row - filled) * sizeof(float));
      *copy += p->row;
    }
  }
}

/// The segments of a row of the result in a panel of that width.
static int64_t find_segments(const job *job, const piece *piece, int64_t row, range taps,
                             int64_t group, int64_t width) {
  const plan *p = &job->plan;
  const conv_axis *axis = p->walk.axis;
  const int64_t channels = p->walk.source_channels, runs = p->joins ? 1 : axis[2].taps;
  const int64_t first = (p->copies ? 0 : p->columns[0] * p->pixel) + group * channels;
  gemm_segment *segment = job->segments;
  for (int64_t d = piece->planes.begin; d < piece->planes.end; d++) {
    for (int64_t h = taps.begin; h < taps.end; h++) {
      const int64_t at =
          (d - piece->planes.begin) * piece->plane_pitch +
          (row * axis[1].step + axis[1].offset + h * axis[1].offset_step - piece->first_row) *
              p->row +
          first;
      const int64_t tap = (d * axis[1].taps + h) * axis[2].taps;
      for (int64_t q = 0; q < runs; q++)
        *segment++ =
            (gemm_segment){at + q * axis[2].offset_step * p->pixel, (tap + q) * channels * width};
    }
  }
  return segment - job->segments;
}

/// One panel of columns of a group against all rows of the block.
///
/// - `c`, `c_row`: NULL and 0, or where the block's rows go, one after the other.
static void multiply_panel(const job *job, int64_t group, int64_t column, float *c, int64_t c_row) {
  const ck_conv_args *g = job->g;
  const plan *p = &job->plan;
  const conv_walk *w = &p->walk;
  const conv_axis *axis = w->axis;
  const int64_t *extents = result_extents(g, job->op);
  const int64_t channels = result_channels(g, job->op);
  const int64_t at_column = group * w->channels + column;
  const int64_t width = least(job->level->columns, p->padded - column);
  gemm_tile tile = {
      .a_row = axis[2].step * p->pixel,
      .a_col = 1,
      .b = job->packed + group * packed_floats(p) + column * w->taps * w->source_channels,
      .b_row = width,
      .K = p->run,
      .segments = job->segments,
      .bias = g->epilogue.bias ? g->epilogue.bias + at_column : NULL,
      .alpha = 1,
      .relu = g->epilogue.relu,
      .combination = (int32_t)g->epilogue.combination,
      .columns = (int32_t)least(job->level->columns, w->channels - column),
      .c_row = c ? c_row : axis[2].stride * channels,
      .a_half = axis[1].step * p->row,
      .c_half = c ? axis[2].count * c_row : axis[1].stride * extents[2] * channels,
  };
  tile.other_row = tile.c_row;
  const int64_t places = axis[2].count;
  const int64_t most = conv_tile_rows(job->level, tile.columns);
  const bool pairs = 2 * places <= most;
  const int64_t tiles = ceiling(places, most);
  // Of one panel, tiles write one after the other.
  if (!c && axis[2].stride == 1 && w->channels == channels && channels <= job->level->columns)
    tile.ahead = TILES_AHEAD * (places / tiles) * channels;
  int64_t done = 0;
  for (int64_t k = 0; k < job->count; k++) {
    const piece *piece = &job->pieces[k];
    for (int64_t row = piece->rows.begin; row < piece->rows.end; row += 1 + tile.halves) {
      const range taps = conv_taps_at(&axis[1], row);
      tile.halves = 0;
      if (pairs && row + 1 < piece->rows.end) {
        const range next = conv_taps_at(&axis[1], row + 1);
        tile.halves = next.begin == taps.begin && next.end == taps.end;
      }
      tile.segment_count = find_segments(job, piece, row, taps, group, width);
      const int64_t place =
          ((piece->image * extents[0] + axis[0].first + piece->plane * axis[0].stride) *
               extents[1] +
           axis[1].first + row * axis[1].stride) *
              extents[2] +
          axis[2].first;
      for (int64_t i = 0; i < tiles; i++) {
        const int64_t begin = tile_begin(places, tiles, i);
        tile.rows = (int32_t)(tile_begin(places, tiles, i + 1) - begin) << tile.halves;
        tile.a = piece->source + begin * tile.a_row;
        const int64_t at = (place + begin * axis[2].stride) * channels + at_column;
        tile.c = c ? c + (done * places + begin) * c_row : g->c + at;
        if (tile.combination != CK_ALONE) tile.other = g->epilogue.other + at;
        if (tile.combination == CK_ADD && g->epilogue.mask) tile.mask = g->epilogue.mask + at;
        job->level->tile(&tile);
      }
      done += 1 + tile.halves;
    }
  }
}

static void multiply_block(const job *job) {
  const ck_conv_args *g = job->g;
  const plan *p = &job->plan;
  const int64_t channels = p->walk.channels, panel = job->level->columns;
  if (!g->epilogue.program) {
    for (int64_t group = 0; group < g->groups; group++)
      for (int64_t column = 0; column < channels; column += panel)
        multiply_panel(job, group, column, NULL, 0);
    return;
  }
  const int64_t chunk = job->level->fused_columns, places = p->walk.axis[2].count;
  const int64_t c_row = least(p->padded, chunk) + job->level->vector;
  const int64_t *extents = result_extents(g, job->op);
  const piece *first = &job->pieces[0];
  const int64_t row = (first->image * extents[0] + first->plane) * extents[1] + first->rows.begin;
  for (int64_t group = 0; group < g->groups; group++) {
    for (int64_t begin = 0; begin < channels; begin += chunk) {
      const int64_t end = least(begin + chunk, channels);
      for (int64_t column = begin; column < end; column += panel)
        multiply_panel(job, group, column, job->block + column - begin, c_row);
      ck_loop_block(job->level->isa)(ck_conv_program(g), job->program_scratch, 0, row * places,
                                     job->rows * places, group * channels + begin, end - begin,
                                     job->block, c_row);
    }
  }
}

// MARK: A thread

static void finish_block(job *job) {
  if (job->count == 0) return;
  float *copy = job->source;
  for (int64_t k = 0; k < job->count; k++) bring_source(job, &job->pieces[k], &copy);
  multiply_block(job);
  job->count = job->rows = 0;
}

/// Adds rows of one plane of one image to the block, as often as it is full going through it.
static void add_rows(job *job, int64_t image, int64_t plane, range rows) {
  while (length(rows) > 0) {
    const int64_t room = job->plan.block_rows - job->rows;
    // An image that fits into a block is not cut.
    const bool fits = length(rows) <= room || (job->rows == 0 && room > 0);
    if (!fits || job->count == MOST_PIECES) {
      finish_block(job);
      continue;
    }
    const int64_t taken = least(length(rows), room);
    job->pieces[job->count++] =
        (piece){.image = image, .plane = plane, .rows = {rows.begin, rows.begin + taken}};
    job->rows += taken;
    rows.begin += taken;
  }
}

/// The rows [begin, end) of the result, counted through all images and planes.
static void run_walk(job *job, int64_t begin, int64_t end) {
  const conv_axis *axis = job->plan.walk.axis;
  const int64_t *extents = result_extents(job->g, job->op);
  if (axis[2].count <= 0) return;
  for (int64_t row = begin; row < end;) {
    const int64_t whole = row / extents[1], first = row % extents[1];
    const int64_t last = least(extents[1], first + end - row);
    const int64_t image = whole / extents[0], plane = whole % extents[0] - axis[0].first;
    if (plane >= 0 && plane % axis[0].stride == 0) {
      const range rows = {ceiling(greatest(first - axis[1].first, 0), axis[1].stride),
                          ceiling(greatest(last - axis[1].first, 0), axis[1].stride)};
      add_rows(job, image, plane / axis[0].stride, rows);
    }
    row += last - first;
  }
  finish_block(job);
}

void conv_gather_run(const ck_conv_args *g, ck_conv_op op, const ck_thread *t,
                     const gemm_level *level) {
  pack_weights(g, op, t, level);
  ck_barrier(t);
  const ck_gemm_part part = ck_conv_part_of(g, op, t->index, t->count);
  const int64_t width = result_extents(g, op)[2];
  if (part.row >= part.row_end || part.column_end == 0) return;
  const layout all = layout_of(g, op, level);
  job job = {.g = g, .op = op, .level = level, .packed = g->workspace, .source = t->scratch};
  job.segments = (gemm_segment *)(job.source + all.source);
  job.block = job.source + all.source + all.segments;
  job.program_scratch = job.block + all.block;
  for (int64_t i = 0; i < conv_walks(g, op); i++) {
    job.plan = plan_of(g, op, i, level);
    run_walk(&job, part.row / width, part.row_end / width);
    job.packed += packed_floats(&job.plan) * g->groups;
  }
}
