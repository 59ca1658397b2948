// The driver of the gradient of a depthwise convolution's weights.
//
// A block of rows of the output is summed into [tap][channel] in a thread's scratch. For one vector
// of channels the sums of a few rows of the window are in registers through the whole block.
#include <string.h>

#include "conv_depth.h"

enum { NEAR_PLACES = 8 };  // so many are read before what is fetched now

typedef struct job {
  const ck_conv_args *g;
  const depth_level *level;
  conv_axis axis[CK_CONV_AXES];
  int64_t rows, taps, padded;  // of the window: its rows, all taps
  float *sums;                 // of a block that is not the first of its group
  int64_t *at;                 // [lines of a block]: what a line reads
  uint64_t *line_masks;        // [lines]: rows of the window that it meets
  uint8_t *masks;              // [places of a row]: taps that they meet
  uint8_t *slide_taps;         // [places + 2]: the same of iterations
  bool *met;                   // [rows]: in the block
} job;

static int64_t window_rows(const ck_conv_args *g) { return g->kernel[0] * g->kernel[1]; }

size_t conv_depth_weights_workspace_bytes(const ck_conv_args *g) {
  return (size_t)(ck_conv_groups(g).groups * conv_product(g->kernel) * depth_padded(g)) *
         sizeof(float);
}

size_t conv_depth_weights_scratch_bytes(const ck_conv_args *g) {
  return (size_t)(conv_product(g->kernel) * depth_padded(g)) * sizeof(float) +
         (size_t)ceiling(ck_conv_groups(g).rows * 16 + 2 * g->output[2] + 2 + window_rows(g), 64) *
             64;
}

// MARK: A block

/// Where the lines of a block read, and which rows of the window meet the image there.
static void find_lines(const job *job, range block, int64_t first) {
  const ck_conv_args *g = job->g;
  const conv_axis *axis = job->axis;
  memset(job->met, 0, (size_t)job->rows * sizeof(bool));
  for (int64_t u = block.begin; u < block.end; u++) {
    const int64_t row = u % g->output[1], whole = u / g->output[1];
    const int64_t plane = whole % g->output[0], image = whole / g->output[0];
    const range planes = conv_taps_at(&axis[0], plane), rows = conv_taps_at(&axis[1], row);
    const int64_t in_plane = plane * axis[0].step + axis[0].offset;
    const int64_t in_row = row * axis[1].step + axis[1].offset;
    uint64_t mask = 0;
    for (int64_t d = planes.begin; d < planes.end; d++)
      for (int64_t h = rows.begin; h < rows.end; h++) {
        mask |= (uint64_t)1 << (d * g->kernel[1] + h);
        job->met[d * g->kernel[1] + h] = true;
      }
    job->line_masks[u - block.begin] = mask;
    job->at[u - block.begin] =
        (((image * axis[0].extent + in_plane) * axis[1].extent + in_row) * axis[2].extent +
         axis[2].offset) *
            g->in_channels +
        first;
  }
}

/// The places that taps [first, first + taps) of a row of the window meet.
static void find_places(const job *job, depth_sums *s, int64_t first) {
  const conv_axis *axis = &job->axis[2];
  memset(job->masks, 0, (size_t)axis->count);
  s->some = (range){axis->count, 0};
  s->all = (range){0, axis->count};
  for (int64_t q = 0; q < s->taps; q++) {
    const range places = conv_places_of(axis, first + q);
    for (int64_t j = places.begin; j < places.end; j++) job->masks[j] |= (uint8_t)(1u << q);
    s->all.begin = greatest(s->all.begin, places.begin);
    s->all.end = least(s->all.end, places.end);
    if (length(places) <= 0) continue;
    s->some.begin = least(s->some.begin, places.begin);
    s->some.end = greatest(s->some.end, places.end);
  }
  // Where no place meets all taps, all of them are at the edge.
  if (s->all.begin >= s->all.end) s->all = (range){s->some.end, s->some.end};
}

/// Iteration j of a window of three taps that slides reads the elements of its first `stride` taps
/// at place j, and tap q meets them at the place q / stride before.
static void find_iterations(const job *job, depth_sums *s) {
  const conv_axis *axis = &job->axis[2];
  const int64_t step = axis->step, iterations = axis->count + 2 / step;
  const unsigned all = 7;
  s->slides = 1;
  s->places = axis->count;
  s->slide_taps = job->slide_taps;
  s->fast = (range){iterations, iterations};
  for (int64_t j = 0; j < iterations; j++) {
    unsigned taps = 0;
    for (int64_t q = 0; q < 3; q++) {
      const int64_t place = j - q / step, column = place * step + q + axis->offset;
      const bool is_met = place >= 0 && place < axis->count && column >= 0 && column < axis->extent;
      taps |= (unsigned)is_met << q;
    }
    job->slide_taps[j] = (uint8_t)taps;
    if (taps == all && s->fast.begin == iterations) s->fast.begin = j;
    if (taps == all) s->fast.end = j + 1;
  }
  s->near_lines = ceiling(NEAR_PLACES, greatest(axis->count, 1));
}

/// Chunks [begin, end) of 16 channels.
static void sum_block(const job *job, range block, float *sums, int64_t begin, int64_t end) {
  const ck_conv_args *g = job->g;
  const conv_axis *axis = job->axis;
  const int64_t first = begin * 16, row = axis[2].extent * g->in_channels;
  find_lines(job, block, first);
  depth_sums s = {
      .lines = length(block),
      .at = job->at,
      .line_masks = job->line_masks,
      .step = g->stride[2] * g->in_channels,
      .tap_step = g->dilation[2] * g->in_channels,
      .dy = g->b + block.begin * g->output[2] * g->in_channels + first,
      .dy_step = g->in_channels,
      .channels = least(end * 16, g->in_channels) - first,
      .x_line = axis[1].step * row,
      .dy_line = g->output[2] * g->in_channels,
      .sum_step = job->padded,
      .sum_row = g->kernel[2] * job->padded,
      .masks = job->masks,
      .beside = g->stride[2] > 1 ? g->in_channels : 0,
  };
  const bool slides = job->rows % 3 == 0 && g->kernel[2] == 3 && g->dilation[2] == 1 &&
                      (g->stride[2] == 1 || g->stride[2] == 2);
  for (int64_t tap = 0; tap < g->kernel[2]; tap += s.taps) {
    s.taps = (int32_t)least(g->kernel[2] - tap, DEPTH_TAPS);
    s.x = g->a + tap * s.tap_step;
    if (slides) {
      find_iterations(job, &s);
    } else {
      find_places(job, &s, tap);
    }
    for (int64_t r = 0; r < job->rows; r += s.rows) {
      s.rows = slides ? 3 : (int32_t)least(job->rows - r, job->level->rows_together[s.taps]);
      for (int32_t i = 0; i < s.rows; i++) {
        const int64_t d = (r + i) / g->kernel[1], h = (r + i) % g->kernel[1];
        s.offset[i] = (d * axis[0].offset_step * axis[1].extent + h * axis[1].offset_step) * row;
      }
      s.first_row = r;
      s.is_last = r + s.rows == job->rows;
      s.sums = sums + (r * g->kernel[2] + tap) * job->padded + first;
      job->level->sums(&s);
    }
  }
}

/// Adds a block's sums to its group's; those of taps that met nothing are no terms.
static void add_block(const job *job, float *group, int64_t begin, int64_t end) {
  const int64_t taps = job->g->kernel[2], count = (end - begin) * 16;
  for (int64_t tap = 0; tap < job->taps; tap++) {
    const int64_t at = tap * job->padded + begin * 16;
    if (job->met[tap / taps] && length(conv_places_of(&job->axis[2], tap % taps)) > 0)
      job->level->add(group + at, job->sums + at, count);
  }
}

// MARK: A thread

/// Adds up the groups' sums of the elements that are this thread's, [channel][tap].
static void add_groups(const ck_conv_args *g, int64_t groups, const ck_thread *t,
                       const depth_level *level) {
  const int64_t taps = conv_product(g->kernel), padded = depth_padded(g);
  const ck_gemm_part part = ck_conv_part_of(g, CK_CONV_WEIGHTS, t->index, t->count);
  const int64_t last = part.row_end > part.row ? ceiling(part.row_end, taps) : 0;
  for (int64_t c = part.row / taps / 16 * 16; c < last; c += 16) {
    const bool is_whole = c * taps >= part.row && (c + 16) * taps <= part.row_end;
    for (int64_t tap = 0; tap < taps; tap += 4) {
      const int64_t count = least(taps - tap, 4);
      const float *sums = (const float *)g->workspace + tap * padded + c;
      float lanes[4][16];
      level->total(lanes, sums, groups, taps * padded, count, padded);
      for (int64_t i = 0; i < 16; i += 4) {
        float *to = g->c + (c + i) * taps + tap;
        if (is_whole && count == 4) {
          depth_turn(lanes[0] + i, 16, to, taps);
          continue;
        }
        for (int64_t k = 0; k < 4 * count; k++) {
          const int64_t at = k / count * taps + k % count, element = to - g->c + at;
          if (element >= part.row && element < part.row_end)
            to[at] = lanes[k % count][i + k / count];
        }
      }
    }
  }
}

void conv_depth_weights_run(const ck_conv_args *g, const ck_thread *t, const depth_level *level) {
  const ck_conv_cut cut = ck_conv_groups(g);
  job job = {
      .g = g,
      .level = level,
      .rows = window_rows(g),
      .taps = conv_product(g->kernel),
      .padded = depth_padded(g),
      .sums = t->scratch,
  };
  job.at = (int64_t *)(job.sums + job.taps * job.padded);
  job.line_masks = (uint64_t *)(job.at + cut.rows);
  job.masks = (uint8_t *)(job.line_masks + cut.rows);
  job.slide_taps = job.masks + g->output[2];
  job.met = (bool *)(job.slide_taps + g->output[2] + 2);
  const conv_walk walk = conv_walk_at(g, CK_CONV_FORWARD, 0);
  memcpy(job.axis, walk.axis, sizeof job.axis);
  const int64_t chunks = job.padded / 16;
  int64_t begin, end;
  ck_share(cut.groups * chunks, t, &begin, &end);
  for (int64_t item = begin; item < end;) {
    const int64_t sum = item / chunks, last = least(end, (sum + 1) * chunks);
    const int64_t from = item - sum * chunks, to = last - sum * chunks;
    const range rows = conv_group(g, cut, sum);
    float *group = (float *)g->workspace + sum * job.taps * job.padded;
    int64_t block = 0;
    do {
      sum_block(&job, conv_block(rows, cut, block), block == 0 ? group : job.sums, from, to);
      if (block > 0) add_block(&job, group, from, to);
    } while (rows.begin + ++block * cut.rows < rows.end);
    item = last;
  }
  ck_barrier(t);
  add_groups(g, cut.groups, t, level);
}
