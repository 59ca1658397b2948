// What the files of the convolutions agree on: how an axis is walked, and how work is cut.
#ifndef CONV_INTERNAL_H
#define CONV_INTERNAL_H

#include "../gemm/tile.h"
#include "ck_conv.h"

/// One axis of a convolution as the result's places see it: place j of `count` reads the elements
/// j * step + offset + i * offset_step of the source for i < taps, which lie from 0 to `extent` or
/// are padding, and is element first + j * stride of the result.
///
/// The gradient of data with a stride is a convolution for each phase of the result's elements,
/// which meets some of the taps only.
typedef struct conv_axis {
  int64_t count, extent, step;
  int64_t first, stride;
  int64_t taps;
  int64_t tap, tap_step;        // tap i is tap + i * tap_step of the kernel
  int64_t offset, offset_step;  // > 0: taps come in the order of what they read
} conv_axis;

/// A convolution that gathers: forward, or one phase of the gradient of data.
typedef struct conv_walk {
  conv_axis axis[CK_CONV_AXES];
  int64_t source_channels, channels;  // of a group
  int64_t taps;                       // of all axes
} conv_walk;

/// How many walks a result takes.
int64_t conv_walks(const ck_conv_args *g, ck_conv_op op);
conv_walk conv_walk_at(const ck_conv_args *g, ck_conv_op op, int64_t index);

/// The taps of an axis that lie within the source at place j.
range conv_taps_at(const conv_axis *axis, int64_t j);
/// The places of an axis at which tap i lies within the source.
range conv_places_of(const conv_axis *axis, int64_t i);

/// The elements of the source that places of an axis read, from the first to behind the last.
static inline range conv_source_of(const conv_axis *axis, range places) {
  const int64_t end =
      (places.end - 1) * axis->step + axis->offset + (axis->taps - 1) * axis->offset_step + 1;
  return (range){greatest(places.begin * axis->step + axis->offset, 0), least(end, axis->extent)};
}

static inline int64_t conv_product(const int64_t *extents) {
  return extents[0] * extents[1] * extents[2];
}

/// Rows of the output through all images.
static inline int64_t conv_rows(const ck_conv_args *g) {
  return g->images * g->output[0] * g->output[1];
}

/// Whether the gradient of weights takes the taps of one row of the kernel at once, out of a padded
/// copy of the image's row. A function of the shape alone: it decides whether padding is added.
bool conv_joins_taps(const ck_conv_args *g);

/// Whether it sums the transposed gradient, [taps and channels of the image][channels of the
/// output]: of so few channels the joined taps fill a tile's rows, but not its columns. A function
/// of the shape.
bool conv_turns_weights(const ck_conv_args *g);

/// The rows of a block of a group of rows of the output.
range conv_group(const ck_conv_args *g, ck_conv_cut cut, int64_t group);
static inline range conv_block(range group, ck_conv_cut cut, int64_t block) {
  const int64_t begin = group.begin + block * cut.rows;
  return (range){begin, least(begin + cut.rows, group.end)};
}

/// The most rows of a tile of so many columns.
static inline int64_t conv_tile_rows(const gemm_level *level, int64_t columns) {
  return columns <= level->vector ? level->narrow_rows : level->max_rows;
}

// MARK: The drivers

void conv_gather_run(const ck_conv_args *g, ck_conv_op op, const ck_thread *t,
                     const gemm_level *level);
size_t conv_gather_scratch_bytes(const ck_conv_args *g, ck_conv_op op, const gemm_level *level);
size_t conv_gather_workspace_bytes(const ck_conv_args *g, ck_conv_op op, const gemm_level *level);

void conv_weights_run(const ck_conv_args *g, const ck_thread *t, const gemm_level *level);
size_t conv_weights_scratch_bytes(const ck_conv_args *g, const gemm_level *level);
size_t conv_weights_workspace_bytes(const ck_conv_args *g);

// The entries of the list.
#define CK_CONV(isa, op, name, consistent) void name(const void *args, const ck_thread *t);
#include "conv_kernels.inc"
#undef CK_CONV

#endif
