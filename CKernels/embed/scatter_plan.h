// How a scatter-add is cut, shared by its element types.
//
// Every element of the result adds its updates in rising order of k, so any cut gives the same bits
// and this one may depend on the number of threads: along `outer` where that is long, else along
// `inner` in whole cache lines, else along the axis, each thread reading all indices and keeping
// those of its range (indices are few bytes; updates are many).
#ifndef CK_EMBED_SCATTER_PLAN_H
#define CK_EMBED_SCATTER_PLAN_H

#include <string.h>

#include "../core/index.h"
#include "ck_gather.h"

/// The box of the result that one thread owns.
typedef struct scatter_box {
  int64_t o0, o1;  // outer
  int64_t d0, d1;  // axis
  int64_t i0, i1;  // inner
} scatter_box;

static inline scatter_box scatter_share(const ck_scatter_args *a, const ck_thread *t) {
  scatter_box box = {0, a->outer, 0, a->axis, 0, a->inner};
  const int64_t line = 16, lines = (a->inner + line - 1) / line;
  if (a->outer >= 2 * t->count) {
    ck_share(a->outer, t, &box.o0, &box.o1);
  } else if (lines >= 2 * t->count) {
    ck_share(lines, t, &box.i0, &box.i1);
    box.i0 *= line;
    box.i1 = box.i1 * line < a->inner ? box.i1 * line : a->inner;
  } else {
    ck_share(a->axis, t, &box.d0, &box.d1);
  }
  return box;
}

/// The row that update k of `o` goes to, or -1 where it is not this box's. Bad ones are noted.
static inline int64_t scatter_row(const ck_scatter_args *a, const scatter_box *box, int64_t o,
                                  int64_t k, int64_t i) {
  const int64_t at = o * a->index_outer + k * a->index_count + i * a->index_inner;
  const int64_t row = index_at(a->indices, a->index_dtype, at);
  if (row < 0 || row >= a->axis) {
    note_bad_index(a->error, at, row);
    return -1;
  }
  return row >= box->d0 && row < box->d1 ? row : -1;
}

/// Updates that are added up by themselves before they go to the result, so that a row which many
/// meet does not get stuck: 1024, or as many for each row of the table that starting anew and
/// adding up cost little beside them. A result that takes no more than that at once needs nothing
/// of it.
static inline int64_t scatter_block(const ck_scatter_args *a) {
  const int64_t most = a->axis > 1 << 22 ? a->axis : 1 << 22;
  const int64_t block = a->axis < most / 64 ? a->axis * 64 : most;
  return block < 1024 ? 1024 : block;
}
static inline bool scatter_has_blocks(const ck_scatter_args *a) {
  return a->count > scatter_block(a) && a->outer * a->axis * a->inner > 0;
}

/// dst = base, or zeros, in the box.
static inline void scatter_start(const ck_scatter_args *a, const scatter_box *box, size_t size) {
  if (a->base == a->dst) return;
  const bool whole = box->i0 == 0 && box->i1 == a->inner;
  for (int64_t o = box->o0; o < box->o1; ++o) {
    const int64_t rows = whole ? 1 : box->d1 - box->d0;
    const int64_t width = whole ? (box->d1 - box->d0) * a->inner : box->i1 - box->i0;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = (o * a->axis + box->d0 + r) * a->inner + box->i0;
      char *dst = (char *)a->dst + (size_t)at * size;
      if (a->base == NULL) {
        memset(dst, 0, (size_t)width * size);
      } else {
        memcpy(dst, (const char *)a->base + (size_t)at * size, (size_t)width * size);
      }
    }
  }
}

#endif
