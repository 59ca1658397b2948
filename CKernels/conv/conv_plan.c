// The arithmetic of convolutions' shapes: axes, phases, taps that meet the image, cuts.
#include "conv_internal.h"

// MARK: Axes and phases

static int64_t common_divisor(int64_t a, int64_t b) { return b ? common_divisor(b, a % b) : a; }

static int64_t floor_division(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static int64_t modulo(int64_t a, int64_t b) { return a - floor_division(a, b) * b; }

static conv_axis forward_axis(const ck_conv_args *g, int d) {
  return (conv_axis){
      .count = g->output[d],
      .extent = g->image[d],
      .step = g->stride[d],
      .stride = 1,
      .taps = g->kernel[d],
      .tap_step = 1,
      .offset = -g->before[d],
      .offset_step = g->dilation[d],
  };
}

/// The elements `phase`, `phase` + stride … of the image. Element i meets tap t where i + before -
/// t * dilation is a multiple of the stride, so the taps that the phase meets are a stride over the
/// common divisor of stride and dilation apart.
static conv_axis data_axis(const ck_conv_args *g, int d, int64_t phase) {
  const int64_t stride = g->stride[d], dilation = g->dilation[d];
  const int64_t divisor = common_divisor(stride, dilation), apart = stride / divisor;
  conv_axis axis = {
      .count = greatest(0, ceiling(g->image[d] - phase, stride)),
      .extent = g->output[d],
      .step = 1,
      .first = phase,
      .stride = stride,
      .offset_step = dilation / divisor,
  };
  int64_t tap = 0;
  const int64_t most = least(apart, g->kernel[d]);
  while (tap < most && modulo(phase + g->before[d] - tap * dilation, stride) != 0) tap++;
  if (tap == most) return axis;
  axis.taps = ceiling(g->kernel[d] - tap, apart);
  // Later taps read earlier elements: the last comes first.
  axis.tap = tap + (axis.taps - 1) * apart;
  axis.tap_step = -apart;
  axis.offset = (phase + g->before[d] - axis.tap * dilation) / stride;
  return axis;
}

/// Phases beyond the image have no elements.
static int64_t phases(const ck_conv_args *g, int d) { return least(g->stride[d], g->image[d]); }

int64_t conv_walks(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? phases(g, 0) * phases(g, 1) * phases(g, 2) : 1;
}

conv_walk conv_walk_at(const ck_conv_args *g, ck_conv_op op, int64_t index) {
  conv_walk walk = {
      .source_channels = g->in_channels / g->groups,
      .channels = g->out_channels / g->groups,
      .taps = 1,
  };
  if (op == CK_CONV_DATA) {
    walk.source_channels = g->out_channels / g->groups;
    walk.channels = g->in_channels / g->groups;
  }
  for (int d = CK_CONV_AXES - 1; d >= 0; d--) {
    if (op == CK_CONV_DATA) {
      walk.axis[d] = data_axis(g, d, index % phases(g, d));
      index /= phases(g, d);
    } else {
      walk.axis[d] = forward_axis(g, d);
    }
    walk.taps *= walk.axis[d].taps;
  }
  return walk;
}

int64_t conv_kernel_tap(const ck_conv_args *g, const conv_walk *w, int64_t i) {
  int64_t tap = 0, size = 1;
  for (int d = CK_CONV_AXES - 1; d >= 0; d--) {
    const conv_axis *axis = &w->axis[d];
    tap += (axis->tap + i % axis->taps * axis->tap_step) * size;
    i /= axis->taps;
    size *= g->kernel[d];
  }
  return tap;
}

range conv_taps_at(const conv_axis *axis, int64_t j) {
  const int64_t start = j * axis->step + axis->offset, step = axis->offset_step;
  const int64_t begin = start >= 0 ? 0 : ceiling(-start, step);
  const int64_t end = start >= axis->extent ? 0 : ceiling(axis->extent - start, step);
  const int64_t last = least(end, axis->taps);
  return (range){least(begin, last), last};
}

range conv_places_of(const conv_axis *axis, int64_t i) {
  const int64_t offset = axis->offset + i * axis->offset_step;
  const int64_t begin = offset >= 0 ? 0 : ceiling(-offset, axis->step);
  const int64_t end = offset >= axis->extent ? 0 : ceiling(axis->extent - offset, axis->step);
  const int64_t last = least(end, axis->count);
  return (range){least(begin, last), last};
}

// MARK: Cuts

enum {
  BLOCK_PLACES = 384,      // of the output, in a block of the sums of weights
  MOST_GROUPS = 16,        // of blocks, whose sums lie apart until the end
  GROUP_FLOATS = 1 << 20,  // of all of them
  WHOLE_VECTORS = 16,      // of any level
  JOINED_CHANNELS = 32     // fewer fill a tile's columns only with the taps beside them
};

bool conv_joins_taps(const ck_conv_args *g) {
  return g->groups == 1 && g->dilation[2] == 1 && g->kernel[2] > 1 &&
         g->in_channels < JOINED_CHANNELS;
}

bool conv_turns_weights(const ck_conv_args *g) {
  return conv_joins_taps(g) && g->kernel[2] * g->in_channels < JOINED_CHANNELS &&
         g->out_channels % WHOLE_VECTORS == 0;
}

ck_conv_cut ck_conv_groups(const ck_conv_args *g) {
  const int64_t rows = conv_rows(g), places = greatest(g->output[2], 1);
  const int64_t elements =
      greatest(g->out_channels * conv_product(g->kernel) * (g->in_channels / g->groups), 1);
  ck_conv_cut cut = {.rows = greatest(BLOCK_PLACES / places, 1)};
  const int64_t blocks = greatest(ceiling(rows, cut.rows), 1);
  cut.groups = greatest(least(least(GROUP_FLOATS / elements, MOST_GROUPS), blocks), 1);
  return cut;
}

range conv_group(const ck_conv_args *g, ck_conv_cut cut, int64_t group) {
  const int64_t rows = g->output[0] * g->output[1];
  // Whole images where there are enough of them.
  if (g->images >= cut.groups) {
    const range images = block_of((range){0, g->images}, cut.groups, group);
    return (range){images.begin * rows, images.end * rows};
  }
  return block_of((range){0, g->images * rows}, cut.groups, group);
}

// MARK: The team

/// Whole images, unless that leaves threads without work: layer after layer goes on with the same
/// ones, which needs no barrier.
static bool shares_images(int64_t images, int32_t count) {
  const int64_t most = ceiling(images, count);
  return most * count * 10 <= images * 11;
}

ck_gemm_part ck_conv_part_of(const ck_conv_args *g, ck_conv_op op, int32_t index, int32_t count) {
  const ck_thread t = {.index = index, .count = count};
  ck_gemm_part part = {0};
  if (op == CK_CONV_WEIGHTS) {
    part.column_end = 1;
    ck_share(g->out_channels * conv_product(g->kernel) * (g->in_channels / g->groups), &t,
             &part.row, &part.row_end);
    return part;
  }
  const int64_t *extents = op == CK_CONV_DATA ? g->image : g->output;
  const int64_t places = conv_product(extents);
  part.column_end = op == CK_CONV_DATA ? g->in_channels : g->out_channels;
  if (shares_images(g->images, count)) {
    ck_share(g->images, &t, &part.row, &part.row_end);
    part.row *= places;
    part.row_end *= places;
  } else {
    ck_share(g->images * extents[0] * extents[1], &t, &part.row, &part.row_end);
    part.row *= extents[2];
    part.row_end *= extents[2];
  }
  return part;
}

bool ck_conv_takes_program(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_FORWARD || (op == CK_CONV_DATA && conv_product(g->stride) == 1);
}

double ck_conv_products(const ck_conv_args *g) {
  return (double)(g->images * conv_product(g->output)) * (double)conv_product(g->kernel) *
         (double)(g->in_channels / g->groups) * (double)g->out_channels;
}
