// The reference convolutions: one element at a time, in the order that every level keeps.
#include "../core/ck_ref_begin.h"
#include "conv_internal.h"

// MARK: Forward and the gradient of data

static float weight_at(const ck_conv_args *g, ck_conv_op op, const conv_walk *w, int64_t group,
                       const int64_t tap[CK_CONV_AXES], int64_t channel, int64_t source) {
  int64_t at = 0;
  for (int d = 0; d < CK_CONV_AXES; d++)
    at = at * g->kernel[d] + w->axis[d].tap + tap[d] * w->axis[d].tap_step;
  const int64_t in = g->in_channels / g->groups, out = g->out_channels / g->groups;
  const int64_t m = op == CK_CONV_DATA ? source : channel;
  const int64_t c = op == CK_CONV_DATA ? channel : source;
  return g->b[((group * out + m) * conv_product(g->kernel) + at) * in + c];
}

/// Channel `channel` of a group, at place j of the walk.
static float gathered(const ck_conv_args *g, ck_conv_op op, const conv_walk *w, int64_t image,
                      const int64_t j[CK_CONV_AXES], int64_t group, int64_t channel) {
  const conv_axis *axis = w->axis;
  const range planes = conv_taps_at(&axis[0], j[0]), rows = conv_taps_at(&axis[1], j[1]);
  const int64_t channels = w->source_channels * g->groups;
  float sum = 0;
  int64_t tap[CK_CONV_AXES];
  for (tap[0] = planes.begin; tap[0] < planes.end; tap[0]++)
    for (tap[1] = rows.begin; tap[1] < rows.end; tap[1]++)
      for (tap[2] = 0; tap[2] < axis[2].taps; tap[2]++) {
        int64_t at[CK_CONV_AXES];
        for (int d = 0; d < CK_CONV_AXES; d++)
          at[d] = j[d] * axis[d].step + axis[d].offset + tap[d] * axis[d].offset_step;
        const bool inside = at[2] >= 0 && at[2] < axis[2].extent;
        const int64_t from =
            ((image * axis[0].extent + at[0]) * axis[1].extent + at[1]) * axis[2].extent + at[2];
        for (int64_t c = 0; c < w->source_channels; c++) {
          const int64_t at_x = from * channels + group * w->source_channels + c;
          const float x = inside ? gemm_ref_load(g->a, g->a_type, at_x) : 0.0f;
          sum = __builtin_fmaf(x, weight_at(g, op, w, group, tap, channel, c), sum);
        }
      }
  return sum;
}

static float finished(const ck_conv_args *g, float x, int64_t at, int64_t channel) {
  if (g->epilogue.bias) x += g->epilogue.bias[channel];
  const int16_t type = (int16_t)g->epilogue.other_type;
  const bool adds = g->epilogue.combination == CK_ADD;
  if (adds) x += gemm_ref_load(g->epilogue.other, type, at);
  if (g->epilogue.combination == CK_GATE)
    x = gemm_ref_load(g->epilogue.other, type, at) > 0 ? x : 0.0f;
  if (adds && g->epilogue.mask) x = gemm_ref_load(g->epilogue.mask, type, at) > 0 ? x : 0.0f;
  return g->epilogue.relu ? (0.0f > x ? 0.0f : x) : x;
}

static void gather(const ck_conv_args *g, ck_conv_op op, const ck_thread *t) {
  const int64_t *extents = op == CK_CONV_DATA ? g->image : g->output;
  const int64_t channels = op == CK_CONV_DATA ? g->in_channels : g->out_channels;
  const ck_gemm_part part = ck_conv_part_of(g, op, t->index, t->count);
  float *line = t->scratch;
  for (int64_t k = 0; k < conv_walks(g, op); k++) {
    const conv_walk w = conv_walk_at(g, op, k);
    for (int64_t place = part.row; place < part.row_end; place++) {
      const int64_t at[CK_CONV_AXES] = {place / extents[2] / extents[1] % extents[0],
                                        place / extents[2] % extents[1], place % extents[2]};
      int64_t j[CK_CONV_AXES];
      bool is_here = true;
      for (int d = 0; d < CK_CONV_AXES; d++) {
        is_here &= at[d] >= w.axis[d].first && (at[d] - w.axis[d].first) % w.axis[d].stride == 0;
        j[d] = (at[d] - w.axis[d].first) / w.axis[d].stride;
      }
      if (!is_here) continue;
      for (int64_t c = 0; c < channels; c++) {
        const float sum =
            gathered(g, op, &w, place / conv_product(extents), j, c / w.channels, c % w.channels);
        const float x = finished(g, sum, place * channels + c, c);
        if (g->epilogue.program) {
          line[c] = x;
        } else {
          gemm_ref_store(g->c, g->c_type, place * channels + c, x);
        }
      }
      if (g->epilogue.program)
        ck_loop_block(CK_ISA_REF)(ck_conv_program(g), line + ceiling(channels, 16) * 16, 0, place,
                                  1, 0, channels, line, channels);
    }
  }
}

void ck_conv_forward_ref(const void *args, const ck_thread *t) { gather(args, CK_CONV_FORWARD, t); }
void ck_conv_data_ref(const void *args, const ck_thread *t) { gather(args, CK_CONV_DATA, t); }

// MARK: The gradient of weights

/// One element's sum over a block of rows; false where the tap meets none of them.
static bool block_sum(const ck_conv_args *g, const conv_walk *w, range block,
                      const int64_t tap[CK_CONV_AXES], int64_t group, int64_t m, int64_t c,
                      float *sum) {
  const conv_axis *axis = w->axis;
  const range planes = conv_places_of(&axis[0], tap[0]), rows = conv_places_of(&axis[1], tap[1]);
  const range columns = conv_places_of(&axis[2], tap[2]);
  const bool joins = conv_joins_taps(g);
  const range read = joins ? (range){0, axis[2].count} : columns;
  bool met = false;
  *sum = 0;
  for (int64_t u = block.begin; u < block.end; u++) {
    const int64_t row = u % g->output[1], plane = u / g->output[1] % g->output[0];
    const int64_t image = u / g->output[1] / g->output[0];
    if (plane < planes.begin || plane >= planes.end || row < rows.begin || row >= rows.end)
      continue;
    met |= length(read) > 0;
    const int64_t d = plane * axis[0].step + axis[0].offset + tap[0] * axis[0].offset_step;
    const int64_t h = row * axis[1].step + axis[1].offset + tap[1] * axis[1].offset_step;
    for (int64_t j = read.begin; j < read.end; j++) {
      const int64_t q = j * axis[2].step + axis[2].offset + tap[2] * axis[2].offset_step;
      const bool inside = j >= columns.begin && j < columns.end;
      const int64_t from = ((image * axis[0].extent + d) * axis[1].extent + h) * axis[2].extent + q;
      const int64_t at_x = from * g->in_channels + group * w->source_channels + c;
      const int64_t at_y = (u * g->output[2] + j) * g->out_channels + group * w->channels + m;
      const float x = inside ? gemm_ref_load(g->a, g->a_type, at_x) : 0.0f;
      const float dy = gemm_ref_load(g->b, g->b_type, at_y);
      *sum = __builtin_fmaf(dy, x, *sum);
    }
  }
  return met;
}

static float weight_sum(const ck_conv_args *g, const conv_walk *w, ck_conv_cut cut, int64_t at) {
  const int64_t in = w->source_channels, c = at % in;
  int64_t tap[CK_CONV_AXES], rest = at / in;
  for (int d = CK_CONV_AXES - 1; d >= 0; d--) {
    tap[d] = rest % g->kernel[d];
    rest /= g->kernel[d];
  }
  float total = 0;
  for (int64_t k = 0; k < cut.groups; k++) {
    const range rows = conv_group(g, cut, k);
    float of_group = 0;
    int64_t block = 0;
    do {
      float sum;
      const bool met = block_sum(g, w, conv_block(rows, cut, block), tap, rest / w->channels,
                                 rest % w->channels, c, &sum);
      if (block == 0) {
        of_group = sum;
      } else if (met) {
        of_group += sum;
      }
    } while (rows.begin + ++block * cut.rows < rows.end);
    total = k == 0 ? of_group : total + of_group;
  }
  return total;
}

void ck_conv_weights_ref(const void *args, const ck_thread *t) {
  const ck_conv_args *g = args;
  const conv_walk w = conv_walk_at(g, CK_CONV_FORWARD, 0);
  const ck_conv_cut cut = ck_conv_groups(g);
  const ck_gemm_part part = ck_conv_part_of(g, CK_CONV_WEIGHTS, t->index, t->count);
  for (int64_t i = part.row; i < part.row_end; i++) g->c[i] = weight_sum(g, &w, cut, i);
}

#include "../core/ck_target_end.h"
