// The tile machine: runs a fused elementwise program, with reductions, without a JIT.
//
// A *loop* is a small program over a domain of up to six dimensions. Operands (inputs and outputs)
// are arrays addressed by element strides over the domain, 0 where they broadcast. The program's
// instructions work on *slots*: tiles of CK_LOOP_TILE elements and more that stay in the L1 cache.
// Each instruction is a full-vector loop over one tile, so that its dispatch is paid once a tile. A
// map of one operation on dense arrays needs no slots, and runs over a thread's share as one tile.
//
// Three kinds of loop, told apart by which dimensions are reduced:
//   map      nothing is reduced: every store covers the domain
//   rows     the last `reduced_dims` dimensions are reduced: one result a row
//   columns  dimensions [first_reduced, first_reduced + reduced_dims) are, and kept ones follow:
//            one result a column, as in a bias's gradient
//
// Phases. Reductions end a phase: what instruction CK_OP_reduce_* of phase p leaves in its slot is
// read in phases after p, as a value that is uniform over the row (rows) or as a tile of columns
// (columns). In `rows` every phase walks the row again, so that softmax is: max | exp(x - max), sum
// | divide. An instruction of a later phase that only repeats an earlier one, into the same slot,
// carries CK_LOOP_REPEAT and is skipped where the row still lies in its slots. In `columns` the
// phases after the first see the reduced domain only.
//
// Sums of f32 use sixteen lanes, then a fixed cascade of blocks, so that the error stays near one
// rounding for ten million elements and the bits depend on the shape alone.
#ifndef CK_LOOP_H
#define CK_LOOP_H

#include "ck_base.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Elements of a slot, unless slots are so few that larger ones stay in the L1 cache.
#define CK_LOOP_TILE 512
/// Slots of a program, at most. An i64 value takes one slot, like any other.
#define CK_LOOP_SLOTS 64
/// Dimensions of a loop's domain, at most.
#define CK_LOOP_DIMS 6
/// Phases of a program, at most.
#define CK_LOOP_PHASES 8

/// Instructions of a program, at most.
#define CK_LOOP_INSTRUCTIONS 4096

/// Opcodes: the lines of eltwise_ops.inc, and the two that touch memory.
typedef enum ck_op {
  CK_OP_load = 0,  // dst = operand a
  CK_OP_store,     // operand b = slot a
#define CK_OP(name, signature, immediates, expression) CK_OP_##name,
#define CK_REDUCE(name, class, identity, combination) CK_OP_##name,
#include "eltwise_ops.inc"
  CK_OP_COUNT,
} ck_op;

/// What a slot holds.
typedef enum ck_class {
  CK_CLASS_NONE = 0,
  CK_CLASS_F32 = 1,
  CK_CLASS_I32 = 2,
  CK_CLASS_I64 = 3,
  CK_CLASS_BOOL = 4,
} ck_class;

typedef struct ck_op_info {
  const char *name;
  int32_t arity;       // slots read: 0 to 3
  int32_t immediates;  // 0 to 2
  ck_class result;
  ck_class operand[3];
  bool reduces;
} ck_op_info;

/// The description of an opcode, or NULL where there is none of that number.
const ck_op_info *ck_op_describe(int32_t op);
/// The opcode of a name such as "add_f32", or -1.
int32_t ck_op_from_name(const char *name);
/// The class a stored type is loaded into; CK_CLASS_NONE for f64, which loops do not handle.
ck_class ck_class_of(ck_dtype dtype);

/// Flags of an instruction. The caller sets the first, ck_loop_prepare the others.
#define CK_LOOP_REPEAT 1   // repeats an earlier phase's instruction into the same slot
#define CK_LOOP_ROW 2      // the same all along a row: once a row is enough
#define CK_LOOP_NEVER 4    // repeats what is still there
#define CK_LOOP_PRODUCT 8  // reduce_sum_f32 of the product of slots a and b

/// dst = op(a, b, c). A slot keeps one class. Stores come last in their phase, those of slots that
/// were only loaded first; then an output may share the memory of an input that lies the same way
/// and that no later phase loads. The fields a, b, c and dst number slots, except that a of `load`
/// and b of `store` number operands.
typedef struct ck_loop_instruction {
  uint16_t op;
  uint8_t phase;
  uint8_t flags;
  uint8_t dst, a, b, c;
  float imm[2];  // const_i32: the bits of imm[0]; const_i64: the bits of both
} ck_loop_instruction;

/// The operand is not memory: its value at a place of the domain is the sum of index x stride, as
/// i32 or i64.
#define CK_LOOP_INDEX 1

typedef struct ck_loop_operand {
  void *data;                    // with CK_LOOP_INDEX the value at the origin
  int64_t stride[CK_LOOP_DIMS];  // in elements; 0 broadcasts
  int16_t dtype;                 // ck_dtype
  int16_t flags;
  int32_t access;  // set by ck_loop_prepare
} ck_loop_operand;

/// A map of a form that is done in registers, without slots; see loop_chain.c. Operands by number,
/// -1 where there is none.
typedef struct ck_loop_chain {
  int16_t form;                        // 0: none
  int16_t activation;                  // what is done last
  int16_t x, y;                        // arrays
  int16_t mean[2], scale[2], bias[2];  // rows, of x and of y
  int16_t gate, result;
} ck_loop_chain;

/// One block of memory: this header, then `operands` ck_loop_operand, then `instructions`
/// ck_loop_instruction sorted by phase. Fill the first part, call `ck_loop_prepare`, then bind
/// `workspace` and the operands' data.
typedef struct ck_loop_args {
  int32_t operands;
  int32_t instructions;
  int32_t dims;  // 1 to CK_LOOP_DIMS
  int32_t first_reduced;
  int32_t reduced_dims;  // 0: a map
  int32_t joined;  // set by ck_loop_prepare: instructions that others took in, see loop_join.c
  int64_t extent[CK_LOOP_DIMS];
  void *workspace;  // ck_loop_workspace_bytes of it, shared by the threads; NULL where that is 0

  // Set by ck_loop_prepare; see loop_plan.c.
  int32_t kind;        // 0 map, 1 rows, 2 columns
  int32_t phases;      // 1 + the last instruction's
  int32_t slots;       // 1 + the highest slot
  int32_t reductions;  // reduce instructions
  int32_t once;        // leading instructions that do not depend on the place in the domain
  int32_t slot_bytes;  // of one tile in a slot
  int32_t packed;      // rows: a tile is `tile_rows` whole rows
  int32_t row_tiles;   // rows: tiles of a row that kept slots hold from phase to phase; 1: no more
  int32_t streams;     // outputs bypass the cache
  int32_t views;  // columns: phase 0 only reduces operands, which slots then show where they lie
  int32_t spans;  // map: one operation from memory to memory, which needs no tiles
  int64_t tile_rows;  // the shape of a tile
  int64_t tile_columns;
  int64_t row_blocks;     // tiles along the last dimension but one
  int64_t column_blocks;  // tiles along the last dimension
  int64_t tiles;          // map: all; rows: of a row; columns: of a column block
  int64_t units;          // map: tiles; rows: rows, or tiles where packed; columns: blocks
  int64_t part_tiles;     // tiles of a part
  int64_t parts;          // parts that each row or column block is cut into; 1: not cut
  uint64_t kept;          // slots that hold a whole row
  uint64_t single;        // slots that one instruction writes
  int32_t phase_end[CK_LOOP_PHASES];
  ck_loop_chain chain;
} ck_loop_args;

static inline ck_loop_operand *ck_loop_operands(const ck_loop_args *args) {
  return (ck_loop_operand *)((char *)(uintptr_t)args + sizeof(ck_loop_args));
}
static inline ck_loop_instruction *ck_loop_instructions(const ck_loop_args *args) {
  return (ck_loop_instruction *)(ck_loop_operands(args) + args->operands);
}
/// The size of the block.
static inline size_t ck_loop_args_bytes(int32_t operands, int32_t instructions) {
  return sizeof(ck_loop_args) + (size_t)operands * sizeof(ck_loop_operand) +
         (size_t)instructions * sizeof(ck_loop_instruction);
}

/// Collapses the domain, classifies the operands and cuts the work. Once, before the first run; it
/// looks at no data. False where the program is malformed (an unknown opcode, a slot read before it
/// is written, a class that does not fit, phases out of order, more slots or phases than there
/// are).
bool ck_loop_prepare(ck_loop_args *args);
/// What each thread's scratch must hold, and what the workspace must, after `ck_loop_prepare`.
size_t ck_loop_scratch_bytes(const ck_loop_args *args);
size_t ck_loop_workspace_bytes(const ck_loop_args *args);
/// The entry point for a level; its arguments are a prepared ck_loop_args.
ck_kernel ck_loop(ck_isa isa);

/// Which elements of an operand, counted from its data, thread `index` of `count` touches. False
/// where that is no region: then any thread may touch any of them.
bool ck_loop_region(const ck_loop_args *args, int32_t operand, int32_t index, int32_t count,
                    ck_region *region);

// MARK: More dimensions than the machine has

/// Dimensions around a loop's own, at most.
#define CK_LOOP_OUTER_DIMS 16

/// A prepared loop, run for each place of `dims` more dimensions, none of which it reduces. One
/// block of memory: this header, `dims` extents, for each operand `dims` strides in elements (both
/// int64_t), and at `loop_offset` bytes from its start the loop's block of `loop_bytes`.
typedef struct ck_loop_outer_args {
  int32_t dims;
  int32_t isa;  // ck_isa, of the loop
  int64_t loop_offset;
  int64_t loop_bytes;
} ck_loop_outer_args;

size_t ck_loop_outer_scratch_bytes(const ck_loop_outer_args *args);
/// The entry point for all levels; its arguments are a ck_loop_outer_args.
void ck_loop_outer(const void *args, const ck_thread *t);

// MARK: As a matrix product's epilogue

/// Like `ck_loop_prepare`, for a map over [batch, rows, columns] (always three dimensions, extents
/// unused) that `ck_loop_block` runs piece by piece. Collapses nothing.
bool ck_loop_prepare_block(ck_loop_args *args);

/// Runs an elementwise program on a block: batch `batch`, rows [row, row + rows), columns
/// [column, column + columns). Where `tile` is given, operand 0 is read from it instead of its
/// data: element (row + i, column + j) is tile[i * tile_stride + j], f32. `scratch` holds
/// `ck_loop_scratch_bytes`. Single-threaded.
typedef void (*ck_loop_block_fn)(const ck_loop_args *args, void *scratch, int64_t batch,
                                 int64_t row, int64_t rows, int64_t column, int64_t columns,
                                 const float *tile, int64_t tile_stride);
ck_loop_block_fn ck_loop_block(ck_isa isa);

// MARK: One program over many arrays

/// One array of a multi-tensor loop: `count` elements at data[i] for each operand i that is not
/// shared. In memory `operands` pointers follow the two numbers.
typedef struct ck_loop_segment {
  int64_t count;
  int64_t first_tile;  // set by ck_loop_multi_prepare
  void *data[];
} ck_loop_segment;

/// One block of memory: this header, `operands` ck_loop_operand (stride[0] 1: an array of each
/// segment; 0: a scalar at `data`, shared), the instructions, then the segments.
typedef struct ck_loop_multi_args {
  int32_t segments;
  int32_t reserved;
  int64_t tiles;      // set by ck_loop_multi_prepare
  ck_loop_args loop;  // dims = 1, reduced_dims = 0
} ck_loop_multi_args;

static inline size_t ck_loop_segment_bytes(int32_t operands) {
  return sizeof(ck_loop_segment) + (size_t)operands * sizeof(void *);
}
/// Where segment i starts, in bytes from the start of the block.
static inline size_t ck_loop_segment_offset(int32_t operands, int32_t instructions, int32_t i) {
  return offsetof(ck_loop_multi_args, loop) + ck_loop_args_bytes(operands, instructions) +
         (size_t)i * ck_loop_segment_bytes(operands);
}

bool ck_loop_multi_prepare(ck_loop_multi_args *args);
size_t ck_loop_multi_scratch_bytes(const ck_loop_multi_args *args);
/// Which elements of a segment's arrays thread `index` of `count` touches.
ck_region ck_loop_multi_region(const ck_loop_multi_args *args, int32_t segment, int32_t index,
                               int32_t count);
ck_kernel ck_loop_multi(ck_isa isa);

// MARK: The list of levels, for tests and benchmarks

typedef struct ck_loop_kernel_row {
  ck_isa isa;
  const char *name;
  ck_kernel kernel;
  ck_loop_block_fn block;
  const char *multi_name;
  ck_kernel multi;
} ck_loop_kernel_row;

/// The rows of loop_kernels.inc.
const ck_loop_kernel_row *ck_loop_kernel_rows(int32_t *count);

#ifdef __cplusplus
}
#endif

#endif
