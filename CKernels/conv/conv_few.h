// Convolutions whose result has few channels: what their driver and their tile, one for each level,
// agree on.
//
// Eight channels or fewer leave most lanes of a vector of channels empty. So lanes are places of
// the result, and a tile's rows its channels.
#ifndef CONV_FEW_H
#define CONV_FEW_H

#include "conv_internal.h"

enum {
  FEW_CHANNELS = 8,  // of the result
  FEW_STRIDE = 8,    // phases of an axis
  FEW_VECTORS = 8    // of places that a tile takes at a time, at most
};

/// Sums c[i][place] = Σ over segments and p < K: a[segment][p][i] · b[segment][p][place], in this
/// order from 0, of i < rows.
typedef struct few_tile {
  const float *a;  // a[segment.a + p * rows + i]
  const float *b;  // b[segment.b + p * b_row + place]
  int64_t b_row, K;
  const gemm_segment *segments;
  int64_t segment_count;
  float *c;  // c[i * c_row + place]
  int64_t c_row;
  int64_t vectors;  // of places: as many are read and written
  int32_t rows;     // at most FEW_CHANNELS
} few_tile;

/// A level.
typedef struct few_level {
  void (*tile)(const few_tile *);
  /// to[m * pitch + i] = from[i * depth + m] of i < places, m < depth, which is at least 8.
  void (*turn)(float *to, int64_t pitch, int64_t places, int64_t depth, const float *from);
  /// As `gemm_level` has it.
  void (*pack)(float *panel, int64_t stride, int64_t width, int64_t K, const float *source,
               int64_t across, int64_t along);
} few_level;

#if defined(__x86_64__)
extern const few_level few_avx2, few_avx512;
#endif

#endif
