// Loops over more dimensions than the tile machine has: the outer ones are walked here.
#include <string.h>

#include "CKernels.h"

static const int64_t *extents(const ck_loop_outer_args *args) {
  return (const int64_t *)(args + 1);
}

/// The strides of operand `o` along the outer dimensions.
static const int64_t *strides(const ck_loop_outer_args *args, int32_t o) {
  return extents(args) + (int64_t)(1 + o) * args->dims;
}

/// Where operand `o` starts for a place in the outer dimensions.
static void *moved(const ck_loop_outer_args *args, const ck_loop_operand *operand, int32_t o,
                   const int64_t *place) {
  int64_t element = 0;
  for (int d = 0; d < args->dims; d++) element += place[d] * strides(args, o)[d];
  // An index operand's data is its value.
  if (operand->flags & CK_LOOP_INDEX) return (void *)((intptr_t)operand->data + element);
  static const int8_t sizes[] = {4, 2, 2, 8, 4, 8, 1, 1};
  return (char *)operand->data + element * sizes[operand->dtype];
}

size_t ck_loop_outer_scratch_bytes(const ck_loop_outer_args *args) {
  const ck_loop_args *loop = (const ck_loop_args *)((const char *)args + args->loop_offset);
  return (((size_t)args->loop_bytes + 63) & ~(size_t)63) + ck_loop_scratch_bytes(loop);
}

void ck_loop_outer(const void *block, const ck_thread *t) {
  const ck_loop_outer_args *args = block;
  const ck_loop_args *given = (const ck_loop_args *)((const char *)args + args->loop_offset);
  // Each thread moves the operands of a copy of its own.
  ck_loop_args *own = t->scratch;
  memcpy(own, given, (size_t)args->loop_bytes);
  const size_t taken = ((size_t)args->loop_bytes + 63) & ~(size_t)63;
  ck_thread inner = *t;
  inner.scratch = (char *)t->scratch + taken;
  inner.scratch_bytes = t->scratch_bytes - taken;
  const ck_kernel run = ck_loop((ck_isa)args->isa);
  int64_t place[CK_LOOP_OUTER_DIMS] = {0};
  for (int d = 0; d < args->dims; d++) {
    if (extents(args)[d] == 0) return;
  }
  for (;;) {
    for (int32_t o = 0; o < given->operands; o++) {
      ck_loop_operands(own)[o].data = moved(args, &ck_loop_operands(given)[o], o, place);
    }
    run(own, &inner);
    int d = args->dims - 1;
    while (d >= 0 && ++place[d] == extents(args)[d]) place[d--] = 0;
    if (d < 0) return;
    // The workspace is everybody's: nobody may write it while another still reads.
    if (given->workspace) ck_barrier(t);
  }
}
