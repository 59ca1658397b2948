// Convolutions over images of one to three spatial axes, channels last, and their two gradients,
// with float32 sums and an epilogue.
//
// Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures"
// (2018) and "Harnessing Deep Learning via a Single Building Block" (2020): batch-reduced products
// over taps, without an array of unfolded images.
#ifndef CK_CONV_H
#define CK_CONV_H

#include "ck_base.h"
#include "ck_entry.h"
#include "ck_gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CK_CONV_AXES 3

typedef enum ck_conv_op {
  CK_CONV_FORWARD = 0,  // c = y [images, output, out_channels] from a = x, b = w
  CK_CONV_DATA = 1,  // c = x's gradient [images, image, in_channels] from a = y's gradient, b = w
  CK_CONV_WEIGHTS = 2,  // c = w's gradient from a = x, b = y's gradient
  CK_CONV_OP_COUNT = 3,
} ck_conv_op;

/// With x [images, image…, in_channels] and w [out_channels, kernel…, in_channels / groups]:
///
///     y[n, o, g, m] = sum over t, c of x[n, o * stride + t * dilation - before, g, c] w[g, m, t,
///     c]
///
/// where o and t have three axes, g counts groups, m and c the channels of one; what lies outside
/// the image is 0. Images of fewer axes have the first ones with an extent of 1.
///
/// - Order, forward and data: each element is one chain of fused multiply-adds from 0. Taps come in
/// the
///   order of the elements that they read, in it the channels. A tap that lies outside the image
///   along the first two axes is left out; along the last one it multiplies a 0.
/// - Order, weights: the rows of the output (runs along the last axis) are cut into groups and
/// these into
///   blocks (`ck_conv_groups`), functions of the shape alone. A block is one chain of fused
///   multiply-adds from 0 in the order of the output; the blocks of a group are added in their
///   order, then the groups.
/// - So each element has the same bits whatever the level, the team and the tiling. By pairs of
/// bf16
///   (`ck_conv_by_pairs`) sums have other orders, the same for every team: operands are rounded to
///   bf16, and two neighbouring channels, or places for the weights, are added at a time.
/// - c overlaps neither a nor b.
typedef struct ck_conv_args {
  const float *a;
  const float *b;
  float *c;
  void *workspace;  // `ck_conv_workspace_bytes`, 64-byte aligned
  int64_t images;
  int64_t in_channels, out_channels, groups;
  int64_t image[CK_CONV_AXES], output[CK_CONV_AXES], kernel[CK_CONV_AXES];
  int64_t stride[CK_CONV_AXES], dilation[CK_CONV_AXES], before[CK_CONV_AXES];

  // ck_dtype, CK_F32 (0) or CK_BF16, of a, of the gradient b of CK_CONV_WEIGHTS, of c but of that.
  // Others are f32. bf16 only where `ck_conv_by_pairs`, or at the reference. Arrays of
  // bf16 are 4-byte aligned. Sums are f32 and are rounded once.
  int16_t a_type, b_type, c_type;
  int16_t precision;  // ck_gemm_precision

  // Forward and data only. `other` and `mask` lie as c does, of one type, and c may be the same
  // array where its type is; no momentum. A program sees one matrix of [places of c, channels], and
  // `c` is not touched. Only where `ck_conv_takes_program`.
  ck_epilogue epilogue;
} ck_conv_args;

static inline const ck_loop_args *ck_conv_program(const ck_conv_args *args) {
  return ck_epilogue_program(&args->epilogue, args);
}

/// Whether that level multiplies bf16 pairs: where the precision or the types allow it, the machine
/// gains by it, and channels lie in pairs.
bool ck_conv_by_pairs(const ck_conv_args *args, ck_conv_op op, ck_isa isa);
/// The entry at that level (the best one not above it). Args: `ck_conv_args`.
ck_kernel ck_conv(ck_conv_op op, ck_isa isa);
/// Scratch that each thread needs, in bytes.
size_t ck_conv_scratch_bytes(const ck_conv_args *args, ck_conv_op op, ck_isa isa);
/// What all threads share.
size_t ck_conv_workspace_bytes(const ck_conv_args *args, ck_conv_op op, ck_isa isa);
/// Whether a program may follow: places of the result are made in their order.
bool ck_conv_takes_program(const ck_conv_args *args, ck_conv_op op);

/// What one thread of a team writes. Forward and data: of the places of c, counted through all
/// images, by the channels of c; it reads the images that those places are in. Weights: rows are
/// elements of c and columns 0 and 1, and nothing is said of what is read.
ck_gemm_part ck_conv_part_of(const ck_conv_args *args, ck_conv_op op, int32_t index, int32_t count);

/// The groups and blocks of rows of the output that the sums of weights are cut into.
typedef struct ck_conv_cut {
  int64_t groups;  // their sums are added in the end
  int64_t rows;    // of a block, at most
} ck_conv_cut;
ck_conv_cut ck_conv_groups(const ck_conv_args *args);

/// Multiply-adds of one call, those of padding among them.
double ck_conv_products(const ck_conv_args *args);
/// About how many nanoseconds one thread takes at that level: a prediction for plans.
double ck_conv_nanoseconds(const ck_conv_args *args, ck_conv_op op, ck_isa isa);

/// The rows of `conv_kernels.inc`.
const ck_entry *ck_conv_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
