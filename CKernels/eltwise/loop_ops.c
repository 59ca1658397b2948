// The table of the tile machine's operations, made from eltwise_ops.inc, and the level dispatch.
#include <string.h>

#include "ck_loop.h"

// A signature such as B_FF as classes: the result, then the operands.
#define CLASS_ CK_CLASS_NONE
#define CLASS_F CK_CLASS_F32
#define CLASS_I CK_CLASS_I32
#define CLASS_L CK_CLASS_I64
#define CLASS_B CK_CLASS_BOOL
#define SIGNATURE(count, r, a, b, c) \
  .arity = count, .result = CLASS_##r, .operand = {CLASS_##a, CLASS_##b, CLASS_##c}
#define SIGNATURE_F_ SIGNATURE(0, F, , , )
#define SIGNATURE_I_ SIGNATURE(0, I, , , )
#define SIGNATURE_L_ SIGNATURE(0, L, , , )
#define SIGNATURE_B_ SIGNATURE(0, B, , , )
#define SIGNATURE_F_F SIGNATURE(1, F, F, , )
#define SIGNATURE_I_F SIGNATURE(1, I, F, , )
#define SIGNATURE_L_F SIGNATURE(1, L, F, , )
#define SIGNATURE_B_F SIGNATURE(1, B, F, , )
#define SIGNATURE_F_I SIGNATURE(1, F, I, , )
#define SIGNATURE_I_I SIGNATURE(1, I, I, , )
#define SIGNATURE_L_I SIGNATURE(1, L, I, , )
#define SIGNATURE_B_I SIGNATURE(1, B, I, , )
#define SIGNATURE_F_L SIGNATURE(1, F, L, , )
#define SIGNATURE_I_L SIGNATURE(1, I, L, , )
#define SIGNATURE_L_L SIGNATURE(1, L, L, , )
#define SIGNATURE_B_L SIGNATURE(1, B, L, , )
#define SIGNATURE_F_B SIGNATURE(1, F, B, , )
#define SIGNATURE_I_B SIGNATURE(1, I, B, , )
#define SIGNATURE_L_B SIGNATURE(1, L, B, , )
#define SIGNATURE_B_B SIGNATURE(1, B, B, , )
#define SIGNATURE_F_FF SIGNATURE(2, F, F, F, )
#define SIGNATURE_I_II SIGNATURE(2, I, I, I, )
#define SIGNATURE_L_LL SIGNATURE(2, L, L, L, )
#define SIGNATURE_B_BB SIGNATURE(2, B, B, B, )
#define SIGNATURE_B_FF SIGNATURE(2, B, F, F, )
#define SIGNATURE_B_II SIGNATURE(2, B, I, I, )
#define SIGNATURE_B_LL SIGNATURE(2, B, L, L, )
#define SIGNATURE_F_FFF SIGNATURE(3, F, F, F, F)
#define SIGNATURE_F_BFF SIGNATURE(3, F, B, F, F)
#define SIGNATURE_I_BII SIGNATURE(3, I, B, I, I)
#define SIGNATURE_L_BLL SIGNATURE(3, L, B, L, L)
#define SIGNATURE_B_BBB SIGNATURE(3, B, B, B, B)

static const ck_op_info table[CK_OP_COUNT] = {
    [CK_OP_load] = {.name = "load"},
    [CK_OP_store] = {.name = "store"},
#define CK_OP(title, signature, count, expression) \
  [CK_OP_##title] = {.name = #title, .immediates = count, SIGNATURE_##signature},
#define CK_REDUCE(title, class, identity, combination) \
  [CK_OP_##title] = {.name = #title, .reduces = true, SIGNATURE_##class##_##class},
#include "eltwise_ops.inc"
};

const ck_op_info *ck_op_describe(int32_t op) {
  return op >= 0 && op < CK_OP_COUNT ? &table[op] : NULL;
}

int32_t ck_op_from_name(const char *name) {
  for (int32_t op = 0; op < CK_OP_COUNT; op++) {
    if (strcmp(table[op].name, name) == 0) return op;
  }
  return -1;
}

ck_class ck_class_of(ck_dtype dtype) {
  switch (dtype) {
    case CK_F32:
    case CK_BF16:
    case CK_F16:
      return CK_CLASS_F32;
    case CK_I32:
    case CK_U8:
      return CK_CLASS_I32;
    case CK_I64:
      return CK_CLASS_I64;
    case CK_BOOL:
      return CK_CLASS_BOOL;
    case CK_F64:
      return CK_CLASS_NONE;
  }
  return CK_CLASS_NONE;
}

// MARK: Levels

#define CK_LOOP_LEVEL(level, kernel, block, multi)                                              \
  void kernel(const void *args, const ck_thread *t);                                            \
  void block(const ck_loop_args *args, void *scratch, int64_t batch, int64_t row, int64_t rows, \
             int64_t column, int64_t columns, const float *tile, int64_t tile_stride);          \
  void multi(const void *args, const ck_thread *t);
#include "loop_kernels.inc"

static const ck_loop_kernel_row rows[] = {
#define CK_LOOP_LEVEL(level, kernel, block, multi) {level, #kernel, kernel, block, #multi, multi},
#include "loop_kernels.inc"
};

const ck_loop_kernel_row *ck_loop_kernel_rows(int32_t *count) {
  *count = (int32_t)(sizeof(rows) / sizeof(rows[0]));
  return rows;
}

/// The best row that needs no more than `isa`.
static const ck_loop_kernel_row *row_for(ck_isa isa) {
  const ck_loop_kernel_row *row = rows;
  while (row->isa > isa) row++;
  return row;
}

ck_kernel ck_loop(ck_isa isa) { return row_for(isa)->kernel; }
ck_loop_block_fn ck_loop_block(ck_isa isa) { return row_for(isa)->block; }
ck_kernel ck_loop_multi(ck_isa isa) { return row_for(isa)->multi; }
