// The driver of depthwise convolutions: forward, and the gradient of data.
//
// A thread goes through its rows of the result in blocks, in a block through strips of a few places
// each, and down the strip row by row: what the rows of a window have in common stays in the first
// cache. Windows without a kernel of their own read a list of where the elements are. What lies
// beside the image is in the list too, as a row of zeros.
#include "conv_depth.h"

#include <string.h>

enum {
  MOST_WALKS = 16,           // phases of the gradient of data
  MOST_TAPS = 1024,          // of all axes: their elements are listed
  MOST_LINES = 64,           // rows of a block
  STRIP_FLOATS = 1 << 17,    // of the source, in a strip: neighbours share some
  WINDOW_FLOATS = 6 << 10,   // that a tile reads for one row of the result
  LEAST_CHANNELS = 64,       // of a tile, if there are more
  PROGRAM_FLOATS = 1 << 16,  // of a block of the result that a program follows
  AHEAD_FLOATS = 1 << 11     // so many are read before what is fetched now
};

/// What the kernels are given lies in a thread's scratch.
typedef struct job {
  const ck_conv_args *g;
  ck_conv_op op;
  const depth_level *level;
  const int64_t *extents;  // of the result
  int64_t channels, padded;
  conv_walk walks[MOST_WALKS];
  int64_t walk_count;
  const float *zeros;
  int64_t most;     // rows of the window
  int64_t *counts;  // [lines]
  const void **sources;
  const float **weights;   // [lines][most], as a tile's
  const float **elements;  // [row of the source][row_elements]
  int64_t row_elements;
  range planes, source;  // that are listed: taps, and rows of a plane
  bool streams;
  float *block, *program_scratch;  // of a program
  int64_t block_row;
} job;

bool conv_is_depthwise(const ck_conv_args *g) {
  if (g->groups < 2 || g->in_channels != g->groups || g->out_channels != g->groups) return false;
  int64_t taps = 1, walks = 1;
  for (int d = 0; d < CK_CONV_AXES; d++) {
    if (g->kernel[d] > MOST_TAPS || g->stride[d] > MOST_WALKS) return false;
    taps *= g->kernel[d];
    walks *= g->stride[d];
  }
  // A bit for each row of the window.
  return taps <= MOST_TAPS && walks <= MOST_WALKS && g->kernel[0] * g->kernel[1] <= 64;
}

// MARK: Memory

size_t conv_depth_workspace_bytes(const ck_conv_args *g) {
  return (size_t)(conv_product(g->kernel) * depth_padded(g)) * sizeof(float);
}

static const int64_t *result_extents(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? g->image : g->output;
}

static int64_t row_elements(const ck_conv_args *g) { return g->kernel[2] * DEPTH_PLACES; }

/// Floats between the places of a block that a program follows, and how many there are.
static int64_t block_row(const ck_conv_args *g) { return depth_padded(g) + 16; }
static int64_t block_places(const ck_conv_args *g) {
  return greatest(PROGRAM_FLOATS / block_row(g), 1);
}

/// Rows of the result in a block.
static int64_t block_lines(const ck_conv_args *g, ck_conv_op op) {
  const int64_t *extents = result_extents(g, op);
  const int64_t strip = (DEPTH_PLACES * g->stride[2] + g->kernel[2]) * g->stride[1];
  int64_t lines = STRIP_FLOATS / (strip * depth_padded(g));
  if (g->epilogue.program) lines = least(lines, block_places(g) / greatest(extents[2], 1));
  lines = greatest(least(lines, MOST_LINES), 1);
  // Of nearly equal height.
  const int64_t rows = greatest(extents[1], 1);
  return ceiling(rows, ceiling(rows, lines));
}

/// Rows of the source that a block reads, at most.
static int64_t source_rows(const ck_conv_args *g, ck_conv_op op) {
  const int64_t span = block_lines(g, op) * g->stride[1] + (g->kernel[1] - 1) * g->dilation[1] + 1;
  return g->kernel[0] * least(span, op == CK_CONV_DATA ? g->output[1] : g->image[1]);
}

/// Bytes of a thread's lists, in whole lines.
static size_t list_bytes(const ck_conv_args *g, ck_conv_op op) {
  const int64_t lines = block_lines(g, op), rows = g->kernel[0] * g->kernel[1];
  const int64_t words = lines * (1 + 2 * rows) + source_rows(g, op) * row_elements(g);
  return (size_t)ceiling(words * (int64_t)sizeof(int64_t), 64) * 64;
}

size_t conv_depth_scratch_bytes(const ck_conv_args *g, ck_conv_op op) {
  const ck_loop_args *program = ck_conv_program(g);
  size_t bytes = (size_t)depth_padded(g) * sizeof(float) + list_bytes(g, op);
  if (program)
    bytes +=
        (size_t)(block_places(g) * block_row(g)) * sizeof(float) + ck_loop_scratch_bytes(program);
  return bytes;
}

// MARK: Weights

/// [tap][channel], in the kernel's own order of taps.
static void pack_weights(const ck_conv_args *g, const ck_thread *t) {
  const int64_t taps = conv_product(g->kernel), padded = depth_padded(g);
  float *packed = g->workspace;
  int64_t begin, end;
  ck_share(padded / 16, t, &begin, &end);
  int64_t c = begin * 16;
  for (const int64_t whole = least(end * 16, g->in_channels) / 4 * 4; c < whole; c += 4) {
    const float *from = g->b + c * taps;
    int64_t tap = 0;
    for (; tap + 4 <= taps; tap += 4)
      depth_turn(from + tap, taps, packed + tap * padded + c, padded);
    for (; tap < taps; tap++)
      for (int64_t i = 0; i < 4; i++) packed[tap * padded + c + i] = from[i * taps + tap];
  }
  for (; c < end * 16; c++)
    for (int64_t tap = 0; tap < taps; tap++)
      packed[tap * padded + c] = c < g->in_channels ? g->b[c * taps + tap] : 0.0f;
}

// MARK: Lists

/// Row `row` of the source in the plane that tap d meets.
static const float *source_row(const job *job, const conv_walk *w, int64_t image, int64_t plane,
                               int64_t d, int64_t row) {
  const conv_axis *axis = w->axis;
  const int64_t in_plane = plane * axis[0].step + axis[0].offset + d * axis[0].offset_step;
  return job->g->a + ((image * axis[0].extent + in_plane) * axis[1].extent + row) * axis[2].extent *
                         job->channels;
}

/// Which lines of a tile the rows of a walk are.
typedef struct lines {
  int64_t first, step;
} lines;

/// Lists, for rows of the result, the rows of the window that meet the source.
static void list_window(job *job, const conv_walk *w, int64_t image, int64_t plane, range rows,
                        bool is_known, lines lines) {
  const ck_conv_args *g = job->g;
  const conv_axis *axis = w->axis, *down = &axis[1];
  job->planes = conv_taps_at(&axis[0], plane);
  job->source.begin = greatest(rows.begin * down->step + down->offset, 0);
  job->source.end =
      least((rows.end - 1) * down->step + down->offset + (down->taps - 1) * down->offset_step + 1,
            down->extent);
  if (w->taps == 0 || length(job->source) <= 0) job->source.end = job->source.begin;
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const range taps = conv_taps_at(down, row);
    const int64_t line = lines.first + (row - rows.begin) * lines.step, at = line * job->most;
    int64_t count = 0;
    for (int64_t d = job->planes.begin; d < job->planes.end && w->taps > 0; d++) {
      const int64_t tap_plane = (axis[0].tap + d * axis[0].tap_step) * g->kernel[1];
      for (int64_t h = taps.begin; h < taps.end; h++, count++) {
        const int64_t in_row = row * down->step + down->offset + h * down->offset_step;
        const int64_t list =
            (d - job->planes.begin) * length(job->source) + in_row - job->source.begin;
        const int64_t tap = tap_plane + down->tap + h * down->tap_step;
        job->sources[at + count] = is_known
                                       ? (const void *)source_row(job, w, image, plane, d, in_row)
                                       : job->elements + list * job->row_elements;
        job->weights[at + count] =
            (const float *)g->workspace + (tap * g->kernel[2] + axis[2].tap) * job->padded;
      }
    }
    job->counts[line] = count;
  }
}

/// `count` elements of a row from `column` on, `apart` elements from one to the next.
static void list_elements(const job *job, const conv_axis *last, const float *row, const float **to,
                          int64_t column, int64_t count, int64_t apart) {
  const int64_t pitch = apart * job->channels;
  int64_t e = 0;
  for (; e < count && column < 0; e++, column += apart) to[e] = job->zeros;
  if (e < count && column < last->extent) {
    const float *from = row + column * job->channels;
    for (; e < count && column < last->extent; e++, column += apart, from += pitch) to[e] = from;
  }
  for (; e < count; e++) to[e] = job->zeros;
}

/// Lists the elements that places from `begin` on read, for all rows of the source.
static void list_strip(const job *job, const conv_walk *w, const depth_tile *tile, int64_t image,
                       int64_t plane, int64_t begin) {
  const conv_axis *last = &w->axis[2];
  const int64_t column = begin * last->step + last->offset;
  const float **to = job->elements;
  for (int64_t d = job->planes.begin; d < job->planes.end; d++) {
    for (int64_t h = job->source.begin; h < job->source.end; h++, to += job->row_elements) {
      const float *row = source_row(job, w, image, plane, d, h);
      for (int64_t q = 0; q < last->taps; q++)
        list_elements(job, last, row, to + q * tile->places, column + q * last->offset_step,
                      tile->places, last->step);
    }
  }
}

/// Whether the places of each tile lie outside with few of their elements only.
static bool is_known(const conv_axis *last, range places) {
  if (!depth_is_known(last->taps, last->step, last->offset_step)) return false;
  const int64_t begin = places.begin * last->step + last->offset;
  const int64_t end = (places.end - 1) * last->step + last->offset + last->taps;
  return -begin <= last->taps / 2 && end - last->extent <= last->taps / 2;
}

// MARK: A block

/// Places of the tile's lines, as a walk that is among theirs reads them: they go to `c`, as far
/// apart as the tile says.
static void run_strips(const job *job, const conv_walk *w, int64_t image, int64_t plane,
                       range places, depth_tile tile) {
  const ck_conv_args *g = job->g;
  const conv_axis *last = &w->axis[2];
  tile.counts = job->counts;
  tile.most = job->most;
  tile.sources = job->sources;
  tile.weights = job->weights;
  tile.pixel = job->channels;
  tile.taps = last->taps;
  tile.tap_step = last->tap_step * job->padded;
  tile.step = last->step;
  tile.bias = g->epilogue.bias;
  tile.combination = g->epilogue.combination;
  tile.relu = g->epilogue.relu;
  const int64_t window = greatest(w->axis[0].taps * w->axis[1].taps, 1);
  const int64_t read = window * (DEPTH_PLACES * last->step + last->taps);
  const int64_t chunk =
      even_width(job->channels, greatest(WINDOW_FLOATS / read / 16 * 16, LEAST_CHANNELS), 16);
  const int64_t line = w->axis[1].step * last->extent * job->channels;
  const int64_t of_line = DEPTH_PLACES * last->step * least(chunk, job->channels);
  tile.ahead = greatest(ceiling(AHEAD_FLOATS, of_line), 2) * line;
  const depth_tile first = tile;
  for (int64_t begin = 0; begin < length(places); begin += tile.places) {
    tile.places = (int32_t)depth_places(length(places) - begin);
    if (tile.is_known) {
      const int64_t column = (places.begin + begin) * last->step + last->offset;
      tile.column = column * job->channels;
      tile.inside = (range){-column, last->extent - column};
    } else {
      list_strip(job, w, &tile, image, plane, places.begin + begin);
    }
    tile.c = first.c + begin * tile.c_row;
    if (first.other) tile.other = first.other + begin * tile.c_row;
    if (first.mask) tile.mask = first.mask + begin * tile.c_row;
    for (int64_t c = 0; c < job->channels; c += chunk) {
      tile.channel = c;
      tile.channel_end = least(c + chunk, job->channels);
      job->level->tile(&tile);
    }
  }
}

/// Rows and places of one walk.
static void run_walk(job *job, const conv_walk *w, int64_t image, int64_t plane, range rows,
                     range places, depth_tile tile) {
  const conv_axis *last = &w->axis[2], *down = &w->axis[1];
  if (length(rows) <= 0 || length(places) <= 0) return;
  tile.is_known = is_known(last, places);
  list_window(job, w, image, plane, rows, tile.is_known, (lines){0, 1});
  tile.lines = length(rows);
  if (tile.is_known && length(job->planes) == 1 && down->step == 1 && down->offset_step == 1) {
    const int64_t *kernel = job->g->kernel;
    const int64_t d = job->planes.begin, in_kernel = w->axis[0].tap + d * w->axis[0].tap_step;
    tile.pairs = down->taps;
    tile.image = source_row(job, w, image, plane, d, 0);
    tile.top = rows.begin + down->offset;
    tile.image_rows = down->extent;
    tile.image_row = last->extent * job->channels;
    tile.window = (const float *)job->g->workspace +
                  ((in_kernel * kernel[1] + down->tap) * kernel[2] + last->tap) * job->padded;
    tile.window_row = down->tap_step * kernel[2] * job->padded;
  }
  run_strips(job, w, image, plane, places, tile);
}

/// Rows of one plane that a program follows, in parts of rows where one is too long.
static void run_program(job *job, int64_t image, int64_t plane, range rows) {
  const ck_conv_args *g = job->g;
  const conv_walk *w = &job->walks[0];
  const int64_t width = job->extents[2];
  const int64_t first = ((image * job->extents[0] + plane) * job->extents[1] + rows.begin) * width;
  const depth_tile tile = {
      .c = job->block,
      .c_row = job->block_row,
      .c_line = width * job->block_row,
  };
  for (range places = {0, 0}; places.end < width; places.begin = places.end) {
    places.end = least(width, places.begin + block_places(g));
    run_walk(job, w, image, plane, rows, places, tile);
    ck_loop_block(job->level->isa)(ck_conv_program(g), job->program_scratch, 0,
                                   first + places.begin, length(rows) * length(places), 0,
                                   job->channels, job->block, job->block_row);
  }
}

/// Whether the two phases of a row's elements are made together: of a window of three taps with a
/// stride of 2, the middle one over the first element.
static bool doubles(const job *job) {
  const ck_conv_args *g = job->g;
  return job->op == CK_CONV_DATA && g->stride[2] == 2 && g->kernel[2] == 3 && g->dilation[2] == 1 &&
         g->before[2] == 1 && g->image[2] == 2 * g->output[2];
}

/// The result of rows from `row` of a plane on, from place `first` on.
static depth_tile tile_at(const job *job, int64_t image, int64_t plane, int64_t row,
                          int64_t first) {
  const ck_conv_args *g = job->g;
  const int64_t *extents = job->extents;
  const int64_t of_row = (image * extents[0] + plane) * extents[1] + row;
  const int64_t at = (of_row * extents[2] + first) * job->channels;
  depth_tile tile = {.c = g->c + at, .streams = job->streams};
  if (g->epilogue.combination != CK_ALONE) tile.other = g->epilogue.other + at;
  if (g->epilogue.combination == CK_ADD && g->epilogue.mask) tile.mask = g->epilogue.mask + at;
  return tile;
}

/// The rows of a walk in a range of rows of the result.
static range rows_of(const conv_axis *down, range rows) {
  return (range){ceiling(greatest(rows.begin - down->first, 0), down->stride),
                 ceiling(greatest(rows.end - down->first, 0), down->stride)};
}

/// The place of a walk that is a plane of the result, or -1.
static int64_t plane_of(const conv_axis *axis, int64_t plane) {
  const int64_t after = plane - axis->first;
  return after < 0 || after % axis->stride != 0 ? -1 : after / axis->stride;
}

/// Rows of one plane, whole: their phases are lines that lie between one another.
static void run_doubles(job *job, int64_t image, int64_t plane, range rows) {
  depth_tile tile = tile_at(job, image, plane, rows.begin, 0);
  const conv_walk *second = NULL;
  int64_t in_second = 0;
  // The last axis' phases follow one another.
  for (int64_t i = 1; i < job->walk_count; i += 2) {
    const conv_walk *w = &job->walks[i];
    const conv_axis *down = &w->axis[1];
    const int64_t in_plane = plane_of(&w->axis[0], plane);
    const range of_phase = rows_of(down, rows);
    if (in_plane < 0 || length(of_phase) <= 0) continue;
    const int64_t line = down->first + of_phase.begin * down->stride - rows.begin;
    list_window(job, w, image, in_plane, of_phase, true, (lines){line, down->stride});
    second = w;
    in_second = in_plane;
  }
  if (!second) return;
  tile.is_known = 1;
  tile.lines = length(rows);
  tile.beside = job->channels;
  tile.c_row = 2 * job->channels;
  tile.c_line = job->extents[2] * job->channels;
  run_strips(job, second, image, in_second, (range){0, second->axis[2].count}, tile);
}

/// Rows of one plane of the result, all phases of them.
static void run_block(job *job, int64_t image, int64_t plane, range rows) {
  if (job->block) {
    run_program(job, image, plane, rows);
    return;
  }
  if (doubles(job)) {
    run_doubles(job, image, plane, rows);
    return;
  }
  for (int64_t i = 0; i < job->walk_count; i++) {
    const conv_walk *w = &job->walks[i];
    const conv_axis *down = &w->axis[1], *last = &w->axis[2];
    const int64_t in_plane = plane_of(&w->axis[0], plane);
    if (in_plane < 0) continue;
    const range of_phase = rows_of(down, rows);
    depth_tile tile =
        tile_at(job, image, plane, down->first + of_phase.begin * down->stride, last->first);
    tile.c_row = last->stride * job->channels;
    tile.c_line = down->stride * job->extents[2] * job->channels;
    run_walk(job, w, image, in_plane, of_phase, (range){0, last->count}, tile);
  }
}

// MARK: A thread

/// Whether whoever reads the result next would hardly find it in the cache: it fills that, or the
/// source drives it out.
static bool passes_cache(const ck_conv_args *g, ck_conv_op op) {
  const int64_t row = g->images * g->in_channels * (int64_t)sizeof(float);
  const int64_t result = row * conv_product(result_extents(g, op));
  const int64_t all = row * (conv_product(g->image) + conv_product(g->output));
  return result >= ck_cache_bytes() / 4 * 3 || all >= 2 * ck_cache_bytes();
}

void conv_depth_run(const ck_conv_args *g, ck_conv_op op, const ck_thread *t,
                    const depth_level *level) {
  pack_weights(g, t);
  ck_barrier(t);
  const ck_gemm_part part = ck_conv_part_of(g, op, t->index, t->count);
  if (part.row >= part.row_end) return;
  const int64_t lines = block_lines(g, op);
  job job = {
      .g = g,
      .op = op,
      .level = level,
      .extents = result_extents(g, op),
      .channels = g->in_channels,
      .padded = depth_padded(g),
      .most = g->kernel[0] * g->kernel[1],
      .row_elements = row_elements(g),
  };
  float *zeros = t->scratch;
  memset(zeros, 0, (size_t)job.padded * sizeof(float));
  job.zeros = zeros;
  job.counts = (int64_t *)(zeros + job.padded);
  job.sources = (const void **)(job.counts + lines);
  job.weights = (const float **)(job.sources + lines * job.most);
  job.elements = job.weights + lines * job.most;
  if (g->epilogue.program) {
    job.block = (float *)((char *)job.counts + list_bytes(g, op));
    job.block_row = block_row(g);
    job.program_scratch = job.block + block_places(g) * job.block_row;
  } else {
    job.streams = level->isa >= CK_ISA_AVX512 && ((uintptr_t)g->c & 63) == 0 &&
                  job.channels % 16 == 0 && passes_cache(g, op);
  }
  job.walk_count = conv_walks(g, op);
  for (int64_t i = 0; i < job.walk_count; i++) job.walks[i] = conv_walk_at(g, op, i);
  const int64_t height = job.extents[1], end = part.row_end / job.extents[2];
  for (int64_t row = part.row / job.extents[2]; row < end;) {
    const int64_t whole = row / height, first = row % height;
    const range rows = {first, least(least(height, first + end - row), first + lines)};
    run_block(&job, whole / job.extents[0], whole % job.extents[0], rows);
    row += length(rows);
  }
  if (job.streams) conv_stream_end();
}
