// The driver of convolutions that gather: forward, and the gradient of data a phase at a time.
//
// The weights are packed once by all threads, into panels of a tile's columns that hold all taps. A
// thread then goes through its rows of the result in blocks whose part of the source stays in the
// second cache. Of one row of the result a tile takes up to so many places: their elements of the
// source lie evenly apart, whatever the tap, so that a tile reads the source where it lies. Only
// where the last axis is padded, or where bf16 pairs are multiplied that do not lie so, is a
// block's source copied, with zeros around its rows.
//
// Everything is counted in words: an element of f32, or a pair of neighbouring channels in bf16.
#include <string.h>

#include "conv_gather.h"

enum { TILES_AHEAD = 4 };  // whose places in the result are brought near

/// Words of a thread's scratch: the copied source, the segments, a block that a program follows.
typedef struct layout {
  int64_t source, segments, block;
} layout;

static layout layout_of(const ck_conv_args *g, ck_conv_op op, conv_way way) {
  layout all = {0};
  for (int64_t i = 0; i < conv_walks(g, op); i++) {
    const gather_plan p = gather_plan_of(g, op, i, way);
    all.source = greatest(all.source, p.source);
    const int64_t words = ceiling((p.most_segments + 1) * (int64_t)sizeof(gemm_segment), 64) * 16;
    all.segments = greatest(all.segments, words);
    if (!g->epilogue.program) continue;
    const int64_t columns = least(p.padded, way.level->fused_columns) + way.level->vector;
    all.block = ceiling(p.block_rows * p.walk.axis[2].count * columns, 16) * 16;
  }
  return all;
}

size_t conv_gather_scratch_bytes(const ck_conv_args *g, ck_conv_op op, conv_way way) {
  const layout all = layout_of(g, op, way);
  const ck_loop_args *program = ck_conv_program(g);
  return (size_t)(all.source + all.segments + all.block) * sizeof(float) +
         (program ? ck_loop_scratch_bytes(program) : 0);
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
  conv_way way;
  gather_plan plan;
  const float *packed;
  float *source, *block, *program_scratch;
  gemm_segment *segments;
  piece pieces[GATHER_PIECES];
  int64_t count, rows;  // of pieces, of their rows
  conv_near near;       // what the next block reads
  bool clears;          // what no tap meets, beside what this walk makes
  bool streams;         // past the cache
} job;

/// Copies so many elements of a row to where its pixels lie as they are multiplied.
static void copy_pixels(const job *job, float *to, const char *from, int64_t count) {
  const ck_conv_args *g = job->g;
  const int64_t channels = gather_source_channels(g, job->op), pixel = job->plan.pixel;
  const int64_t words = conv_words(job->way, channels);
  if (gather_converts(g, job->op, job->way)) {
    // Pixels of whole words lie one after the other on both sides.
    const bool dense = channels % 2 == 0 && pixel == words;
    job->way.narrow->convert(to, dense ? 0 : pixel, from, (ck_dtype)g->a_type, dense ? 0 : channels,
                             dense ? 1 : count, dense ? count * channels : channels);
  } else if (pixel == words) {
    memcpy(to, from, (size_t)(count * words) * sizeof(float));
  } else {
    for (int64_t i = 0; i < count; i++)
      memcpy(to + i * pixel, from + i * words * (int64_t)sizeof(float),
             (size_t)words * sizeof(float));
  }
}

/// Points a piece at its source, copying it to `*copy` where it is not read in place.
static void bring_source(const job *job, piece *piece, float **copy) {
  const ck_conv_args *g = job->g;
  const gather_plan *p = &job->plan;
  const conv_axis *axis = p->walk.axis;
  const int64_t channels = gather_source_channels(g, job->op), size = conv_type_bytes(g->a_type);
  const int64_t source_row = axis[2].extent * channels;
  const char *image =
      (const char *)g->a + piece->image * axis[0].extent * axis[1].extent * source_row * size;
  piece->planes = conv_taps_at(&axis[0], piece->plane);
  const int64_t first_plane =
      piece->plane * axis[0].step + axis[0].offset + piece->planes.begin * axis[0].offset_step;
  if (!p->copies) {
    piece->source = (const float *)(image + first_plane * axis[1].extent * source_row * size);
    piece->plane_pitch = axis[0].offset_step * axis[1].extent * p->row;
    piece->first_row = 0;
    return;
  }
  const range rows = conv_source_of(&axis[1], piece->rows);
  piece->source = *copy;
  piece->first_row = rows.begin;
  piece->plane_pitch = greatest(length(rows), 0) * p->row;
  const int64_t left = greatest(-p->columns[0], 0);
  const range inside = {greatest(p->columns[0], 0), least(p->columns[1], axis[2].extent)};
  const int64_t kept = greatest(length(inside), 0), before = least(left * p->pixel, p->row);
  const int64_t filled = before + kept * p->pixel;
  for (int64_t plane = 0; plane < length(piece->planes); plane++) {
    const int64_t first = (first_plane + plane * axis[0].offset_step) * axis[1].extent;
    for (int64_t row = rows.begin; row < rows.end; row++) {
      const char *from = image + ((first + row) * source_row + inside.begin * channels) * size;
      float *to = *copy;
      memset(to, 0, (size_t)before * sizeof(float));
      copy_pixels(job, to + before, from, kept);
      memset(to + filled, 0, (size_t)(p->row - filled) * sizeof(float));
      *copy += p->row;
    }
  }
}

/// The next block most likely reads on where this one ends, as much again.
static void look_ahead(job *job) {
  const ck_conv_args *g = job->g;
  const conv_axis *axis = job->plan.walk.axis;
  const piece *last = &job->pieces[job->count - 1];
  const int64_t row =
      axis[2].extent * gather_source_channels(g, job->op) * conv_type_bytes(g->a_type);
  const int64_t plane = greatest(least(last->plane * axis[0].step, axis[0].extent - 1), 0);
  const int64_t first = (last->image * axis[0].extent + plane) * axis[1].extent;
  const int64_t end = conv_source_of(&axis[1], last->rows).end;
  const int64_t panels = ceiling(job->plan.walk.channels, job->way.level->columns) * g->groups;
  // Rows that are stepped over are not.
  const bool reads_all = (axis[1].taps - 1) * axis[1].offset_step + 1 >= axis[1].step;
  const int64_t tiles = job->rows * panels;
  job->near = conv_near_of((const char *)g->a + (first + end) * row,
                           reads_all ? job->rows * axis[1].step * row : 0, tiles,
                           job->plan.run * (job->plan.joins ? 1 : axis[2].taps));
}

/// The segments of a row of the result in a panel of that width.
static int64_t find_segments(const job *job, const piece *piece, int64_t row, range taps,
                             int64_t group, int64_t width) {
  const gather_plan *p = &job->plan;
  const conv_axis *axis = p->walk.axis;
  const int64_t runs = p->joins ? 1 : axis[2].taps;
  const int64_t first = (p->copies ? 0 : p->columns[0] * p->pixel) + group * p->depth;
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
            (gemm_segment){at + q * axis[2].offset_step * p->pixel, (tap + q) * p->depth * width};
    }
  }
  return segment - job->segments;
}

/// Where element `at` of an array of that type is.
static float *element(const float *array, int32_t type, int64_t at) {
  return (float *)((char *)array + at * conv_type_bytes(type));
}

// MARK: What no tap meets

/// Whether one walk alone has taps, of a stride beyond the window, and all that the others make is
/// 0: it is cleared between the products, which memory takes while they are computed.
static bool clears_others(const ck_conv_args *g, ck_conv_op op) {
  const ck_epilogue *e = &g->epilogue;
  if (op != CK_CONV_DATA || e->bias || e->combination != CK_ALONE || g->groups != 1) return false;
  for (int d = 0; d < CK_CONV_AXES; d++)
    if (g->kernel[d] != 1 || g->before[d] != 0) return false;
  return g->stride[0] == 1 && conv_product(g->stride) > 1;
}

static void clear(char *at, size_t bytes, bool streams) {
  typedef float four __attribute__((vector_size(16)));
  typedef float any_four __attribute__((vector_size(16), aligned(4)));
  enum { SHORT = 256 };  // bytes, for which a call would take longer than to write them
  if (streams) {
    for (size_t i = 0; i < bytes; i += sizeof(four))
      __builtin_nontemporal_store((four){0}, (four *)(at + i));
  } else if (bytes <= SHORT && bytes % sizeof(four) == 0 && (uintptr_t)at % sizeof(float) == 0) {
    for (size_t i = 0; i < bytes; i += sizeof(four)) *(any_four *)(at + i) = (any_four){0};
  } else {
    memset(at, 0, bytes);
  }
}

/// Part `index` of `count` of the elements beside a row of the walk: those of the row that it
/// steps over, and the rows until its next one.
static void clear_part(const job *job, const piece *piece, int64_t row, int64_t index,
                       int64_t count) {
  const ck_conv_args *g = job->g;
  const int64_t first = row * g->stride[1], rows = least(g->stride[1], g->image[1] - first);
  const int64_t whole = piece->image * g->image[0] + piece->plane;
  const size_t size = (size_t)(g->in_channels * conv_type_bytes(g->c_type));
  char *c = (char *)g->c + (whole * g->image[1] + first) * g->image[2] * (int64_t)size;
  const range part = block_of((range){0, rows * g->image[2]}, count, index);
  const int64_t width = least(g->image[2], part.end), stride = g->stride[2];
  int64_t i = part.begin, kept = ceiling(i, stride) * stride;
  for (; i < width; i = kept + 1, kept += stride) {
    const int64_t end = least(kept, width);
    if (end > i) clear(c + i * (int64_t)size, (size_t)(end - i) * size, job->streams);
  }
  // All rows until the walk's next one lie together.
  i = greatest(part.begin, width);
  if (i < part.end) clear(c + i * (int64_t)size, (size_t)(part.end - i) * size, job->streams);
}

/// One panel of columns of a group against all rows of the block.
///
/// - `c`, `c_row`: NULL and 0, or where the block's rows go, one after the other.
static void multiply_panel(job *job, int64_t group, int64_t column, float *c, int64_t c_row) {
  const ck_conv_args *g = job->g;
  const gather_plan *p = &job->plan;
  const conv_walk *w = &p->walk;
  const conv_axis *axis = w->axis;
  const int64_t *extents = gather_result_extents(g, job->op);
  const int64_t channels = gather_result_channels(g, job->op);
  const int64_t at_column = group * w->channels + column;
  const int32_t other_type = g->epilogue.other_type;
  const int64_t width = least(job->way.level->columns, p->padded - column);
  gemm_tile tile = {
      .a_row = axis[2].step * p->pixel,
      .a_col = 1,
      .b = job->packed + group * gather_packed_floats(p) + column * w->taps * p->depth,
      .b_row = width,
      .K = p->run,
      .segments = job->segments,
      .bias = g->epilogue.bias ? g->epilogue.bias + at_column : NULL,
      .alpha = 1,
      .relu = g->epilogue.relu,
      .combination = (int32_t)g->epilogue.combination,
      .columns = (int32_t)least(job->way.level->columns, w->channels - column),
      .c_row = c ? c_row : axis[2].stride * channels,
      .a_half = axis[1].step * p->row,
      .c_half = c ? axis[2].count * c_row : axis[1].stride * extents[2] * channels,
      .narrow = !c && g->c_type == CK_BF16,
      .narrow_other = g->epilogue.other_type == CK_BF16,
  };
  tile.other_row = tile.c_row;
  const int64_t places = axis[2].count;
  const int64_t most = conv_tile_rows(job->way.level, tile.columns);
  const bool pairs = 2 * places <= most;
  const int64_t tiles = ceiling(places, most);
  // Of one panel, tiles write one after the other.
  if (!c && axis[2].stride == 1 && w->channels == channels && channels <= job->way.level->columns)
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
        tile.c = c ? c + (done * places + begin) * c_row : element(g->c, g->c_type, at);
        if (tile.combination != CK_ALONE) tile.other = element(g->epilogue.other, other_type, at);
        if (tile.combination == CK_ADD && g->epilogue.mask)
          tile.mask = element(g->epilogue.mask, other_type, at);
        conv_bring_near(&job->near, &tile);
        job->way.level->tile(&tile);
      }
      done += 1 + tile.halves;
      for (int64_t i = 0; i <= tile.halves && job->clears; i++)
        clear_part(job, piece, row + i, column / job->way.level->columns,
                   ceiling(w->channels, job->way.level->columns));
    }
  }
}

static void multiply_block(job *job) {
  const ck_conv_args *g = job->g;
  const gather_plan *p = &job->plan;
  const int64_t channels = p->walk.channels, panel = job->way.level->columns;
  if (!g->epilogue.program) {
    for (int64_t group = 0; group < g->groups; group++)
      for (int64_t column = 0; column < channels; column += panel)
        multiply_panel(job, group, column, NULL, 0);
    return;
  }
  const int64_t chunk = job->way.level->fused_columns, places = p->walk.axis[2].count;
  const int64_t c_row = least(p->padded, chunk) + job->way.level->vector;
  const int64_t *extents = gather_result_extents(g, job->op);
  const piece *first = &job->pieces[0];
  const int64_t row = (first->image * extents[0] + first->plane) * extents[1] + first->rows.begin;
  for (int64_t group = 0; group < g->groups; group++) {
    for (int64_t begin = 0; begin < channels; begin += chunk) {
      const int64_t end = least(begin + chunk, channels);
      for (int64_t column = begin; column < end; column += panel)
        multiply_panel(job, group, column, job->block + column - begin, c_row);
      ck_loop_block(job->way.level->isa)(ck_conv_program(g), job->program_scratch, 0, row * places,
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
  look_ahead(job);
  multiply_block(job);
  job->count = job->rows = 0;
}

/// Adds rows of one plane of one image to the block, as often as it is full going through it.
static void add_rows(job *job, int64_t image, int64_t plane, range rows) {
  while (length(rows) > 0) {
    const int64_t room = job->plan.block_rows - job->rows;
    // An image that fits into a block is not cut.
    const bool fits = length(rows) <= room || (job->rows == 0 && room > 0);
    if (!fits || job->count == GATHER_PIECES) {
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
  const int64_t *extents = gather_result_extents(job->g, job->op);
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

void conv_gather_run(const ck_conv_args *g, ck_conv_op op, const ck_thread *t, conv_way way) {
  gather_pack_weights(g, op, t, way);
  ck_barrier(t);
  const ck_gemm_part part = ck_conv_part_of(g, op, t->index, t->count);
  const int64_t width = gather_result_extents(g, op)[2];
  if (part.row >= part.row_end || part.column_end == 0) return;
  const layout all = layout_of(g, op, way);
  job job = {.g = g, .op = op, .way = way, .packed = g->workspace, .source = t->scratch};
  job.segments = (gemm_segment *)(job.source + all.source);
  job.block = job.source + all.source + all.segments;
  job.program_scratch = job.block + all.block;
  job.clears = clears_others(g, op);
  const int64_t bytes =
      g->images * conv_product(g->image) * g->in_channels * conv_type_bytes(g->c_type);
  job.streams = job.clears && ((uintptr_t)g->c & 63) == 0 &&
                g->in_channels * conv_type_bytes(g->c_type) % 64 == 0 &&
                bytes >= ck_cache_bytes() / 4 * 3;
  for (int64_t i = 0; i < conv_walks(g, op); i++) {
    job.plan = gather_plan_of(g, op, i, way);
    if (job.clears && job.plan.walk.taps == 0) continue;
    run_walk(&job, part.row / width, part.row_end / width);
    job.packed += gather_packed_floats(&job.plan) * g->groups;
  }
  if (job.streams) conv_stream_end();
}
