// Depthwise convolutions: what their driver and their kernels, one set for each level, agree on.
//
// Each channel of the result is a sum over taps of the same channel of the source, so lanes are
// channels: nothing is broadcast, and no operand is used by more than a window of places.
#ifndef CONV_DEPTH_H
#define CONV_DEPTH_H

#include "conv_internal.h"

enum {
  DEPTH_PLACES = 8,  // of a row of the result, made together
  DEPTH_ROWS = 5,    // of a window, summed together into the gradient of weights
  DEPTH_TAPS = 7     // of such a row
};

/// Neighbouring places of some rows of the result, and some of their channels.
typedef struct depth_tile {
  int64_t lines;          // rows of the result
  const int64_t *counts;  // [lines]: rows of the window that lie within the image
  int64_t most;           // of them
  // [lines][most]: for a row of the window, the weights of its first tap and its source.
  //
  // Where the tile `is_known`, that is the row of the source: the places read E elements one after
  // the other from `column` on, of which [inside.begin, inside.end) lie within the image and the
  // others are 0, at most K / 2 at either end. Else it is a list [tap][place] of elements.
  const float *const *weights;
  const void *const *sources;
  int64_t column, pixel;  // floats: from the row to the first element, from element to element
  range inside;
  int64_t taps;
  int64_t tap_step;  // floats from the weights of one tap to those of the next
  int64_t step;      // elements from place to place
  int64_t channel, channel_end;
  int64_t ahead;  // floats from the last rows' elements to what is read soon, where `is_known`

  // Where lines go in `pairs`, row i of a window of so many is the next line's row i - 1: row i of
  // line l is image + (top + l + i) * image_row, and lies within the image where 0 <= top + l + i <
  // image_rows.
  int64_t pairs;  // rows of the window, or 0
  const float *image, *window;
  int64_t top, image_rows, image_row, window_row;
  float *c;
  int64_t c_row, c_line;  // from place to place, from line to line
  // Not 0: of three taps each element makes two results, the second so many floats beside the
  // first. `weights`, `taps`, `tap_step` and what is read are the second's: taps 2 and 0.
  int64_t beside;
  const float *bias;          // or NULL
  const float *other, *mask;  // lie as c does; `mask` may be NULL
  int32_t combination, relu;
  int32_t places, is_known;
  int32_t streams;  // 1: c is 64-byte aligned, and nobody reads it soon
} depth_tile;

/// The sums of some weights over lines, rows of the output one after the other: `rows` rows of the
/// window by `taps` taps of each.
typedef struct depth_sums {
  int64_t lines;
  const float *x;              // the images
  const int64_t *at;           // [lines]: of the window's first tap at place 0, may lie outside
  const uint64_t *line_masks;  // [lines]: of the window's rows that meet the image
  int64_t first_row;           // of the window, the bit of the first one
  int64_t offset[DEPTH_ROWS];  // floats from the window's first tap to a row's
  int64_t step, tap_step;      // from place to place and from tap to tap
  const float *dy;             // place 0 of the first line
  int64_t dy_step, channels;
  int64_t x_line, dy_line;  // from line to line, in one image
  range some, all;          // places that any tap meets; that all meet, within `some`
  const uint8_t *masks;     // of the taps that a place meets
  float *sums;              // [row][tap][channel]
  int64_t sum_step;         // from tap to tap; rows lie `sum_row` apart
  int64_t sum_row;
  int32_t rows, taps;
  int32_t is_last;  // 1: of the window's rows; the next line's is read soon
  int64_t beside;   // floats to a second element that is, or 0

  // Where the window `slides`: three rows of three neighbouring taps, one or two elements from
  // place to place.
  int32_t slides;
  int64_t places;
  range fast;                 // iterations at which all taps meet the image
  const uint8_t *slide_taps;  // [iterations]: those that do
  int64_t near_lines;         // so many are read before what is fetched now
} depth_sums;

/// A level's kernels.
typedef struct depth_level {
  ck_isa isa;
  void (*tile)(const depth_tile *);
  void (*sums)(const depth_sums *);
  /// [count] in whole vectors of 16: to += from.
  void (*add)(float *to, const float *from, int64_t count);
  /// to[tap][i] for i < 16: the sum of from[k * group + tap * row + i] in the order of k < groups.
  void (*total)(float to[4][16], const float *from, int64_t groups, int64_t group, int64_t taps,
                int64_t row);
  int8_t rows_together[DEPTH_TAPS + 1];  // that `sums` takes, by their taps
} depth_level;

#if defined(__x86_64__)
extern const depth_level depth_avx2, depth_avx512;
#endif

/// Whether there is a kernel for rows of so many neighbouring taps, which reads an element once for
/// all places, if few of them lie outside.
static inline bool depth_is_known(int64_t taps, int64_t step, int64_t tap_step) {
  if (taps > 1 && tap_step != 1) return false;
  if (step == 2) return taps == 3 || taps == 5 || taps == 7;
  return step == 1 && taps >= 1 && taps <= 7 && taps != 6;
}

/// How many places of `count` that are left a tile takes: there are kernels of 8, 7, 4, 2 and 1.
static inline int64_t depth_places(int64_t count) {
  if (count % 7 == 0 && count % 8 != 0) return 7;
  return count >= 8 ? 8 : count >= 4 ? 4 : count >= 2 ? 2 : 1;
}

/// [4][4] turned.
static inline void depth_turn(const float *from, int64_t from_row, float *to, int64_t to_row) {
  typedef float four __attribute__((ext_vector_type(4), aligned(4)));
  const four a = *(const four *)from, b = *(const four *)(from + from_row);
  const four c = *(const four *)(from + 2 * from_row), d = *(const four *)(from + 3 * from_row);
  const four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *(four *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *(four *)(to + to_row) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  *(four *)(to + 2 * to_row) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  *(four *)(to + 3 * to_row) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

/// Whether a shape is convolved here.
bool conv_is_depthwise(const ck_conv_args *g);

void conv_depth_run(const ck_conv_args *g, ck_conv_op op, const ck_thread *t,
                    const depth_level *level);
size_t conv_depth_scratch_bytes(const ck_conv_args *g, ck_conv_op op);
size_t conv_depth_workspace_bytes(const ck_conv_args *g);

void conv_depth_weights_run(const ck_conv_args *g, const ck_thread *t, const depth_level *level);
size_t conv_depth_weights_scratch_bytes(const ck_conv_args *g);
size_t conv_depth_weights_workspace_bytes(const ck_conv_args *g);

/// Channels in whole vectors of any level.
static inline int64_t depth_padded(const ck_conv_args *g) {
  return ceiling(g->in_channels, 16) * 16;
}

#endif
