// The driver of the gradient of a convolution's weights.
//
// A tile is so many channels of the output by a run of channels of the image, for one tap: its
// terms are the places of the output, its segments the rows. Both arrays are read where they lie:
// one channel of the output's gradient after the other is broadcast, and channels of the image are
// neighbours. Few channels fill a tile only with the taps beside them, which are neighbours too
// once a row is padded.
#include <string.h>

#include "conv_internal.h"

enum {
  ADDED = 512,      // elements of all groups, at a time
  SLACK = 32,       // floats that a vector may read beyond the last element
  REPAID_TILES = 3  // so many read a panel of the image that was packed for them
};

/// A row of the output within a block, and where the rows that it reads are: row h of the source's
/// plane d at source + (d - first_plane) * plane_pitch + (h - first_row) * row, planes counted by
/// the taps where the source is a copy.
typedef struct row_place {
  int64_t plane, row;  // of its image
  int64_t source;      // elements from the job's source
  int64_t first_plane, first_row, plane_pitch;
} row_place;

typedef struct job {
  const ck_conv_args *g;
  const gemm_level *level;
  conv_axis axis[CK_CONV_AXES];
  bool joins, turns, copies, packs;
  int64_t row;            // floats from row to row of the source as it is read
  int64_t taps, in, out;  // channels of a group
  float *copy;
  const float *source;  // the images, or the copy
  row_place *places;
  gemm_segment *segments;
  gemm_segment *packed;  // of the panel
  float *panel;          // of the image, packed
  float *sums;           // of the group of blocks
  conv_near near[2];     // what the next block reads of the images and of the output's gradient
} job;

// MARK: The source

static bool copies_source(const ck_conv_args *g, const gemm_level *level) {
  return conv_joins_taps(g) || g->in_channels / g->groups % level->vector != 0;
}

/// The elements of a row that are there: with the padding on both sides where taps are joined.
static range columns_of(const ck_conv_args *g) {
  if (!conv_joins_taps(g)) return (range){0, g->image[2]};
  const int64_t begin = -g->before[2];
  return (range){begin, (g->output[2] - 1) * g->stride[2] + begin + g->kernel[2]};
}

/// Rows of all planes that so many rows of the output read.
static int64_t source_rows(const ck_conv_args *g, int64_t rows) {
  const int64_t span = (rows - 1) * g->stride[1] + (g->kernel[1] - 1) * g->dilation[1] + 1;
  return g->kernel[0] * least(span, g->image[1]);
}

static int64_t copy_floats(const ck_conv_args *g) {
  const ck_conv_cut cut = ck_conv_groups(g);
  const int64_t rows = greatest(least(cut.rows, g->output[1]), 1);
  const int64_t pieces = ceiling(cut.rows, rows) + 1;
  return ceiling(pieces * source_rows(g, rows) * length(columns_of(g)) * g->in_channels + SLACK,
                 16) *
         16;
}

/// Whether the elements that a tile's columns walk along lie far apart, which neither the caches
/// nor their prefetchers like.
static bool packs_source(const ck_conv_args *g, const gemm_level *level) {
  return !conv_joins_taps(g) && g->stride[2] > 1 &&
         g->out_channels / g->groups >= REPAID_TILES * level->max_rows;
}

static int64_t panel_floats(const ck_conv_args *g, const gemm_level *level) {
  return packs_source(g, level) ? ck_conv_groups(g).rows * g->output[2] * level->columns : 0;
}

size_t conv_weights_scratch_bytes(const ck_conv_args *g, const gemm_level *level) {
  const ck_conv_cut cut = ck_conv_groups(g);
  return (size_t)(copy_floats(g) + panel_floats(g, level)) * sizeof(float) +
         (size_t)cut.rows * (sizeof(row_place) + 2 * sizeof(gemm_segment)) + 64;
}

size_t conv_weights_workspace_bytes(const ck_conv_args *g) {
  const ck_conv_cut cut = ck_conv_groups(g);
  return cut.groups == 1 && !conv_turns_weights(g)
             ? 0
             : (size_t)(cut.groups * conv_weight_elements(g)) * sizeof(float);
}

/// Copies what rows of one image's plane of the output read, from `at` on; returns where it ends.
static int64_t copy_rows(const job *job, int64_t image, int64_t plane, range rows, int64_t at,
                         row_place *place) {
  const ck_conv_args *g = job->g;
  const conv_axis *axis = job->axis;
  const int64_t channels = g->in_channels;
  const range columns = columns_of(g), planes = conv_taps_at(&axis[0], plane);
  const range read = conv_source_of(&axis[1], rows);
  const int64_t begin = read.begin, count = greatest(length(read), 0);
  place->source = at;
  place->first_plane = planes.begin;
  place->first_row = begin;
  place->plane_pitch = count * job->row;
  const range inside = {greatest(columns.begin, 0), least(columns.end, axis[2].extent)};
  const int64_t kept = greatest(length(inside), 0) * channels;
  const int64_t before = least(greatest(-columns.begin, 0) * channels, job->row);
  for (int64_t d = planes.begin; d < planes.end; d++) {
    const int64_t depth = plane * axis[0].step + axis[0].offset + d * axis[0].offset_step;
    const int64_t from = (image * axis[0].extent + depth) * axis[1].extent + begin;
    for (int64_t h = 0; h < count; h++, at += job->row) {
      float *to = job->copy + at;
      memset(to, 0, (size_t)before * sizeof(float));
      if (kept > 0)
        memcpy(to + before, g->a + ((from + h) * axis[2].extent + inside.begin) * channels,
               (size_t)kept * sizeof(float));
      memset(to + before + kept, 0, (size_t)(job->row - before - kept) * sizeof(float));
    }
  }
  return at;
}

static void find_rows(const job *job, range block) {
  const ck_conv_args *g = job->g;
  const int64_t plane_pitch = g->image[1] * job->row;
  int64_t copied = 0;
  for (int64_t u = block.begin; u < block.end; u++) {
    row_place *place = &job->places[u - block.begin];
    const int64_t whole = u / g->output[1], row = u % g->output[1];
    const int64_t image = whole / g->output[0], plane = whole % g->output[0];
    if (!job->copies) {
      place->source = image * g->image[0] * plane_pitch;
      place->first_plane = place->first_row = 0;
      place->plane_pitch = plane_pitch;
    } else if (u == block.begin || row == 0) {
      const range rows = {row, least(g->output[1], row + block.end - u)};
      copied = copy_rows(job, image, plane, rows, copied, place);
    } else {
      *place = place[-1];
    }
    place->plane = plane;
    place->row = row;
  }
  // Vectors read beyond the last element, for columns that are not kept.
  if (job->copies) memset(job->copy + copied, 0, SLACK * sizeof(float));
}

// MARK: Products

/// What a tile's columns are: the channels of one tap, or of all taps of one row of the kernel.
typedef struct column_run {
  int64_t d, h, q;  // the tap, or the first one
  range places;     // of a row of the output that it meets
  int64_t columns;
} column_run;

static int64_t find_segments(const job *job, range block, const column_run *run, int64_t group) {
  const ck_conv_args *g = job->g;
  const conv_axis *axis = job->axis;
  const range planes = conv_places_of(&axis[0], run->d), rows = conv_places_of(&axis[1], run->h);
  const int64_t column =
      job->joins ? 0
                 : run->places.begin * axis[2].step + axis[2].offset + run->q * axis[2].offset_step;
  gemm_segment *segment = job->segments;
  for (int64_t u = block.begin; u < block.end; u++) {
    const row_place *place = &job->places[u - block.begin];
    if (place->plane < planes.begin || place->plane >= planes.end || place->row < rows.begin ||
        place->row >= rows.end)
      continue;
    const int64_t row = place->row * axis[1].step + axis[1].offset + run->h * axis[1].offset_step;
    const int64_t plane =
        job->copies ? run->d
                    : place->plane * axis[0].step + axis[0].offset + run->d * axis[0].offset_step;
    *segment++ = (gemm_segment){
        .a = (u * g->output[2] + run->places.begin) * g->out_channels,
        .b = place->source + (plane - place->first_plane) * place->plane_pitch +
             (row - place->first_row) * job->row + column * g->in_channels + group * job->in,
    };
  }
  return segment - job->segments;
}

/// A run of taps and channels of the image as a tile's rows, by the channels [first, end) of the
/// output.
static void multiply_turned(job *job, range block, const column_run *run, range channels,
                            bool adds) {
  const ck_conv_args *g = job->g;
  const gemm_level *level = job->level;
  const int64_t first = (run->d * g->kernel[1] + run->h) * run->columns;
  const int64_t count = find_segments(job, block, run, 0);
  for (int64_t i = 0; i < count; i++) {
    const gemm_segment at = job->segments[i];
    job->segments[i] = (gemm_segment){.a = at.b, .b = at.a};
  }
  gemm_tile tile = {
      .a_row = 1,
      .a_col = g->stride[2] * g->in_channels,
      .b_row = g->out_channels,
      .c_row = g->out_channels,
      .K = g->output[2],
      .segments = job->segments,
      .segment_count = count,
      .alpha = 1,
      .accumulate = adds,
  };
  if (adds && count == 0) return;
  for (int64_t column = channels.begin; column < channels.end; column += tile.columns) {
    tile.columns = (int32_t)least(level->columns, channels.end - column);
    tile.b = g->b + column;
    const int64_t tiles = ceiling(run->columns, conv_tile_rows(level, tile.columns));
    for (int64_t i = 0; i < tiles; i++) {
      const int64_t row = tile_begin(run->columns, tiles, i);
      tile.rows = (int32_t)(tile_begin(run->columns, tiles, i + 1) - row);
      tile.a = job->source + row;
      tile.c = job->sums + (first + row) * g->out_channels + column;
      if (!conv_bring_near(&job->near[0], &tile)) conv_bring_near(&job->near[1], &tile);
      level->tile(&tile);
    }
  }
}

/// Packs a panel of the image, [place][column]; the segments then lie one after the other.
static void pack_segments(const job *job, gemm_tile *tile) {
  float *to = job->panel;
  const int64_t width = ceiling(tile->columns, job->level->vector) * job->level->vector;
  for (int64_t i = 0; i < tile->segment_count; i++) {
    job->level->pack(to, width, tile->columns, tile->K, tile->b + job->segments[i].b, 1,
                     job->g->stride[2] * job->g->in_channels);
    job->packed[i] = (gemm_segment){job->segments[i].a, to - job->panel};
    to += tile->K * width;
  }
  tile->b = job->panel;
  tile->b_row = width;
  tile->segments = job->packed;
}

/// A run of columns against the channels [first, end) of a group of the output.
static void multiply_run(job *job, range block, const column_run *run, int64_t group,
                         range channels, bool adds) {
  const ck_conv_args *g = job->g;
  const gemm_level *level = job->level;
  const int64_t row = job->taps * job->in;
  const int64_t tap = (run->d * g->kernel[1] + run->h) * g->kernel[2] + run->q;
  gemm_tile tile = {
      .a_row = 1,
      .a_col = g->out_channels,
      .c_row = row,
      .K = length(run->places),
      .segment_count = find_segments(job, block, run, group),
      .alpha = 1,
      .accumulate = adds,
  };
  if (adds && (tile.segment_count == 0 || tile.K == 0)) return;
  for (int64_t column = 0; column < run->columns; column += level->columns) {
    tile.columns = (int32_t)least(level->columns, run->columns - column);
    tile.b = job->source + column;
    tile.b_row = g->stride[2] * g->in_channels;
    tile.segments = job->segments;
    if (job->packs) pack_segments(job, &tile);
    const int64_t tiles = ceiling(length(channels), conv_tile_rows(level, tile.columns));
    for (int64_t i = 0; i < tiles; i++) {
      const int64_t m = channels.begin + tile_begin(length(channels), tiles, i);
      tile.rows = (int32_t)(channels.begin + tile_begin(length(channels), tiles, i + 1) - m);
      const int64_t channel = group * job->out + m;
      tile.a = g->b + channel;
      tile.c = job->sums + channel * row + tap * job->in + column;
      if (!conv_bring_near(&job->near[0], &tile)) conv_bring_near(&job->near[1], &tile);
      level->tile(&tile);
    }
  }
}

static void look_ahead(job *job, range block, range channels) {
  const ck_conv_args *g = job->g;
  const gemm_level *level = job->level;
  const int64_t columns = job->joins ? g->kernel[2] * job->in : job->in;
  const int64_t tiles =
      ceiling(columns, level->columns) * ceiling(length(channels), level->max_rows);
  const int64_t runs = job->joins ? job->taps / g->kernel[2] : job->taps;
  conv_weights_look_ahead(g, block, tiles * runs, length(block) * g->output[2], job->near);
}

/// - `channels`: of the group, or of the output where they are columns.
static void multiply_block(job *job, range block, int64_t group, range channels, bool adds) {
  const ck_conv_args *g = job->g;
  look_ahead(job, block, channels);
  column_run run = {.columns = job->joins ? g->kernel[2] * job->in : job->in};
  const int64_t runs = job->joins ? 1 : g->kernel[2];
  for (run.d = 0; run.d < g->kernel[0]; run.d++)
    for (run.h = 0; run.h < g->kernel[1]; run.h++)
      for (run.q = 0; run.q < runs; run.q++) {
        run.places = job->joins ? (range){0, g->output[2]} : conv_places_of(&job->axis[2], run.q);
        if (job->turns) {
          multiply_turned(job, block, &run, channels, adds);
        } else {
          multiply_run(job, block, &run, group, channels, adds);
        }
      }
}

// MARK: A thread

/// How many units a team shares out of a group's channels of the output: tiles of nearly equal
/// height, or panels where they are columns.
static int64_t unit_count(const job *job) {
  return ceiling(job->out, job->turns ? job->level->columns : job->level->max_rows);
}

/// The channels of the units [begin, end).
static range units_of(const job *job, int64_t begin, int64_t end) {
  const int64_t units = unit_count(job), panel = job->level->columns;
  if (job->turns) return (range){begin * panel, least(end * panel, job->out)};
  return (range){tile_begin(job->out, units, begin), tile_begin(job->out, units, end)};
}

void conv_weights_add_groups(const ck_conv_args *g, const ck_thread *t, bool turned) {
  const int64_t count = conv_weight_elements(g), rows = count / greatest(g->out_channels, 1);
  const int64_t groups = ck_conv_groups(g).groups;
  const float *sums = g->workspace;
  int64_t begin, end;
  ck_share(count, t, &begin, &end);
  if (turned) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t at = i % rows * g->out_channels + i / rows;
      float sum = sums[at];
      for (int64_t k = 1; k < groups; k++) sum += sums[k * count + at];
      g->c[i] = sum;
    }
    return;
  }
  // Runs of elements, so that each group's sums are read in whole vectors.
  for (int64_t first = begin; first < end; first += ADDED) {
    const int64_t elements = least(ADDED, end - first);
    float run[ADDED];
    memcpy(run, sums + first, (size_t)elements * sizeof(float));
    for (int64_t k = 1; k < groups; k++) {
      const float *more = sums + k * count + first;
      for (int64_t i = 0; i < elements; i++) run[i] += more[i];
    }
    memcpy(g->c + first, run, (size_t)elements * sizeof(float));
  }
}

void conv_weights_run(const ck_conv_args *g, const ck_thread *t, const gemm_level *level) {
  const ck_conv_cut cut = ck_conv_groups(g);
  job job = {
      .g = g,
      .level = level,
      .joins = conv_joins_taps(g),
      .turns = conv_turns_weights(g),
      .copies = copies_source(g, level),
      .packs = packs_source(g, level),
      .row = length(columns_of(g)) * g->in_channels,
      .taps = conv_product(g->kernel),
      .in = g->in_channels / g->groups,
      .out = g->out_channels / g->groups,
      .copy = t->scratch,
  };
  const bool apart = cut.groups > 1 || job.turns;
  job.source = job.copies ? job.copy : g->a;
  job.panel = job.copy + copy_floats(g);
  job.places = (row_place *)(job.panel + panel_floats(g, level));
  job.segments = (gemm_segment *)(job.places + cut.rows);
  job.packed = job.segments + cut.rows;
  const conv_walk walk = conv_walk_at(g, CK_CONV_FORWARD, 0);
  memcpy(job.axis, walk.axis, sizeof job.axis);
  // Tiles of channels of all groups of channels, for each group of blocks.
  const int64_t tiles = unit_count(&job);
  const int64_t all = tiles * g->groups;
  int64_t begin, end;
  ck_share(cut.groups * all, t, &begin, &end);
  for (int64_t item = begin; item < end;) {
    const int64_t sum = item / all, last = least(end, (sum + 1) * all);
    const range rows = conv_group(g, cut, sum);
    job.sums = apart ? (float *)g->workspace + sum * conv_weight_elements(g) : g->c;
    int64_t block = 0;
    do {
      const range of_block = conv_block(rows, cut, block);
      find_rows(&job, of_block);
      for (int64_t i = item; i < last;) {
        const int64_t first = i % tiles, stop = least(last, i - first + tiles);
        multiply_block(&job, of_block, i % all / tiles, units_of(&job, first, first + stop - i),
                       block > 0);
        i = stop;
      }
    } while (rows.begin + ++block * cut.rows < rows.end);
    item = last;
  }
  if (!apart) return;
  ck_barrier(t);
  conv_weights_add_groups(g, t, job.turns);
}
