// Sums over the processes that train one model together: a bucket of arrays is filled and handed to
// the processes' group at one place of a plan, and taken back, summed, at a later one.
//
// What carries the bytes (MPI, or memory that threads share) is the group's: kernels call it
// through ck_group, whose functions the runtime fills in.
#ifndef CK_ALLREDUCE_H
#define CK_ALLREDUCE_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_allreduce_op {
  CK_ALLREDUCE_START = 0,
  CK_ALLREDUCE_END = 1,
} ck_allreduce_op;

/// Floats of a bucket that one thread fills or empties at a time.
#define CK_ALLREDUCE_TILE 4096

/// `count` elements of f32.
typedef struct ck_allreduce_array {
  float *data;
  int64_t count;
} ck_allreduce_array;

/// Start: bucket = w x[0] ++ w x[1] ++ … ++ [w], then the group begins to add it up, in place.
/// Where w is 0 the bucket is all zeros, whatever the arrays hold. Without a weight it is x[0] ++
/// x[1] ++ ….
///
/// End: waits until the bucket is the sum over all processes, then x[k] = its part of the bucket,
/// divided by the summed weight where there is one.
///
/// Without a group a process is alone: the bucket is its own sum.
///
/// One block of memory: this header, then `arrays` ck_allreduce_array.
typedef struct ck_allreduce_args {
  const ck_group *group;  // or NULL
  float *bucket;          // Σ count, and one more where there is a weight
  const float *weight;    // one number, or NULL; of an end: anything but NULL, the bucket has it
  int64_t count;          // Σ count
  int64_t number;         // of the bucket, the same in all processes
  int64_t arrays;
} ck_allreduce_args;

static inline ck_allreduce_array *ck_allreduce_arrays(const ck_allreduce_args *args) {
  return (ck_allreduce_array *)((char *)(uintptr_t)args + sizeof(ck_allreduce_args));
}

/// sum[i] = parts[0][i] + parts[1][i] + … for i < count, added up in that order: what a group does
/// with an array of each process. `sum` may be one of the parts.
void ck_allreduce_sum(float *sum, const float *const *parts, int64_t part_count, int64_t count);

/// The entry point of `op` at `isa`.
ck_kernel ck_allreduce(ck_allreduce_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_allreduce_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
