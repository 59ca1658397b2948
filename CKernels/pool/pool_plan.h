// Where a window lies along an axis, and which places of it an element lies in: integers, the same
// at every level.
#ifndef CK_POOL_PLAN_H
#define CK_POOL_PLAN_H

#include "ck_pool.h"

/// Place o of a window: step t is at `start + t dilation`, and within the image for t in [first,
/// end).
typedef struct pool_span {
  int64_t start, first, end;
} pool_span;

static inline int64_t pool_start(const ck_pool_axis *a, bool adaptive, int64_t o) {
  return adaptive ? o * a->image / a->outputs : o * a->stride - a->before;
}

static inline pool_span pool_span_of(const ck_pool_axis *a, bool adaptive, int64_t o) {
  const int64_t start = pool_start(a, adaptive, o), d = a->dilation;
  if (adaptive) {
    const int64_t end = ((o + 1) * a->image + a->outputs - 1) / a->outputs;
    return (pool_span){start, 0, end - start};
  }
  pool_span span = {start, 0, a->size};
  if (start < 0) span.first = (-start + d - 1) / d;
  if (start + (a->size - 1) * d >= a->image) {
    span.end = start >= a->image ? 0 : (a->image - start + d - 1) / d;
  }
  if (span.first > span.end) span.first = span.end;
  return span;
}

static inline bool pool_is_whole(const ck_pool_axis *a, pool_span span) {
  return span.first == 0 && span.end == a->size;
}

/// The steps of place o that an average counts.
static inline int64_t pool_count(const ck_pool_axis *a, bool adaptive, bool counts_padding,
                                 int64_t o) {
  const pool_span span = pool_span_of(a, adaptive, o);
  if (adaptive || !counts_padding) return span.end - span.first;
  const int64_t room = a->image + a->after - span.start;
  const int64_t count = (room + a->dilation - 1) / a->dilation;
  return count < a->size ? count : a->size;
}

/// Whether all places are divided by the same number, which is then put into `divisor`.
static inline bool pool_has_one_divisor(const ck_pool_args *a, float *divisor) {
  *divisor = a->divisor;
  if (a->divisor > 0) return true;
  if (a->is_adaptive) return false;
  int64_t count = 1;
  for (int i = 0; i < 3; ++i) {
    const ck_pool_axis *axis = &a->axes[i];
    // Between the first place and the last no window has less of the image than they.
    if (pool_count(axis, false, a->counts_padding, 0) != axis->size ||
        pool_count(axis, false, a->counts_padding, axis->outputs - 1) != axis->size) {
      return false;
    }
    count *= axis->size;
  }
  *divisor = (float)count;
  return true;
}

/// The divisor of a place of which so many steps count; 1 where none does.
static inline float pool_divisor(int64_t count) { return count > 0 ? (float)count : 1; }

/// The places whose window holds an element along an axis: `first + i step` for i below `count`.
/// The element is step `tap - i tap_step` of them, but where the window is adaptive.
typedef struct pool_cover {
  int64_t first, count, step, tap, tap_step;
} pool_cover;

static inline pool_cover pool_cover_of(const ck_pool_axis *a, bool adaptive, int64_t element) {
  pool_cover cover = {0, 0, 1, 0, 0};
  if (adaptive) {
    cover.first = element * a->outputs / a->image;
    cover.count = ((element + 1) * a->outputs - 1) / a->image - cover.first + 1;
    return cover;
  }
  const int64_t at = element + a->before, s = a->stride, d = a->dilation;
  const int64_t reach = (a->size - 1) * d;
  int64_t first = at <= reach ? 0 : (at - reach + s - 1) / s;
  const int64_t last = at / s < a->outputs ? at / s : a->outputs - 1;
  if (d > 1) {
    // Every step-th place has a step at the element, or none has.
    int64_t x = s, y = d;
    while (y != 0) {
      const int64_t rest = x % y;
      x = y;
      y = rest;
    }
    cover.step = d / x;
    const int64_t stop = first + cover.step;
    while (first < stop && (at - first * s) % d != 0) ++first;
    if (first == stop) return cover;
  }
  if (first > last) return cover;
  cover.first = first;
  cover.count = (last - first) / cover.step + 1;
  cover.tap = (at - first * s) / d;
  cover.tap_step = s * cover.step / d;
  return cover;
}

#endif
