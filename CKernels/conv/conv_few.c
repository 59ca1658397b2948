// The driver of convolutions whose result has few channels: a gradient of data with three channels,
// a last layer that makes a picture.
//
// A block's source is turned, so that the places of a row are neighbours: [channel][plane][row]
// [place], with zeros around each row. A tap then is a distance in it, the same for all places of
// all rows, and rows follow one another: a run of places goes on from row to row, over the few
// between that are no places. All phases of a stride read the same turned source. The phases of a
// row are made beside one another and written as they lie.
#include "conv_few.h"

#include <string.h>

enum {
  SOURCE_FLOATS = 1 << 17,  // of a block, turned
  MOST_FLOATS = 1 << 19,    // of one whose rows do not fit
  LEAST_DEPTH = 8,          // channels of the source that a tap has to go through
  LEAST_PLACES = 32,        // of a plane
  SLACK = 128,              // floats that a tile reads or writes beyond the last place
  ROW_SLACK = 16            // behind a row
};

static int64_t source_channels(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? g->out_channels : g->in_channels;
}

static int64_t result_channels(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? g->in_channels : g->out_channels;
}

static const int64_t *result_extents(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? g->image : g->output;
}

/// Phases of an axis of the result that have elements.
static int64_t phases(const ck_conv_args *g, ck_conv_op op, int d) {
  return op == CK_CONV_DATA ? least(g->stride[d], g->image[d]) : 1;
}

// MARK: The plan, a function of the shape alone

typedef struct few_plan {
  int64_t phases[CK_CONV_AXES];
  // Phases of the rows and of the last axis, whatever the plane.
  conv_axis rows[FEW_STRIDE], places[FEW_STRIDE];
  int64_t planes;           // of the source, at most
  int64_t channels, depth;  // of the result, of the source
  int64_t column, width;    // of the source's rows: the first element, how many
  int64_t block_rows;       // of one phase
  int64_t source_rows;      // at most
  int64_t most_segments;
} few_plan;

static int64_t walk_of(const few_plan *p, int64_t plane, int64_t row, int64_t place) {
  return (plane * p->phases[1] + row) * p->phases[2] + place;
}

/// From one channel of the turned source to the next: an odd number of lines, so that they do not
/// share a few sets of the first cache.
static int64_t pitch_of(int64_t planes, int64_t rows, int64_t width) {
  return (ceiling(planes * rows * width, 16) | 1) * 16;
}

static few_plan plan_of(const ck_conv_args *g, ck_conv_op op) {
  few_plan p = {.channels = result_channels(g, op), .depth = source_channels(g, op)};
  for (int d = 0; d < CK_CONV_AXES; d++) p.phases[d] = phases(g, op, d);
  range columns = {INT64_MAX, INT64_MIN}, rows = columns;
  int64_t taps[CK_CONV_AXES] = {1, 1, 1}, count = 0;
  for (int64_t i = 0; i < p.phases[0]; i++) {
    const conv_walk w = conv_walk_at(g, op, walk_of(&p, i, 0, 0));
    taps[0] = greatest(taps[0], w.axis[0].taps);
  }
  for (int64_t i = 0; i < p.phases[1]; i++) {
    const conv_axis axis = conv_walk_at(g, op, walk_of(&p, 0, i, 0)).axis[1];
    p.rows[i] = axis;
    count = greatest(count, axis.count);
    taps[1] = greatest(taps[1], axis.taps);
    if (axis.taps == 0) continue;
    rows.begin = least(rows.begin, axis.offset);
    rows.end = greatest(rows.end, axis.offset + (axis.taps - 1) * axis.offset_step);
  }
  for (int64_t i = 0; i < p.phases[2]; i++) {
    const conv_axis axis = conv_walk_at(g, op, walk_of(&p, 0, 0, i)).axis[2];
    p.places[i] = axis;
    taps[2] = greatest(taps[2], axis.taps);
    if (axis.taps == 0) continue;
    columns.begin = least(columns.begin, axis.offset);
    columns.end =
        greatest(columns.end, axis.count + axis.offset + (axis.taps - 1) * axis.offset_step);
  }
  p.planes = taps[0];
  p.most_segments = taps[0] * taps[1] * taps[2];
  p.column = columns.begin < columns.end ? columns.begin : 0;
  // Wide enough for the places too, which lie as far apart as the rows of the source.
  p.width = greatest(columns.begin < columns.end ? length(columns) : 0, p.places[0].count);
  // Phases of a block that begins between them are a row apart.
  const int64_t span = (rows.begin <= rows.end ? length(rows) : 0) + 1;
  const int64_t extent = p.rows[0].extent;
  int64_t fit = greatest(count, 1);
  while (fit > 1 &&
         p.depth * pitch_of(p.planes, least(fit + span, extent), p.width) > SOURCE_FLOATS)
    fit--;
  p.block_rows = ceiling(greatest(count, 1), ceiling(greatest(count, 1), fit));
  p.source_rows = least(p.block_rows + span, extent);
  return p;
}

/// Floats of a thread's scratch.
typedef struct layout {
  int64_t source, sums_row, sums, line, segments;
} layout;

static layout layout_of(const few_plan *p) {
  layout all = {0};
  const int64_t columns = p->phases[2] * p->channels;
  all.source = ceiling(p->depth * pitch_of(p->planes, p->source_rows, p->width) + SLACK, 16) * 16;
  // An odd number of lines.
  all.sums_row = (ceiling((p->block_rows + 1) * p->width + SLACK, 16) | 1) * 16;
  all.sums = columns * all.sums_row;
  all.line = ceiling(columns * (p->places[0].count + ROW_SLACK), 16) * 16;
  all.segments = ceiling((p->most_segments + 1) * (int64_t)sizeof(gemm_segment), 64) * 16;
  return all;
}

bool conv_few_takes(const ck_conv_args *g, ck_conv_op op, conv_way way) {
  if (!way.level || way.narrow || g->groups != 1 || g->epilogue.program) return false;
  if (op == CK_CONV_WEIGHTS || result_channels(g, op) > FEW_CHANNELS) return false;
  for (int d = 0; d < CK_CONV_AXES; d++)
    if (phases(g, op, d) > FEW_STRIDE) return false;
  // Neighbouring places must read neighbours.
  if (op == CK_CONV_FORWARD && g->stride[1] * g->stride[2] != 1) return false;
  const few_plan p = plan_of(g, op);
  return p.depth >= LEAST_DEPTH && p.rows[0].count * p.places[0].count >= LEAST_PLACES &&
         p.depth * pitch_of(p.planes, p.source_rows, p.width) <= MOST_FLOATS;
}

size_t conv_few_scratch_bytes(const ck_conv_args *g, ck_conv_op op) {
  const few_plan p = plan_of(g, op);
  const layout all = layout_of(&p);
  return (size_t)(all.source + all.sums + all.line + all.segments) * sizeof(float);
}

size_t conv_few_workspace_bytes(const ck_conv_args *g) {
  return (size_t)conv_weight_elements(g) * sizeof(float);
}

// MARK: Weights

/// Of all walks, one after the other: [tap][channel of the source][channel of the result].
static void pack_weights(const ck_conv_args *g, ck_conv_op op, const ck_thread *t) {
  const int64_t channels = result_channels(g, op), depth = source_channels(g, op);
  const int64_t taps = conv_product(g->kernel);
  const bool is_data = op == CK_CONV_DATA;
  const int64_t of_source = is_data ? taps * channels : 1, of_result = is_data ? 1 : taps * depth;
  int64_t begin, end, tap = 0;
  ck_share(taps, t, &begin, &end);
  for (int64_t i = 0; i < conv_walks(g, op); i++) {
    const conv_walk w = conv_walk_at(g, op, i);
    for (int64_t k = 0; k < w.taps; k++, tap++) {
      if (tap < begin || tap >= end) continue;
      const float *from = g->b + conv_kernel_tap(g, &w, k) * (is_data ? channels : depth);
      float *to = (float *)g->workspace + tap * depth * channels;
      for (int64_t m = 0; m < depth; m++)
        for (int64_t c = 0; c < channels; c++) *to++ = from[m * of_source + c * of_result];
    }
  }
}

// MARK: A block of rows

typedef struct job {
  const ck_conv_args *g;
  ck_conv_op op;
  const gemm_level *level;
  const few_level *few;
  few_plan plan;
  layout layout;
  float *source, *sums, *line;
  gemm_segment *segments;
  int64_t image, plane_phase;
  conv_axis plane_axis;
  int64_t plane;  // of the phase
  range planes;   // taps that meet the source
  range rows;     // of the source, that are there
  int64_t pitch;  // from channel to channel
} job;

/// Turns one row, and puts zeros around it.
static void turn_row(const job *job, const float *from, float *to) {
  const few_plan *p = &job->plan;
  const range inside = {greatest(p->column, 0), least(p->column + p->width, p->places[0].extent)};
  const int64_t kept = greatest(length(inside), 0);
  const int64_t left = kept > 0 ? inside.begin - p->column : p->width;
  if (kept > 0)
    job->few->turn(to + left, job->pitch, kept, p->depth, from + inside.begin * p->depth);
  for (int64_t m = 0; m < p->depth; m++, to += job->pitch) {
    for (int64_t i = 0; i < left; i++) to[i] = 0;
    for (int64_t i = left + kept; i < p->width; i++) to[i] = 0;
  }
}

static void turn_source(job *job) {
  const few_plan *p = &job->plan;
  const conv_axis *axis = &job->plane_axis;
  const int64_t extent = p->rows[0].extent, row = p->places[0].extent * p->depth;
  job->pitch = pitch_of(length(job->planes), length(job->rows), p->width);
  float *to = job->source;
  for (int64_t d = job->planes.begin; d < job->planes.end; d++) {
    const int64_t plane = job->plane * axis->step + axis->offset + d * axis->offset_step;
    const float *from = job->g->a + (job->image * axis->extent + plane) * extent * row;
    for (int64_t h = job->rows.begin; h < job->rows.end; h++, to += p->width)
      turn_row(job, from + h * row, to);
  }
}

/// The rows [begin, end) of a phase, which meet the same taps.
static int64_t find_segments(const job *job, const conv_axis *rows, const conv_axis *places,
                             range run, range taps) {
  const few_plan *p = &job->plan;
  gemm_segment *segment = job->segments;
  for (int64_t d = job->planes.begin; d < job->planes.end; d++)
    for (int64_t h = taps.begin; h < taps.end; h++)
      for (int64_t q = 0; q < places->taps; q++) {
        const int64_t plane = (d - job->planes.begin) * length(job->rows);
        const int64_t row = run.begin + rows->offset + h * rows->offset_step - job->rows.begin;
        *segment++ = (gemm_segment){
            .a = ((d * rows->taps + h) * places->taps + q) * p->depth * p->channels,
            .b = (plane + row) * p->width + places->offset + q * places->offset_step - p->column,
        };
      }
  return segment - job->segments;
}

/// The sums of a phase's rows, [channel][row][place].
static void multiply(job *job, const conv_axis *rows, const conv_axis *places, range all,
                     const float *weights, float *sums) {
  const few_plan *p = &job->plan;
  few_tile tile = {
      .a = weights,
      .b = job->source,
      .b_row = job->pitch,
      .K = p->depth,
      .segments = job->segments,
      .c_row = job->layout.sums_row,
      .rows = (int32_t)p->channels,
  };
  for (range run = {all.begin, all.begin}; run.begin < all.end; run.begin = run.end) {
    const range taps = conv_taps_at(rows, run.begin);
    for (run.end = run.begin + 1; run.end < all.end; run.end++) {
      const range next = conv_taps_at(rows, run.end);
      if (next.begin != taps.begin || next.end != taps.end) break;
    }
    tile.segment_count = find_segments(job, rows, places, run, taps);
    tile.c = sums + (run.begin - all.begin) * p->width;
    tile.vectors = ceiling((length(run) - 1) * p->width + places->count, job->level->vector);
    job->few->tile(&tile);
  }
}

/// The epilogue of a row of the result, `at` elements from its first.
static void finish_row(const job *job, float *x, int64_t at) {
  const ck_epilogue *e = &job->g->epilogue;
  const int64_t channels = job->plan.channels;
  const int64_t count = result_extents(job->g, job->op)[2] * channels;
  if (e->bias)
    for (int64_t i = 0; i < count; i += channels)
      for (int64_t c = 0; c < channels; c++) x[i + c] += e->bias[c];
  const float *other = e->combination == CK_ALONE ? NULL : e->other + at, *mask = e->mask;
  if (e->combination == CK_ADD) {
    for (int64_t i = 0; i < count; i++) x[i] += other[i];
    if (mask)
      for (int64_t i = 0; i < count; i++) x[i] = mask[at + i] > 0 ? x[i] : 0.0f;
  } else if (e->combination == CK_GATE) {
    for (int64_t i = 0; i < count; i++) x[i] = other[i] > 0 ? x[i] : 0.0f;
  }
  if (e->relu)
    for (int64_t i = 0; i < count; i++) x[i] = 0.0f > x[i] ? 0.0f : x[i];
  memcpy(job->g->c + at, x, (size_t)count * sizeof(float));
}

/// The rows of a phase that lie in the rows [begin, end) of the result.
static range rows_of(const conv_axis *axis, range result) {
  return (range){ceiling(greatest(result.begin - axis->first, 0), axis->stride),
                 ceiling(greatest(result.end - axis->first, 0), axis->stride)};
}

/// The rows [begin, end) of one plane of the result.
static void run_block(job *job, range result) {
  const ck_conv_args *g = job->g;
  const few_plan *p = &job->plan;
  const int64_t *extents = result_extents(g, job->op);
  const int64_t columns = p->phases[2] * p->channels, sums_row = job->layout.sums_row;
  job->rows = (range){INT64_MAX, 0};
  for (int64_t i = 0; i < p->phases[1]; i++) {
    const range rows = rows_of(&p->rows[i], result);
    if (length(rows) <= 0 || p->rows[i].taps == 0) continue;
    const range read = conv_source_of(&p->rows[i], rows);
    if (length(read) <= 0) continue;
    job->rows.begin = least(job->rows.begin, read.begin);
    job->rows.end = greatest(job->rows.end, read.end);
  }
  if (length(job->rows) <= 0) job->rows = (range){0, 0};
  turn_source(job);
  const int64_t plane = job->plane_axis.first + job->plane * job->plane_axis.stride;
  const int64_t first_row = (job->image * extents[0] + plane) * extents[1];
  const float *weights = g->workspace;
  for (int64_t i = 0; i < walk_of(p, job->plane_phase, 0, 0); i++)
    weights += conv_walk_at(g, job->op, i).taps * p->depth * p->channels;
  for (int64_t i = 0; i < p->phases[1]; i++) {
    const conv_axis *axis = &p->rows[i];
    const range rows = rows_of(axis, result);
    for (int64_t k = 0; k < p->phases[2]; k++) {
      const conv_axis *places = &p->places[k];
      multiply(job, axis, places, rows, weights, job->sums + k * p->channels * sums_row);
      weights += job->plane_axis.taps * axis->taps * places->taps * p->depth * p->channels;
    }
    for (int64_t j = rows.begin; j < rows.end; j++) {
      const float *from = job->sums + (j - rows.begin) * p->width;
      job->few->pack(job->line, columns, columns, p->places[0].count, from, sums_row, 1);
      const int64_t row = first_row + axis->first + j * axis->stride;
      finish_row(job, job->line, row * extents[2] * p->channels);
    }
  }
}

// MARK: A thread

void conv_few_run(const ck_conv_args *g, ck_conv_op op, const ck_thread *t,
                  const gemm_level *level) {
  pack_weights(g, op, t);
  ck_barrier(t);
  const int64_t *extents = result_extents(g, op);
  const ck_gemm_part part = ck_conv_part_of(g, op, t->index, t->count);
  if (part.row >= part.row_end || part.column_end == 0) return;
  job job = {.g = g, .op = op, .level = level, .plan = plan_of(g, op)};
  job.layout = layout_of(&job.plan);
#if defined(__x86_64__)
  job.few = level->isa >= CK_ISA_AVX512 ? &few_avx512 : &few_avx2;
#endif
  job.source = t->scratch;
  job.sums = job.source + job.layout.source;
  job.line = job.sums + job.layout.sums;
  job.segments = (gemm_segment *)(job.line + job.layout.line);
  const int64_t begin = part.row / extents[2], end = part.row_end / extents[2];
  const int64_t most = job.plan.block_rows * job.plan.rows[0].stride;
  for (int64_t row = begin; row < end;) {
    const int64_t whole = row / extents[1], first = row % extents[1];
    const int64_t count = least(extents[1] - first, end - row);
    job.image = whole / extents[0];
    job.plane_phase = whole % extents[0] % job.plan.phases[0];
    job.plane_axis = conv_walk_at(g, op, walk_of(&job.plan, job.plane_phase, 0, 0)).axis[0];
    job.plane = (whole % extents[0] - job.plane_axis.first) / job.plane_axis.stride;
    job.planes = conv_taps_at(&job.plane_axis, job.plane);
    for (int64_t i = 0; i < count; i += most)
      run_block(&job, (range){first + i, first + least(i + most, count)});
    row += count;
  }
}
