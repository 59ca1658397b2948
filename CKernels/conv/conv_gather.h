// What a convolution that gathers needs to know of its shape, and its packed weights:
// conv_gather_plan.c. Everything is counted in words: an element of f32, or a pair of neighbouring
// channels in bf16.
#ifndef CONV_GATHER_H
#define CONV_GATHER_H

#include "conv_internal.h"

enum { GATHER_PIECES = 32 };  // of a block, at most

/// What a walk needs, a function of the shape alone.
typedef struct gather_plan {
  conv_walk walk;
  int64_t padded;      // channels of a group, in whole vectors
  bool joins;          // the taps along the last axis are one run of the source
  bool copies;         // the source goes through scratch
  int64_t columns[2];  // of the source that a row reads, from … to
  int64_t pixel;       // words from one element of a row to the next
  int64_t row;         // from row to row
  int64_t block_rows;  // of the result
  int64_t source;      // words of a block's copy
  int64_t depth;       // of a group's channels of the source at one tap
  int64_t run;         // words of a segment
  int64_t most_segments;
} gather_plan;

static inline int64_t gather_source_channels(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? g->out_channels : g->in_channels;
}

static inline int64_t gather_result_channels(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? g->in_channels : g->out_channels;
}

static inline const int64_t *gather_result_extents(const ck_conv_args *g, ck_conv_op op) {
  return op == CK_CONV_DATA ? g->image : g->output;
}

/// Whether pairs do not lie in memory as they are multiplied.
static inline bool gather_converts(const ck_conv_args *g, ck_conv_op op, conv_way way) {
  return way.narrow && (g->a_type != CK_BF16 || gather_source_channels(g, op) % 2 != 0);
}

gather_plan gather_plan_of(const ck_conv_args *g, ck_conv_op op, int64_t index, conv_way way);

/// Of a walk's weights of one group.
static inline int64_t gather_packed_floats(const gather_plan *p) {
  return p->walk.taps * p->depth * p->padded;
}

/// This thread's panels of the weights of all walks.
void gather_pack_weights(const ck_conv_args *g, ck_conv_op op, const ck_thread *t, conv_way way);

#endif
