// What the files of the convolutions agree on: how an axis is walked, and how work is cut.
#ifndef CONV_INTERNAL_H
#define CONV_INTERNAL_H

#include "../gemm/gemm_narrow.h"
#include "ck_conv.h"

/// How a level computes a convolution: by f32 elements, or by pairs of bf16. Nothing for the
/// reference.
typedef struct conv_way {
  const gemm_level *level;    // tile and sizes
  const gemm_narrow *narrow;  // of pairs, or NULL
} conv_way;

/// The words that so many neighbouring elements are multiplied in.
static inline int64_t conv_words(conv_way way, int64_t elements) {
  return way.narrow ? ceiling(elements, 2) : elements;
}

static inline int64_t conv_type_bytes(int32_t type) { return type == CK_F32 ? 4 : 2; }

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

/// Tap i of a walk in the kernel's own order.
int64_t conv_kernel_tap(const ck_conv_args *g, const conv_walk *w, int64_t i);

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

/// Whether any tap at any place reads element h, of those that a stride beyond the taps steps over.
static inline bool conv_reads(const conv_axis *axis, int64_t h) {
  if (axis->offset_step * axis->taps >= axis->step && axis->offset_step == 1) return true;
  for (int64_t i = 0; i < axis->taps; i++)
    if ((h - axis->offset - i * axis->offset_step) % axis->step == 0) return true;
  return false;
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

/// Memory that is needed next, brought near a line at a time by the steps of tiles: what a thread
/// copies or reads for the first time else waits for memory, and so does a thread that asks for
/// more lines at once than can be on their way.
typedef struct conv_near {
  const char *at, *end;
  int64_t burst;  // bytes, whole lines: what tiles have too few steps for, at each of them
} conv_near;

enum { CONV_LINE = 64 };

/// The burst with which so many tiles of so many steps bring so many bytes near.
static inline int64_t conv_burst(int64_t bytes, int64_t tiles, int64_t steps) {
  const int64_t rest = greatest(bytes - tiles * steps * CONV_LINE, 0);
  return ceiling(rest, greatest(tiles, 1) * CONV_LINE) * CONV_LINE;
}

/// So many bytes from there on, in so many tiles of so many steps.
static inline conv_near conv_near_of(const void *at, int64_t bytes, int64_t tiles, int64_t steps) {
  return (conv_near){at, (const char *)at + bytes, conv_burst(bytes, tiles, steps)};
}

/// Lets a tile bring near what is next. True where something was left.
static inline bool conv_bring_near(conv_near *near, gemm_tile *tile) {
  tile->near = NULL;
  if (near->at >= near->end) return false;
  for (int64_t i = 0; i < near->burst; i += CONV_LINE) __builtin_prefetch(near->at + i, 0, 2);
  near->at += near->burst;
  tile->near = near->at;
  tile->near_step = CONV_LINE;
  near->at += tile->K * (tile->segments ? tile->segment_count : 1) * CONV_LINE;
  return true;
}

/// Before another thread reads what was written past the cache.
static inline void conv_stream_end(void) {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#endif
}

/// Of the weights' gradient.
static inline int64_t conv_weight_elements(const ck_conv_args *g) {
  return g->out_channels * conv_product(g->kernel) * (g->in_channels / g->groups);
}

/// What the block of rows of the output after this one reads, of the images and of the output's
/// gradient: it reads on where this one ends, as much again. In so many tiles of so many steps.
static inline void conv_weights_look_ahead(const ck_conv_args *g, range block, int64_t tiles,
                                           int64_t steps, conv_near near[2]) {
  const int64_t image = conv_product(g->image) * g->in_channels * conv_type_bytes(g->a_type);
  const int64_t row = g->output[2] * g->out_channels * conv_type_bytes(g->b_type);
  const int64_t rows = greatest(g->output[0] * g->output[1], 1);
  const int64_t end = block.end / rows * image + block.end % rows * image / rows;
  // Rows that are stepped over are not.
  const bool reads_all = (g->kernel[1] - 1) * g->dilation[1] + 1 >= g->stride[1];
  const int64_t bytes = reads_all ? length(block) * image / rows : 0, more = length(block) * row;
  const int64_t burst = conv_burst(bytes + more, tiles, steps);
  const char *a = (const char *)g->a + end, *b = (const char *)g->b + block.end * row;
  near[0] = (conv_near){a, a + bytes, burst};
  near[1] = (conv_near){b, b + more, burst};
}

// MARK: The drivers

void conv_gather_run(const ck_conv_args *g, ck_conv_op op, const ck_thread *t, conv_way way);
size_t conv_gather_scratch_bytes(const ck_conv_args *g, ck_conv_op op, conv_way way);
size_t conv_gather_workspace_bytes(const ck_conv_args *g, ck_conv_op op, conv_way way);

/// Of few channels of the result: forward and data, of f32.
bool conv_few_takes(const ck_conv_args *g, ck_conv_op op, conv_way way);
void conv_few_run(const ck_conv_args *g, ck_conv_op op, const ck_thread *t,
                  const gemm_level *level);
size_t conv_few_scratch_bytes(const ck_conv_args *g, ck_conv_op op);
size_t conv_few_workspace_bytes(const ck_conv_args *g);

void conv_weights_run(const ck_conv_args *g, const ck_thread *t, const gemm_level *level);
size_t conv_weights_scratch_bytes(const ck_conv_args *g, const gemm_level *level);
size_t conv_weights_workspace_bytes(const ck_conv_args *g);
/// Adds up the groups' sums of the elements that are this thread's.
void conv_weights_add_groups(const ck_conv_args *g, const ck_thread *t, bool turned);

/// The same of pairs; sums of groups in the order of the result.
void conv_pair_weights_run(const ck_conv_args *g, const ck_thread *t, const gemm_narrow *narrow);
size_t conv_pair_weights_scratch_bytes(const ck_conv_args *g, const gemm_narrow *narrow);
size_t conv_pair_weights_workspace_bytes(const ck_conv_args *g);

// The entries of the list.
#define CK_CONV(isa, op, name, consistent) void name(const void *args, const ck_thread *t);
#include "conv_kernels.inc"
#undef CK_CONV

#endif
