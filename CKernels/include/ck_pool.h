// Pooling over the spatial axes of `[n, d, h, w, c]`: the greatest or the mean element of each
// place of a window, for each channel by itself, and the gradients of both.
//
// One spatial axis is a height and a depth of 1, two are a depth of 1. Not here: pooling over a
// whole image, whose mean is a reduction (ck_loop.h).
#ifndef CK_POOL_H
#define CK_POOL_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/// With x `[n, image…, c]`, y `[n, outputs…, c]`, and for place o of the window the steps t that
/// meet the image at e(o, t), counted in row-major order over the window's axes:
typedef enum ck_pool_op {
  // y = max_t x[e(o, t)], and index = the first t that has it. A NaN is greater than all numbers.
  // -Inf and 0 where no step meets the image.
  CK_POOL_MAX = 0,
  // x = Σ_o y[o] over the places whose index is the step that meets the element.
  CK_POOL_MAX_GRADIENT = 1,
  // y = x[e(o, index)]; 0 where that step does not meet the image, or is none.
  CK_POOL_MAX_TAKE = 2,
  // y = Σ_t x[e(o, t)] / divisor(o)
  CK_POOL_AVERAGE = 3,
  // x = Σ_o y[o] / divisor(o) over the places whose window holds the element.
  CK_POOL_AVERAGE_GRADIENT = 4,
} ck_pool_op;

/// A window along one spatial axis: place o starts at `o stride - before`, and its steps are
/// `dilation` apart. All numbers are below 2^30.
typedef struct ck_pool_axis {
  int64_t image;    // elements of x along the axis, at least 1
  int64_t outputs;  // elements of y
  int64_t size;     // steps of the window; the most of any place where it is adaptive
  int64_t stride;
  int64_t dilation;
  int64_t before;  // padding
  int64_t after;
} ck_pool_axis;

/// What is read is dense, and so is what is written. Arithmetic is f32: bf16 is widened on loading
/// and rounded, to nearest even, on storing. Sums have a fixed order.
typedef struct ck_pool_args {
  void *out;       // y, or x for a gradient; out_dtype
  const void *in;  // x, or y for a gradient; in_dtype
  void *indices;   // as y; written by MAX, read by MAX_GRADIENT and MAX_TAKE
  int64_t n;
  int64_t c;
  ck_pool_axis axes[3];  // d, h, w
  int32_t out_dtype;     // CK_F32 or CK_BF16
  int32_t in_dtype;
  int32_t index_dtype;  // CK_U8 or CK_I32
  // Whether place o is [floor(o image / outputs), ceil((o + 1) image / outputs)) instead;
  // dilation 1.
  int32_t is_adaptive;
  // What averages are divided by; 0 for the window's steps within the image, or, with
  // `counts_padding`, within the padded image.
  float divisor;
  int32_t counts_padding;
} ck_pool_args;

/// The entry point of `op` at `isa`. Forward passes are shared out by rows `[w, c]` of y, gradients
/// by rows of x.
ck_kernel ck_pool(ck_pool_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_pool_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
