// The driver of the gradient of a depthwise convolution's weights.
//
// A block of rows of the output is summed into [tap][channel] in a thread's scratch. For one vector
// of channels the sums of a few rows of the window are in registers through the whole block.
#include <string.h>

#include "conv_depth.h"

typedef struct job {
  const ck_conv_args *g;
  const depth_level *level;
  conv_axis axis[CK_CONV_AXES];
  int64_t rows, taps, padded;  // of the window: its rows, all taps
  float *sums;                 // of a block
  int64_t *at;                 // [lines of a block]: what a line reads
  uint64_t *line_masks;        // [lines]: rows of the window that it meets
  uint8_t *masks;              // [places of a row]: taps that they meet
  bool *met;                   // [rows]: in the block
} job;

static int64_t window_rows(const ck_conv_args *g) { return g->kernel[0] * g->kernel[1]; }

size_t conv_depth_weights_workspace_bytes(const ck_conv_args *g) {
  return (size_t)(ck_conv_groups(g).groups * conv_product(g->kernel) * depth_padded(g)) *
         sizeof(float);
}

size_t conv_depth_weights_scratch_bytes(const ck_conv_args *g) {
  return (size_t)(conv_product(g->kernel) * depth_padded(g)) * sizeof(float) +
         (size_t)ceiling(ck_conv_groups(g).rows * 16 + g->output[2] + window_rows(g), 64) * 64;
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

/// Chunks [begin, end) of 16 channels.
static void sum_block(const job *job, range block, int64_t begin, int64_t end) {
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
  for (int64_t tap = 0; tap < g->kernel[2]; tap += s.taps) {
    s.taps = (int32_t)least(g->kernel[2] - tap, DEPTH_TAPS);
    s.x = g->a + tap * s.tap_step;
    find_places(job, &s, tap);
    for (int64_t r = 0; r < job->rows; r += s.rows) {
      s.rows = (int32_t)least(job->rows - r, job->level->rows_together[s.taps]);
      for (int32_t i = 0; i < s.rows; i++) {
        const int64_t d = (r + i) / g->kernel[1], h = (r + i) % g->kernel[1];
        s.offset[i] = (d * axis[0].offset_step * axis[1].extent + h * axis[1].offset_step) * row;
      }
      s.first_row = r;
      s.is_last = r + s.rows == job->rows;
      s.sums = job->sums + (r * g->kernel[2] + tap) * job->padded + first;
      job->level->sums(&s);
    }
  }
}

/// Adds a block's sums to its group's; those of taps that met nothing are no terms.
static void add_block(const job *job, float *group, bool is_first, int64_t begin, int64_t end) {
  const int64_t taps = job->g->kernel[2];
  for (int64_t tap = 0; tap < job->taps; tap++) {
    float *to = group + tap * job->padded;
    const float *from = job->sums + tap * job->padded;
    if (is_first) {
      memcpy(to + begin * 16, from + begin * 16, (size_t)(end - begin) * 64);
    } else if (job->met[tap / taps] && length(conv_places_of(&job->axis[2], tap % taps)) > 0) {
      for (int64_t c = begin * 16; c < end * 16; c++) to[c] += from[c];
    }
  }
}

// MARK: A thread

/// Adds up the groups' sums of the elements that are this thread's, [channel][tap].
static void add_groups(const ck_conv_args *g, int64_t groups, const ck_thread *t) {
  const int64_t taps = conv_product(g->kernel), padded = depth_padded(g);
  const ck_gemm_part part = ck_conv_part_of(g, CK_CONV_WEIGHTS, t->index, t->count);
  const float *sums = g->workspace;
  const int64_t last = part.row_end > part.row ? ceiling(part.row_end, taps) : 0;
  for (int64_t c = part.row / taps / 16 * 16; c < last; c += 16) {
    for (int64_t tap = 0; tap < taps; tap++) {
      float lanes[16];
      memcpy(lanes, sums + tap * padded + c, sizeof lanes);
      for (int64_t k = 1; k < groups; k++)
        for (int64_t i = 0; i < 16; i++) lanes[i] += sums[(k * taps + tap) * padded + c + i];
      for (int64_t i = 0; i < 16; i++) {
        const int64_t at = (c + i) * taps + tap;
        if (at >= part.row && at < part.row_end) g->c[at] = lanes[i];
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
  job.met = (bool *)(job.masks + g->output[2]);
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
      sum_block(&job, conv_block(rows, cut, block), from, to);
      add_block(&job, group, block == 0, from, to);
    } while (rows.begin + ++block * cut.rows < rows.end);
    item = last;
  }
  ck_barrier(t);
  add_groups(g, cut.groups, t);
}
