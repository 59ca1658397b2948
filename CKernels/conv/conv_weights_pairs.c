// The driver of the gradient of a convolution's weights by pairs of bf16.
//
// Pairs are of neighbouring places of a row of the output. A tile is so many channels of the output
// by a run of columns, and columns are the channels of the image at all taps of one row of the
// kernel, [tap][channel]. Both arrays are packed for a block of rows: a word of the output's
// gradient holds one channel at two places, a word of the image what one column reads there, zeros
// where that is padding. So a packed row of the image serves every row of the kernel.
//
// With neighbouring taps, what the columns read at a place is one run of the image's row, and so is
// what they read at the next. Tap q + 2 s of one pair is tap q of the next, for a stride of s: rows
// of words overlap, each word is made once.
#include <string.h>

#include "conv_internal.h"

enum {
  IMAGE_WORDS = 3 << 15,  // of the image's packed rows: with the output's they stay in L2
  SLACK = 16,             // words between rows whose channels are no whole vectors
  ROWS_AHEAD = 4,         // that are read, to the one that is brought near
  BROUGHT = 2048,         // bytes of it
  WIDE_ROWS = 8,          // of a tile of three vectors
  RUN_SLACK = 32          // words that are written behind a run, elements that are read
};

/// A row of the output within a block, and where the rows that it reads are packed: row h of the
/// image's plane d at source + ((d - first_plane) * count + h - first_row) rows.
typedef struct row_place {
  int64_t plane, row;  // of its image
  int64_t source, first_plane, first_row, count;
} row_place;

/// Sizes, a function of the shape.
typedef struct sizes {
  int64_t in, out, columns;  // of a group
  int64_t pairs;             // words along a row
  int64_t most_rows;         // of the image, in a block
  int64_t chunk;             // columns that are packed at a time
  bool runs;                 // all columns of a place are one run of the row
  int64_t read;              // places of a row that its windows read, where it `runs`
  int64_t run_step;          // words from pair to pair
} sizes;

typedef struct job {
  const ck_conv_args *g;
  const gemm_narrow *narrow;
  conv_axis axis[CK_CONV_AXES];
  sizes sizes;
  row_place *places;
  gemm_segment *segments;
  float *image, *gradient;  // packed
  int64_t image_row;        // words from word to word of one column
  int64_t image_words;      // from row to row
  uint16_t *row;            // of the image, where its windows are runs: from its first element on
  range channels;           // of the group's output: rows of tiles
  float *sums;              // of the group of blocks
  conv_near near[2];        // what the next block reads of the images and of the output's gradient
} job;

// MARK: Sizes

/// Words of a row of so many columns. Packing writes whole vectors, of a channel run as well.
static int64_t row_words(const ck_conv_args *g, int64_t columns, const gemm_level *level) {
  const int64_t padded = ceiling(columns, level->vector) * level->vector;
  return g->in_channels / g->groups % level->vector == 0 ? padded : padded + SLACK;
}

/// Words of a packed row, where columns are runs.
static int64_t run_words(const sizes *s) {
  return greatest(s->pairs - 1, 0) * s->run_step + s->columns;
}

/// Whether columns are runs: all of them at a time, no pair half empty, no element stepped over.
static bool has_runs(const ck_conv_args *g, const sizes *s) {
  return (g->groups == 1 || s->in % 2 == 0) && g->output[2] % 2 == 0 && g->before[2] >= 0 &&
         (g->dilation[2] == 1 || g->kernel[2] == 1) && g->stride[2] <= g->kernel[2] &&
         s->columns > 0 && s->most_rows * run_words(s) <= IMAGE_WORDS;
}

static sizes sizes_of(const ck_conv_args *g, const gemm_level *level) {
  sizes s = {
      .in = g->in_channels / g->groups,
      .out = g->out_channels / g->groups,
      .pairs = ceiling(g->output[2], 2),
  };
  s.columns = g->kernel[2] * s.in;
  const ck_conv_cut cut = ck_conv_groups(g);
  const int64_t rows = greatest(least(cut.rows, g->output[1]), 1);
  const int64_t span = (rows - 1) * g->stride[1] + (g->kernel[1] - 1) * g->dilation[1] + 1;
  s.most_rows = (ceiling(cut.rows, rows) + 1) * g->kernel[0] * least(span, g->image[1]);
  const int64_t fitting = IMAGE_WORDS / greatest(s.most_rows * s.pairs, 1);
  s.chunk = greatest(fitting / level->columns, 1) * level->columns;
  s.chunk = even_width(greatest(s.columns, 1), s.chunk, level->columns);
  const int64_t apart = 2 * g->stride[2];
  s.run_step = least(apart, g->kernel[2]) * s.in;
  s.read = (g->output[2] - 1) * g->stride[2] + g->kernel[2];
  s.runs = has_runs(g, &s);
  if (s.runs) s.chunk = s.columns;
  return s;
}

/// Words of the image's packed rows of a block.
static int64_t image_words(const ck_conv_args *g, const sizes *s, const gemm_level *level) {
  if (s->runs) return ceiling(s->most_rows * run_words(s) + RUN_SLACK, 16) * 16;
  return ceiling(s->most_rows * s->pairs * row_words(g, s->chunk, level) + SLACK, 16) * 16;
}

static int64_t gradient_words(const ck_conv_args *g, const sizes *s) {
  return ceiling(ck_conv_groups(g).rows * s->pairs * s->out + SLACK, 16) * 16;
}

/// Elements in front of a row of the image, zeros where that is padding.
static int64_t row_front(const ck_conv_args *g, const sizes *s) {
  return ceiling(g->before[2] * s->in, 32) * 32;
}

/// Elements of one row of the image with what lies beside it.
static int64_t row_elements(const ck_conv_args *g, const sizes *s) {
  const int64_t behind = greatest(s->read, g->image[2]) * s->in + 2 * RUN_SLACK;
  return s->runs ? ceiling(row_front(g, s) + behind, 32) * 32 : 0;
}

size_t conv_pair_weights_scratch_bytes(const ck_conv_args *g, const gemm_narrow *narrow) {
  const sizes s = sizes_of(g, narrow->level);
  return (size_t)(image_words(g, &s, narrow->level) + gradient_words(g, &s)) * sizeof(float) +
         (size_t)row_elements(g, &s) * sizeof(uint16_t) +
         (size_t)ck_conv_groups(g).rows * (sizeof(row_place) + sizeof(gemm_segment)) + 64;
}

size_t conv_pair_weights_workspace_bytes(const ck_conv_args *g) {
  const int64_t groups = ck_conv_groups(g).groups;
  return groups == 1 ? 0 : (size_t)(groups * conv_weight_elements(g)) * sizeof(float);
}

// MARK: Packing

/// The output's gradient: [row][pair][channel].
static void pack_gradient(const job *job, range block, int64_t group) {
  const ck_conv_args *g = job->g;
  const int64_t width = length(job->channels), size = conv_type_bytes(g->b_type);
  const int64_t first = group * job->sizes.out + job->channels.begin;
  for (int64_t u = block.begin; u < block.end; u++) {
    const int64_t at = u * g->output[2] * g->out_channels + first;
    job->narrow->pack(job->gradient + (u - block.begin) * job->sizes.pairs * width, width, width,
                      g->output[2], (const char *)g->b + at * size, (ck_dtype)g->b_type, 1,
                      g->out_channels);
  }
}

/// What one tap and a run of channels read of a row of the image, at `panel` [pair][column].
///
/// - `row`: the first of the channels in the row's first element.
static void pack_tap(const job *job, float *panel, int64_t width, int64_t tap, const char *row) {
  const ck_conv_args *g = job->g;
  const range places = conv_places_of(&job->axis[2], tap);
  const int64_t stride = job->image_row, size = conv_type_bytes(g->a_type);
  const int64_t along = g->stride[2] * g->in_channels;
  const char *from =
      row + (job->axis[2].offset + tap * job->axis[2].offset_step) * g->in_channels * size;
  int64_t word = 0;
  for (; word < places.begin / 2; word++)
    memset(panel + word * stride, 0, (size_t)width * sizeof(float));
  int64_t place = places.begin;
  if (place % 2 != 0 && place < places.end) {
    // The first of this pair is padding.
    float *out = panel + word++ * stride;
    job->narrow->pack(out, stride, width, 1, from + place++ * along * size, (ck_dtype)g->a_type, 1,
                      along);
    uint32_t *words = (uint32_t *)out;
    for (int64_t i = 0; i < width; i++) words[i] <<= 16;
  }
  if (place < places.end) {
    job->narrow->pack(panel + word * stride, stride, width, places.end - place,
                      from + place * along * size, (ck_dtype)g->a_type, 1, along);
    word += ceiling(places.end - place, 2);
  }
  for (; word < job->sizes.pairs; word++)
    memset(panel + word * stride, 0, (size_t)width * sizeof(float));
}

/// The columns [begin, end) of one row of the image.
static void pack_row(const job *job, float *panel, const char *row, range columns) {
  const int64_t in = job->sizes.in, size = conv_type_bytes(job->g->a_type);
  for (int64_t j = columns.begin; j < columns.end;) {
    const int64_t tap = j / in, channel = j % in, width = least(in - channel, columns.end - j);
    pack_tap(job, panel + j - columns.begin, width, tap, row + channel * size);
    j += width;
  }
}

/// All columns of one row of the image, which `from` points at.
static void pack_runs(const job *job, float *panel, const char *from) {
  const ck_conv_args *g = job->g;
  const sizes *s = &job->sizes;
  const int64_t stride = g->stride[2], before = g->before[2];
  // What no window reads is left out.
  const int64_t places = greatest(least(g->image[2], s->read - before), 0);
  float *words = (float *)job->row;
  if (g->groups == 1 && g->a_type == CK_BF16) {
    memcpy(words, from, (size_t)(places * s->in) * sizeof *job->row);
  } else if (g->groups == 1) {
    job->narrow->convert(words, 0, from, (ck_dtype)g->a_type, 0, 1, places * s->in);
  } else {
    job->narrow->convert(words, s->in / 2, from, (ck_dtype)g->a_type, g->in_channels, places,
                         s->in);
  }
  const int64_t behind = s->read - before - places;
  if (behind > 0) memset(job->row + places * s->in, 0, (size_t)(behind * s->in) * sizeof *job->row);
  const uint16_t *first = job->row - before * s->in;
  const int64_t next = stride * s->in;
  if (s->run_step == 2 * next) {
    job->narrow->pair(panel, first, next, run_words(s));
    return;
  }
  for (int64_t p = 0; p < s->pairs; p++)
    job->narrow->pair(panel + p * s->run_step, first + 2 * p * next, next, s->run_step);
}

/// The beginning of a row of the image that is packed soon, where rows between are stepped over: no
/// walk from line to line would do, and the processor guesses it only in long rows.
static void bring_row(const job *job, const char *row) {
  const ck_conv_args *g = job->g;
  const int64_t whole = g->image[2] * g->in_channels * conv_type_bytes(g->a_type);
  const int64_t bytes = least(whole, BROUGHT);
  for (int64_t i = 0; i < bytes; i += CONV_LINE) __builtin_prefetch(row + i, 0, 2);
}

/// Packs what rows of one image's plane of the output read, from row `at` on; returns the row
/// behind them.
static int64_t pack_rows(const job *job, int64_t image, int64_t plane, range rows, int64_t at,
                         int64_t group, range columns, row_place *place) {
  const ck_conv_args *g = job->g;
  const conv_axis *axis = job->axis;
  const range planes = conv_taps_at(&axis[0], plane), read = conv_source_of(&axis[1], rows);
  const int64_t size = conv_type_bytes(g->a_type);
  const bool steps_over = axis[1].taps * axis[1].offset_step < axis[1].step;
  const int64_t ahead = ROWS_AHEAD * axis[1].step * axis[2].extent * g->in_channels;
  place->source = at;
  place->first_plane = planes.begin;
  place->first_row = read.begin;
  place->count = greatest(length(read), 0);
  for (int64_t d = planes.begin; d < planes.end; d++) {
    const int64_t depth = plane * axis[0].step + axis[0].offset + d * axis[0].offset_step;
    const int64_t first = (image * axis[0].extent + depth) * axis[1].extent;
    for (int64_t h = read.begin; h < read.end; h++, at++) {
      if (!conv_reads(&axis[1], h)) continue;
      const int64_t from = (first + h) * axis[2].extent * g->in_channels + group * job->sizes.in;
      if (steps_over) bring_row(job, (const char *)g->a + (from + ahead) * size);
      float *panel = job->image + at * job->image_words;
      if (job->sizes.runs) {
        pack_runs(job, panel, (const char *)g->a + from * size);
      } else {
        pack_row(job, panel, (const char *)g->a + from * size, columns);
      }
    }
  }
  return at;
}

static void pack_image(const job *job, range block, int64_t group, range columns) {
  const ck_conv_args *g = job->g;
  int64_t packed = 0;
  for (int64_t u = block.begin; u < block.end; u++) {
    row_place *place = &job->places[u - block.begin];
    const int64_t whole = u / g->output[1], row = u % g->output[1];
    const int64_t image = whole / g->output[0], plane = whole % g->output[0];
    if (u == block.begin || row == 0) {
      const range rows = {row, least(g->output[1], row + block.end - u)};
      packed = pack_rows(job, image, plane, rows, packed, group, columns, place);
    } else {
      *place = place[-1];
    }
    place->plane = plane;
    place->row = row;
  }
}

// MARK: Products

/// The rows of the block that meet row h of the kernel's plane d.
static int64_t find_segments(const job *job, range block, int64_t d, int64_t h) {
  const conv_axis *axis = job->axis;
  const range planes = conv_places_of(&axis[0], d), rows = conv_places_of(&axis[1], h);
  const int64_t pairs = job->sizes.pairs, width = length(job->channels);
  gemm_segment *segment = job->segments;
  for (int64_t k = 0; k < length(block); k++) {
    const row_place *place = &job->places[k];
    if (place->plane < planes.begin || place->plane >= planes.end || place->row < rows.begin ||
        place->row >= rows.end)
      continue;
    const int64_t row = place->row * axis[1].step + axis[1].offset + h * axis[1].offset_step;
    const int64_t at =
        place->source + (d - place->first_plane) * place->count + row - place->first_row;
    *segment++ = (gemm_segment){.a = k * pairs * width, .b = at * job->image_words};
  }
  return segment - job->segments;
}

/// Columns of a tile where so many are left: what two panels would share unevenly is one wide tile
/// of fewer rows.
static int64_t tile_columns(const gemm_level *level, int64_t left) {
  const bool is_wide = left > level->columns && left <= level->columns + level->vector;
  return is_wide ? left : least(level->columns, left);
}

static int64_t tile_rows(const gemm_level *level, int64_t columns) {
  return columns > level->columns ? WIDE_ROWS : conv_tile_rows(level, columns);
}

/// The packed columns [begin, end) against the job's channels of the output.
static void multiply_columns(job *job, range block, int64_t group, range columns, bool adds) {
  const ck_conv_args *g = job->g;
  const gemm_level *level = job->narrow->level;
  const int64_t c_row = conv_product(g->kernel) * job->sizes.in;
  gemm_tile tile = {
      .a_row = 1,
      .a_col = length(job->channels),
      .b_row = job->image_row,
      .c_row = c_row,
      .K = job->sizes.pairs,
      .segments = job->segments,
      .alpha = 1,
      .accumulate = adds,
  };
  for (int64_t d = 0; d < g->kernel[0]; d++) {
    for (int64_t h = 0; h < g->kernel[1]; h++) {
      tile.segment_count = find_segments(job, block, d, h);
      if (adds && tile.segment_count == 0) continue;
      float *sums = job->sums + (group * job->sizes.out + job->channels.begin) * c_row +
                    (d * g->kernel[1] + h) * job->sizes.columns;
      for (int64_t j = columns.begin; j < columns.end; j += tile.columns) {
        tile.columns = (int32_t)tile_columns(level, columns.end - j);
        tile.b = job->image + j - columns.begin;
        const int64_t tiles = ceiling(length(job->channels), tile_rows(level, tile.columns));
        for (int64_t i = 0; i < tiles; i++) {
          const int64_t m = tile_begin(length(job->channels), tiles, i);
          tile.rows = (int32_t)(tile_begin(length(job->channels), tiles, i + 1) - m);
          tile.a = job->gradient + m;
          tile.c = sums + m * c_row + j;
          if (!conv_bring_near(&job->near[0], &tile)) conv_bring_near(&job->near[1], &tile);
          level->tile(&tile);
        }
      }
    }
  }
}

static void look_ahead(job *job, range block) {
  const ck_conv_args *g = job->g;
  const gemm_level *level = job->narrow->level;
  int64_t tiles = 0;
  for (int64_t left = job->sizes.columns; left > 0; left -= tile_columns(level, left))
    tiles += ceiling(length(job->channels), tile_rows(level, tile_columns(level, left)));
  conv_weights_look_ahead(g, block, tiles * g->kernel[0] * g->kernel[1],
                          length(block) * job->sizes.pairs, job->near);
}

static void multiply_block(job *job, range block, int64_t group, bool adds) {
  const sizes *s = &job->sizes;
  pack_gradient(job, block, group);
  look_ahead(job, block);
  for (int64_t j = 0; j < s->columns; j += s->chunk) {
    const range columns = {j, least(j + s->chunk, s->columns)};
    job->image_row = s->runs ? s->run_step : row_words(job->g, length(columns), job->narrow->level);
    job->image_words = s->runs ? run_words(s) : s->pairs * job->image_row;
    pack_image(job, block, group, columns);
    multiply_columns(job, block, group, columns, adds);
  }
}

// MARK: A thread

void conv_pair_weights_run(const ck_conv_args *g, const ck_thread *t, const gemm_narrow *narrow) {
  const ck_conv_cut cut = ck_conv_groups(g);
  const gemm_level *level = narrow->level;
  job job = {.g = g, .narrow = narrow, .sizes = sizes_of(g, level), .image = t->scratch};
  job.gradient = job.image + image_words(g, &job.sizes, level);
  uint16_t *row = (uint16_t *)(job.gradient + gradient_words(g, &job.sizes));
  if (job.sizes.runs) {
    job.row = row + row_front(g, &job.sizes);
    memset(row, 0, (size_t)row_front(g, &job.sizes) * sizeof *row);
  }
  job.places = (row_place *)(row + row_elements(g, &job.sizes));
  job.segments = (gemm_segment *)(job.places + cut.rows);
  const conv_walk walk = conv_walk_at(g, CK_CONV_FORWARD, 0);
  memcpy(job.axis, walk.axis, sizeof job.axis);
  // Units of channels of the output, of all groups of channels, for each group of blocks: an
  // element's sum does not depend on who takes its unit.
  const int64_t units = ceiling(job.sizes.out, level->max_rows), all = units * g->groups;
  int64_t begin, end;
  ck_share(cut.groups * all, t, &begin, &end);
  for (int64_t item = begin; item < end;) {
    const int64_t sum = item / all, unit = item % units, group = item % all / units;
    const int64_t last = least(unit + end - item, units);
    const range rows = conv_group(g, cut, sum);
    job.sums = cut.groups > 1 ? (float *)g->workspace + sum * conv_weight_elements(g) : g->c;
    job.channels =
        (range){tile_begin(job.sizes.out, units, unit), tile_begin(job.sizes.out, units, last)};
    int64_t block = 0;
    do {
      multiply_block(&job, conv_block(rows, cut, block), group, block > 0);
    } while (rows.begin + ++block * cut.rows < rows.end);
    item += last - unit;
  }
  if (cut.groups == 1) return;
  ck_barrier(t);
  conv_weights_add_groups(g, t, false);
}
