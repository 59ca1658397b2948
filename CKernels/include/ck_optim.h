// Update rules of optimisers, over many arrays at a time: gradient descent with momentum, Adam,
// RMSProp and Adagrad, Lion.
//
// Not here: what an update is made of elsewhere, such as learning rates and the norm of a gradient.
// Plain gradient descent is one pass of the tile machine (ck_loop.h), which nothing can shorten.
#ifndef CK_OPTIM_H
#define CK_OPTIM_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_optim_op {
  CK_OPTIM_MOMENTUM = 0,
  CK_OPTIM_ADAM = 1,
  CK_OPTIM_RMS = 2,
  CK_OPTIM_LION = 3,
} ck_optim_op;

/// Elements of an array that one thread takes at a time.
#define CK_OPTIM_TILE 512

/// A parameter and what is kept for it: `count` elements each. A result may be the very array of
/// any of the four operands.
typedef struct ck_optim_array {
  float *new_parameter;
  float *new_first;
  float *new_second;  // of Adam
  const float *parameter;
  const float *gradient;
  const float *first;   // the velocity, the first moment, or of RMS the mean of squares
  const float *second;  // the second moment, of Adam
  int64_t count;
} ck_optim_array;

/// For each element of each array, one rounding an operation, with g = gradient scale + decay p:
///
///     momentum: v' = first_decay v + g
///               p' = p - v' rate, or p - (g + v' first_decay) rate where `nesterov`
///     Adam:     m' = m first_decay + g first_share
///               v' = v second_decay + g g second_share
///               p' = p shrinkage - m' rate / (sqrt(v') correction + epsilon)
///     RMS:      v' = v second_decay + g g second_share
///               p' = p - g rate / (sqrt(v') + epsilon)
///     Lion:     d  = m - g
///               m' = d second_decay + g
///               p' = p shrinkage - sign(d first_decay + g) rate
///
/// RMS is RMSProp, and Adagrad with a decay and a share of 1, which change no bit. Lion's sign of
/// NaN is NaN.
///
/// Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep
/// learning" (2013); Kingma, Ba, "Adam: a method for stochastic optimization" (2015); `shrinkage`:
/// Loshchilov, Hutter, "Decoupled weight decay regularization" (2019); Tieleman, Hinton,
/// lecture 6.5 of "Neural networks for machine learning" (2012); Duchi, Hazan, Singer, "Adaptive
/// subgradient methods" (2011); Chen et al., "Symbolic discovery of optimization algorithms"
/// (2023).
///
/// One block of memory: this header, then `arrays` ck_optim_array.
typedef struct ck_optim_args {
  const float *rate;        // one number, as are the other three
  const float *scale;       // NULL: 1
  const float *correction;  // of Adam
  const float *shrinkage;   // of Adam and Lion; NULL: 1
  float decay;              // 0: nothing is added
  float first_decay;        // momentum, or beta 1 of Adam and Lion
  float first_share;        // of Adam: 1 - beta 1
  float second_decay;       // beta 2 of Adam and Lion, alpha of RMS
  float second_share;       // of Adam: 1 - beta 2; of RMS: 1 - alpha
  float epsilon;            // of Adam and RMS
  int32_t nesterov;         // of momentum
  int32_t arrays;
} ck_optim_args;

static inline ck_optim_array *ck_optim_arrays(const ck_optim_args *args) {
  return (ck_optim_array *)((char *)(uintptr_t)args + sizeof(ck_optim_args));
}
/// The size of the block.
static inline size_t ck_optim_args_bytes(int32_t arrays) {
  return sizeof(ck_optim_args) + (size_t)arrays * sizeof(ck_optim_array);
}

/// Which elements of each of its arrays thread `index` of `count` touches: `regions` has room for
/// all.
void ck_optim_regions(const ck_optim_args *args, int32_t index, int32_t count, ck_region *regions);

/// The entry point of `op` at `isa`.
ck_kernel ck_optim(ck_optim_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_optim_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
