// What a contraction (a matrix product, a convolution) does with each sum on its way to memory.
#ifndef CK_EPILOGUE_H
#define CK_EPILOGUE_H

#include "ck_loop.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What a sum meets in the registers, element by element.
typedef enum ck_combination {
  CK_ALONE = 0,
  CK_ADD = 1,   // x + other
  CK_GATE = 2,  // x where other > 0, else 0: a rectifier's gradient
  // v = momentum * other + x goes to the result, and weight - rate * v to `new_weight`: the sum is
  // an element of a parameter's gradient, which is not stored. Each operation is rounded. Only of
  // products of one matrix whose K is one block, without ReLU.
  CK_MOMENTUM = 3,
} ck_combination;

/// `relu(mask(combine(x + bias, other)))`, or a part of that; or a program. All zero: nothing.
///
/// Element (i, j) is row i and column j of the result's matrix t; matrices are counted through all
/// batch dimensions. The rows of a convolution are the places of its images, of one matrix.
typedef struct ck_epilogue {
  const float *bias;   // [columns] added to each row, or NULL
  const float *other;  // other[t * other_matrix + i * other_row + j], unless ALONE
  int64_t other_matrix, other_row;
  int32_t combination;  // ck_combination
  int32_t other_type;   // ck_dtype: CK_F32 or CK_BF16; strides count such elements
  int32_t relu;         // 1: max(0, x), last

  const float *mask;  // after ADD, or NULL: x where mask > 0, else 0. f32, lies as `other` does

  // Of CK_MOMENTUM. Rows of `weight` lie as those of `other` do, rows of `new_weight` as the
  // result's, and the two may be one array.
  float momentum;
  const float *weight;
  float *new_weight;
  const float *rate;  // one number

  // Where not 0, each block of the result that is finished goes through an elementwise program
  // instead of to memory, while it lies in the cache: bytes from the start of the kernel's argument
  // block to a ck_loop_args made by `ck_loop_prepare_block`, whose operand 0 is the sum after bias
  // and ReLU. Its rows and columns are the result's, its batch counts matrices, outermost first.
  int64_t program;
} ck_epilogue;

/// The program of a kernel with these arguments, or NULL.
static inline const ck_loop_args *ck_epilogue_program(const ck_epilogue *epilogue,
                                                      const void *args) {
  return epilogue->program ? (const ck_loop_args *)((const char *)args + epilogue->program) : NULL;
}

#ifdef __cplusplus
}
#endif

#endif
