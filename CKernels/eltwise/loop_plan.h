// What the planner and the interpreter of loops both know: how an operand's `access` is packed, how
// a thread's scratch is laid out, how large a partial result is.
#ifndef LOOP_PLAN_H
#define LOOP_PLAN_H

#include "ck_loop.h"

/// Reductions of a program, at most.
#define LOOP_REDUCTIONS 16
/// Elements of a tile where slots are few.
#define LOOP_TILE_MOST 4096
/// Levels of pairwise summation: enough for 2^40 blocks.
#define LOOP_LEVELS 40

// An operand's access. Inputs: after which instruction (+ 1) nothing reads its memory any more.
// Outputs made in place: the slot, the instruction (+ 1) that writes it, and whether the slot holds
// floats that nothing but the store reads. Other outputs: that they are.
#define LOOP_ACCESS_INPUT(index) (((index) + 1) << 8)
#define LOOP_ACCESS_DIRECT(slot, index) ((((index) + 1) << 8) | 0x80 | (slot))
#define LOOP_ACCESS_STORED 0x40
#define LOOP_ACCESS_LAST 0x40  // beside LOOP_ACCESS_DIRECT
#define LOOP_INDEX_OF(access) (((access) >> 8) - 1)
#define LOOP_IS_DIRECT(access) (((access)&0x80) != 0)
#define LOOP_IS_LAST(access) (((access)&0xc0) == 0xc0)
#define LOOP_IS_OUTPUT(access) (((access)&0xc0) != 0)
#define LOOP_SLOT_OF(access) ((access)&0x3f)

/// A chain's form, and what ends it (loop_chain.c).
enum { LOOP_CHAIN_NORMAL = 1, LOOP_CHAIN_NORMAL_ADD, LOOP_CHAIN_NORMAL_NORMAL, LOOP_CHAIN_GATED };
enum { LOOP_CHAIN_NONE, LOOP_CHAIN_RELU, LOOP_CHAIN_RELU6 };
/// Elements that rows of a chain are repeated over, at most: whole vectors of whole rows.
enum { LOOP_CHAIN_PERIOD = 512 };

static inline size_t loop_dtype_bytes(int dtype) {
  static const uint8_t bytes[8] = {4, 2, 2, 8, 4, 8, 1, 1};
  return bytes[dtype & 7];
}

/// Where things lie in a thread's scratch. A slot is padded by two vectors: the first for whole
/// vectors written past a tile's end, the second so that slots do not share cache sets.
typedef struct loop_layout {
  size_t slot_stride;   // from one slot to the next
  size_t kept;          // the kept slots' rows
  size_t kept_stride;   // from one kept slot to the next
  size_t accumulators;  // of the reductions
  size_t level_stride;  // from one level of pairwise summation to the next
  size_t bytes;
} loop_layout;

/// The columns of a block, in whole vectors.
static inline size_t loop_block_columns(const ck_loop_args *args) {
  return (size_t)(args->tile_columns + 15) / 16 * 16;
}

/// Elements of the rows that a chain takes at a time; 0 where its rows are taken one by one.
static inline int64_t loop_chain_period(const ck_loop_args *args) {
  const int64_t columns = args->extent[args->dims - 1];
  if (args->dims != 2 || args->column_blocks != 1 || columns == 0) return 0;
  int64_t whole = columns;
  while (whole % 16 != 0 && whole <= LOOP_CHAIN_PERIOD) whole += columns;
  return whole > LOOP_CHAIN_PERIOD ? 0 : LOOP_CHAIN_PERIOD / whole * whole;
}

static inline loop_layout loop_layout_of(const ck_loop_args *args) {
  loop_layout layout;
  layout.slot_stride = (size_t)args->slot_bytes + 256 + 64;
  layout.kept = (size_t)args->slots * layout.slot_stride;
  layout.kept_stride = (size_t)args->slot_bytes * (size_t)args->row_tiles + 256 + 64;
  const size_t kept_count = (size_t)__builtin_popcountll(args->kept);
  layout.accumulators = layout.kept + kept_count * layout.kept_stride;
  layout.level_stride = 128;
  if (args->kind == 2) layout.level_stride = loop_block_columns(args) * 8;
  layout.bytes =
      layout.accumulators + (size_t)args->reductions * (LOOP_LEVELS + 1) * layout.level_stride;
  if (args->chain.form && layout.bytes < 6 * LOOP_CHAIN_PERIOD * sizeof(float)) {
    layout.bytes = 6 * LOOP_CHAIN_PERIOD * sizeof(float);
  }
  return layout;
}

/// A partial result of all reductions: a vector each (rows), or a block's columns each (columns).
static inline size_t loop_partial_bytes(const ck_loop_args *args) {
  const size_t each = args->kind == 2 ? loop_block_columns(args) * 8 : 128;
  return (size_t)args->reductions * each;
}

static inline ck_loop_segment *loop_segment(const ck_loop_multi_args *args, int32_t i) {
  return (ck_loop_segment *)((char *)(uintptr_t)args +
                             ck_loop_segment_offset(args->loop.operands,
                                                    args->loop.instructions + args->loop.joined,
                                                    i));
}

// MARK: Of the program (loop_program.c)

/// Who writes and reads each slot.
typedef struct loop_facts {
  int32_t writers[CK_LOOP_SLOTS];  // instructions that write the slot, repeats not counted
  int32_t writer[CK_LOOP_SLOTS];   // the last of them
  int32_t reads[CK_LOOP_SLOTS];
  int32_t last_read[CK_LOOP_SLOTS];  // the last instruction that reads it
  int32_t last_phase[CK_LOOP_SLOTS];
  bool repeats[CK_LOOP_SLOTS];  // it has a repeat that is run
} loop_facts;

/// How many slots the instruction reads, and which.
int loop_reads(const ck_loop_instruction *at, uint8_t read[3]);
bool loop_is_valid(const ck_loop_args *args);
loop_facts loop_gather(const ck_loop_args *args);
void loop_mark_still(ck_loop_args *args, int from, int to, bool reductions, uint8_t flag);
void loop_hoist(ck_loop_args *args);
bool loop_phases_fit(const ck_loop_args *args);

// MARK: Superinstructions (loop_join.c)

void loop_join(ck_loop_args *args);

// MARK: Forms that need no slots (loop_chain.c)

void loop_find_chain(ck_loop_args *args);

#endif
