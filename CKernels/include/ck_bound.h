// A bound of the absolute values of arrays and of matrix products that are not computed, which says
// whether any of them holds, or would hold, a number that is not finite; and the joint norm of
// arrays.
//
// A bound needs a look at each factor of a product, which is much less than the product.
#ifndef CK_BOUND_H
#define CK_BOUND_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_bound_op {
  CK_BOUND_MAGNITUDE = 0,
  CK_BOUND_NORM = 1,
} ck_bound_op;

/// Elements of an array that one thread looks at at a time.
#define CK_BOUND_TILE 4096

/// `count` elements of f32 or bf16.
typedef struct ck_bound_array {
  const void *data;
  int64_t count;
  int32_t dtype;  // ck_dtype
  /// Whether the array itself counts; a factor counts in its products only.
  int32_t is_plain;
} ck_bound_array;

/// The product of two of the arrays, each element a sum of `terms` products.
typedef struct ck_bound_product {
  int32_t a, b;
  double terms;
} ck_bound_product;

/// out = max(max over plain arrays of max |x|, max over products of terms max |a| max |b|)
///
/// An array without elements has max |x| = 0. `out` is a NaN where an array that counts holds a
/// NaN, and not finite where one holds an infinity or a product may overflow f32: sums of `terms`
/// products in any order are no greater than the bound.
///
/// The norm has no products, and all arrays are plain: out = √Σ x² over all of them, right wherever
/// an f32 holds it: squares that leave f32 are added up in double. 0 without elements.
///
/// One block of memory: this header, then `arrays` ck_bound_array, then `products`
/// ck_bound_product.
typedef struct ck_bound_args {
  float *out;           // one number
  uint32_t *workspace;  // ck_bound_workspace_bytes, 64-byte aligned
  int32_t arrays;
  int32_t products;
} ck_bound_args;

static inline ck_bound_array *ck_bound_arrays(const ck_bound_args *args) {
  return (ck_bound_array *)((char *)(uintptr_t)args + sizeof(ck_bound_args));
}
static inline ck_bound_product *ck_bound_products(const ck_bound_args *args) {
  return (ck_bound_product *)(ck_bound_arrays(args) + args->arrays);
}
/// The size of the block.
static inline size_t ck_bound_args_bytes(int32_t arrays, int32_t products) {
  return sizeof(ck_bound_args) + (size_t)arrays * sizeof(ck_bound_array) +
         (size_t)products * sizeof(ck_bound_product);
}
/// The tiles of an array.
static inline int64_t ck_bound_tiles(const ck_bound_array *array) {
  return (array->count + CK_BOUND_TILE - 1) / CK_BOUND_TILE;
}
/// What the threads share: a number, of the norm a double, for each tile, and one for each array.
size_t ck_bound_workspace_bytes(const ck_bound_args *args);

/// The entry point of `op` at `isa`.
ck_kernel ck_bound(ck_bound_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_bound_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
