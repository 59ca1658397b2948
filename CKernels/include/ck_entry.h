// How a kernel family lists itself: one row an implementation, best level first, reference last.
//
// The rows come from the family's `<family>_kernels.inc`; the same list makes the prototypes, this
// table, and the tests that compare the levels with each other.
#ifndef CK_ENTRY_H
#define CK_ENTRY_H

#include "ck_base.h"

#ifdef __cplusplus
extern "C" {
#endif

/// One implementation of one operation of a family.
typedef struct ck_entry {
  ck_isa isa;       // the least level that runs it
  int32_t op;       // a value of the family's `ck_<family>_op`
  bool consistent;  // the same bits as the reference row, whatever the input, but for the NaN's own
                    // and whether a denormal that is only handed through is flushed
  const char *name;  // the function's name, for profiles and tests
  ck_kernel kernel;
} ck_entry;

/// The best entry of `op` that runs at `isa`. A table always holds a reference row for each
/// operation; NULL means that `op` is not the family's.
ck_kernel ck_entry_find(const ck_entry *entries, size_t count, int32_t op, ck_isa isa);

/// The name of the function at a kernel's address: what a plan that is written out would call. NULL
/// where no family lists it.
const char *ck_kernel_name(ck_kernel kernel);

/// Where a kernel notes an index that its input data got wrong: a class label, a token. The runtime
/// sets the block to {-1, 0} before a step and throws if `position` is not -1 after it. The kernel
/// itself goes on, without reading or writing out of bounds, as if the item were absent.
///
/// Whatever the number of threads, the block ends up holding the lowest bad position. Argument
/// structs carry it as `int64_t *error`, which may be NULL.
typedef struct ck_index_error {
  int64_t position;  // the flat position of the bad index in its tensor; -1: all were good
  int64_t value;     // what stood there
} ck_index_error;

#ifdef __cplusplus
}
#endif

#endif
