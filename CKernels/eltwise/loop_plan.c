// What ck_loop_prepare works out once, so that a run decides nothing: whether the program is well
// formed, which way to walk the domain, the shape of the tiles, what can be done once.
//
// The order of a loop's dimensions is only a suggestion. A map keeps it, but for a transposed
// operand it brings the dimension along which that one is dense next to the last, so that tiles are
// square. A reduction that nothing walks again after is run by columns where its operands are dense
// along a kept dimension, by rows where they are along a reduced one.
#include "loop_plan.h"

#include <string.h>

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// MARK: The domain

static void permute(ck_loop_args *args, const int *order, int count) {
  int64_t extent[CK_LOOP_DIMS];
  for (int d = 0; d < count; d++) extent[d] = args->extent[order[d]];
  memcpy(args->extent, extent, sizeof(int64_t) * (size_t)count);
  for (int o = 0; o < args->operands; o++) {
    ck_loop_operand *operand = &ck_loop_operands(args)[o];
    int64_t stride[CK_LOOP_DIMS];
    for (int d = 0; d < count; d++) stride[d] = operand->stride[order[d]];
    memcpy(operand->stride, stride, sizeof(int64_t) * (size_t)count);
  }
  args->dims = count;
}

/// Joins dimensions d and d + 1 where every operand lies so.
static bool join(ck_loop_args *args, int d) {
  ck_loop_operand *operands = ck_loop_operands(args);
  for (int o = 0; o < args->operands; o++) {
    if (operands[o].stride[d] != operands[o].stride[d + 1] * args->extent[d + 1]) return false;
  }
  args->extent[d + 1] *= args->extent[d];
  int order[CK_LOOP_DIMS];
  for (int k = 0; k < args->dims - 1; k++) order[k] = k < d ? k : k + 1;
  permute(args, order, args->dims - 1);
  return true;
}

static void insert_unit(ck_loop_args *args, int at) {
  for (int d = args->dims; d > at; d--) args->extent[d] = args->extent[d - 1];
  args->extent[at] = 1;
  for (int o = 0; o < args->operands; o++) {
    int64_t *stride = ck_loop_operands(args)[o].stride;
    for (int d = args->dims; d > at; d--) stride[d] = stride[d - 1];
    stride[at] = 0;
  }
  args->dims++;
}

/// The dimension along which the largest operand that phase 0 loads is dense, or -1.
static int dense_dimension(const ck_loop_args *args) {
  const ck_loop_instruction *code = ck_loop_instructions(args);
  int best = -1;
  int64_t most = 0;
  for (int i = 0; i < args->instructions && code[i].phase == 0; i++) {
    if (code[i].op != CK_OP_load) continue;
    const ck_loop_operand *operand = &ck_loop_operands(args)[code[i].a];
    if (operand->flags & CK_LOOP_INDEX) continue;
    int64_t size = 1;
    int dense = -1;
    for (int d = 0; d < args->dims; d++) {
      if (operand->stride[d] != 0) size *= args->extent[d];
      if (operand->stride[d] == 1 && args->extent[d] > 1) dense = d;
    }
    if (dense >= 0 && size > most) {
      most = size;
      best = dense;
    }
  }
  return best;
}

/// Whether no instruction after phase 0 depends on the reduced dimensions.
static bool only_reduces(const ck_loop_args *args) {
  const ck_loop_instruction *code = ck_loop_instructions(args);
  for (int i = 0; i < args->instructions; i++) {
    if (code[i].phase > 0 && !(code[i].flags & CK_LOOP_ROW)) return false;
  }
  return true;
}

/// Orders and joins the dimensions, and chooses the kind.
static void arrange(ck_loop_args *args) {
  const int first = args->first_reduced, last = first + args->reduced_dims;
  int kept[CK_LOOP_DIMS], reduced[CK_LOOP_DIMS], order[CK_LOOP_DIMS];
  int kept_count = 0, reduced_count = 0, count = 0;
  const int dense = dense_dimension(args);
  for (int d = 0; d < args->dims; d++) {
    if (args->extent[d] == 1) continue;
    if (d >= first && d < last) {
      if (d != dense) reduced[reduced_count++] = d;
    } else {
      kept[kept_count++] = d;
    }
  }
  const bool is_reduction = args->reduced_dims > 0;
  const bool dense_is_reduced = dense >= first && dense < last;
  if (is_reduction && dense_is_reduced) reduced[reduced_count++] = dense;
  args->kind = is_reduction ? 1 : 0;
  if (is_reduction && dense >= 0 && !dense_is_reduced && kept_count > 0 && only_reduces(args)) {
    args->kind = 2;
  }
  for (int k = 0; k < kept_count; k++) {
    if (args->kind != 2 || kept[k] != dense) order[count++] = kept[k];
  }
  args->first_reduced = count;
  for (int k = 0; k < reduced_count; k++) order[count++] = reduced[k];
  args->reduced_dims = reduced_count;
  if (args->kind == 2) order[count++] = dense;
  permute(args, order, count);

  // Join within each group, from the inside.
  for (int d = args->dims - 2; d >= 0; d--) {
    const int end = args->first_reduced + args->reduced_dims;
    const bool crosses = d + 1 == args->first_reduced || d + 1 == end;
    if (is_reduction && crosses) continue;
    const bool inside = d >= args->first_reduced && d + 1 < end;
    if (join(args, d)) {
      if (inside) {
        args->reduced_dims--;
      } else if (d < args->first_reduced) {
        args->first_reduced--;
      }
    }
  }
  if (is_reduction && args->reduced_dims == 0) {
    insert_unit(args, args->first_reduced);
    args->reduced_dims = 1;
  }
  if (args->dims == 0) insert_unit(args, 0);
  if (args->kind == 0) args->first_reduced = 0;
}

/// A map whose operand is dense along another dimension than the last: brings that one next to it.
static bool arrange_transposed(ck_loop_args *args) {
  const int inner = args->dims - 1;
  for (int o = 0; o < args->operands; o++) {
    const ck_loop_operand *operand = &ck_loop_operands(args)[o];
    if (operand->flags & CK_LOOP_INDEX) continue;
    if (operand->stride[inner] == 0 || operand->stride[inner] == 1) continue;
    for (int d = 0; d < inner; d++) {
      if (operand->stride[d] != 1) continue;
      int order[CK_LOOP_DIMS], count = 0;
      for (int k = 0; k < inner; k++) {
        if (k != d) order[count++] = k;
      }
      order[count++] = d;
      order[count++] = inner;
      permute(args, order, count);
      return true;
    }
  }
  return false;
}

// MARK: Tiles

static int64_t product(const ck_loop_args *args, int from, int to) {
  int64_t p = 1;
  for (int d = from; d < to; d++) p *= args->extent[d];
  return p;
}

/// How many elements a tile may have: more where few slots need memory of their own, so that those
/// stay within half of a small L1 cache, and where `elements` make enough work to share out all the
/// same.
static int64_t tile_limit(const ck_loop_args *args, int64_t elements, bool square) {
  // Large tiles would have memory read and write by turns where outputs pass the caches.
  if ((args->streams && !square) || args->slot_bytes > CK_LOOP_TILE * 4) return CK_LOOP_TILE;
  const ck_loop_instruction *code = ck_loop_instructions(args);
  const int inner = args->dims - 1;
  uint64_t busy = 0;
  for (int i = args->once; i < args->instructions; i++) {
    const ck_loop_instruction *at = &code[i];
    if (at->op == CK_OP_store || (at->flags & CK_LOOP_ROW)) continue;
    if (at->op == CK_OP_load) {
      const ck_loop_operand *operand = &ck_loop_operands(args)[at->a];
      const bool native = operand->dtype == CK_F32 || operand->dtype == CK_I32;
      if (native && operand->stride[inner] == 1 && !(operand->flags & CK_LOOP_INDEX)) continue;
    }
    if (!ck_op_describe(at->op)->reduces) busy |= 1ull << at->dst;
  }
  const int64_t slots = __builtin_popcountll(busy);
  int64_t limit = CK_LOOP_TILE;
  while (limit < LOOP_TILE_MOST && slots * 2 * limit * 4 <= 16384 && elements / (2 * limit) >= 16) {
    limit *= 2;
  }
  return limit;
}

/// The shape of a tile over dimensions [from, dims), of at most `limit` elements, and how many
/// there are.
static void cut(ck_loop_args *args, int from, int64_t limit, bool square) {
  if (limit > CK_LOOP_TILE) args->slot_bytes = (int32_t)limit * 4;
  const int64_t length = args->extent[args->dims - 1];
  const bool has_rows = args->dims - from >= 2;
  const int64_t height = has_rows ? args->extent[args->dims - 2] : 1;
  int64_t columns = length, rows = 1;
  if (length == 0) {
    columns = 1;
  } else if (square) {
    columns = min64(length, limit < LOOP_TILE_MOST ? 32 : 64);
    rows = min64(height, limit / columns);
  } else if (length > limit) {
    columns = ceil_div(ceil_div(length, ceil_div(length, limit)), 16) * 16;
  } else {
    rows = min64(height, limit / length);
  }
  args->tile_columns = columns;
  args->tile_rows = rows > 0 ? rows : 1;
  args->column_blocks = ceil_div(length, args->tile_columns);
  args->row_blocks = ceil_div(height, args->tile_rows);
  args->tiles = args->row_blocks * args->column_blocks;
  for (int d = from; d < args->dims - 2; d++) args->tiles *= args->extent[d];
}

/// Elements that make a part of a reduction worth a thread's while.
enum { PART_ELEMENTS = 32768 };

static void cut_rows(ck_loop_args *args) {
  const int from = args->first_reduced;
  const int64_t length = product(args, from, args->dims);
  const int64_t rows = product(args, 0, from);
  const int64_t limit = tile_limit(args, product(args, 0, args->dims), false);
  // Long rows are packed where a slot need not hold a row's result all over the row.
  const int64_t longest = length % 16 == 0 ? limit / 2 : CK_LOOP_TILE / 2;
  if (args->reduced_dims == 1 && from >= 1 && length > 0 && length <= longest) {
    args->packed = 1;
    cut(args, 0, limit, false);
    args->units = args->tiles;
    args->tiles = 1;
    return;
  }
  cut(args, from, limit, false);
  args->units = rows;
  // Few long rows are cut into parts, which threads share.
  const int64_t elements = args->tile_rows * args->tile_columns;
  const int64_t wanted = ceil_div(PART_ELEMENTS, elements > 0 ? elements : 1);
  if (rows < 32 && args->tiles >= 2 * wanted) {
    args->part_tiles = wanted;
    args->parts = ceil_div(args->tiles, wanted);
    return;
  }
  if (args->tiles < 2 || args->tiles > 16) return;
  const ck_loop_instruction *code = ck_loop_instructions(args);
  for (int i = args->once; i < args->instructions; i++) {
    const bool repeats = (code[i].flags & CK_LOOP_REPEAT) && !(code[i].flags & CK_LOOP_NEVER);
    if (repeats && code[i].op != CK_OP_load) args->kept |= 1ull << code[i].dst;
  }
  if (args->kept) args->row_tiles = (int32_t)args->tiles;
}

/// Whether an operand is memory that lies as a slot would.
static bool is_native(const ck_loop_operand *operand) {
  const int16_t dtype = operand->dtype;
  if (operand->flags & CK_LOOP_INDEX) return false;
  return dtype == CK_F32 || dtype == CK_I32 || dtype == CK_I64;
}

/// Whether phase 0 does nothing but reduce operands as they lie.
static bool only_folds(const ck_loop_args *args) {
  const ck_loop_instruction *code = ck_loop_instructions(args);
  for (int i = args->once; i < args->phase_end[0]; i++) {
    if (code[i].op == CK_OP_load) {
      const ck_loop_operand *operand = &ck_loop_operands(args)[code[i].a];
      if (!is_native(operand) || operand->stride[args->dims - 1] != 1) return false;
    } else if (code[i].op == CK_OP_store || !ck_op_describe(code[i].op)->reduces) {
      return false;
    }
  }
  return true;
}

static void cut_columns(ck_loop_args *args) {
  const int from = args->first_reduced;
  cut(args, from, tile_limit(args, product(args, 0, args->dims), false), false);
  args->views = only_folds(args);
  if (args->views) {
    const int64_t columns = args->tile_columns;
    const int64_t height = args->extent[args->dims - 2];
    const int64_t rows = min64(height, columns < 128 ? 8192 / columns : 64);
    args->tiles /= args->row_blocks > 0 ? args->row_blocks : 1;
    args->tile_rows = rows > 0 ? rows : 1;
    args->row_blocks = ceil_div(height, args->tile_rows);
    args->tiles *= args->row_blocks;
  }
  // cut() took the reduced dimensions and the columns; a unit is one block of columns.
  args->tiles /= args->column_blocks > 0 ? args->column_blocks : 1;
  args->units = product(args, 0, from) * args->column_blocks;
  const int64_t elements = args->tile_rows * args->tile_columns;
  const int64_t wanted = ceil_div(65536, elements > 0 ? elements : 1);
  if (args->units < 32 && args->tiles >= 2 * wanted) {
    args->part_tiles = wanted;
    args->parts = ceil_div(args->tiles, wanted);
  }
}

// MARK: Outputs made in place

/// Lets the instruction that makes an output's slot write straight into the output, where slot and
/// memory have the same form, and notes until when an input's memory is read.
static void connect(ck_loop_args *args) {
  const loop_facts f = loop_gather(args);
  ck_loop_operand *operands = ck_loop_operands(args);
  ck_loop_instruction *code = ck_loop_instructions(args);
  args->single = 0;
  for (int s = 0; s < CK_LOOP_SLOTS; s++) {
    if (f.writers[s] == 1 && !f.repeats[s]) args->single |= 1ull << s;
  }
  for (int o = 0; o < args->operands; o++) operands[o].access = 0;
  uint64_t taken = 0;
  for (int i = args->once; i < args->instructions; i++) {
    if (code[i].op == CK_OP_load) {
      const bool single = (args->single >> code[i].dst) & 1;
      int32_t until = single ? f.last_read[code[i].dst] : args->instructions;
      until = until > i ? until : i;
      ck_loop_operand *operand = &operands[code[i].a];
      if (until > LOOP_INDEX_OF(operand->access)) operand->access = LOOP_ACCESS_INPUT(until);
    }
    if (code[i].op != CK_OP_store) continue;
    operands[code[i].b].access = LOOP_ACCESS_STORED;
    const int slot = code[i].a;
    const int32_t writer = f.writer[slot];
    const ck_loop_instruction *maker = &code[writer];
    const int16_t dtype = operands[code[i].b].dtype;
    const bool native = dtype == CK_F32 || dtype == CK_I32 || dtype == CK_I64;
    const bool plain = maker->op != CK_OP_load && !ck_op_describe(maker->op)->reduces &&
                       !(maker->flags & CK_LOOP_ROW) && !(code[i].flags & CK_LOOP_ROW);
    if (!native || !plain || writer < args->once || maker->phase != code[i].phase) continue;
    if (!((args->single >> slot) & 1) || f.last_phase[slot] > code[i].phase) continue;
    if ((taken >> slot) & 1) continue;
    taken |= 1ull << slot;
    const bool last = f.reads[slot] == 1 && ck_op_describe(maker->op)->result == CK_CLASS_F32;
    operands[code[i].b].access = LOOP_ACCESS_DIRECT(slot, writer) | (last ? LOOP_ACCESS_LAST : 0);
  }
}

/// Whether a map is one operation on arrays without gaps that it can write where the result goes,
/// so that a thread's share need not be cut into tiles.
static bool is_span(const ck_loop_args *args) {
  if (args->kind != 0 || args->dims != 1) return false;
  const ck_loop_instruction *code = ck_loop_instructions(args);
  int32_t operations = 0, stores = 0;
  for (int i = args->once; i < args->instructions; i++) {
    if (code[i].op == CK_OP_load) {
      const ck_loop_operand *operand = &ck_loop_operands(args)[code[i].a];
      if (!is_native(operand) || operand->stride[0] != 1) return false;
    } else if (code[i].op == CK_OP_store) {
      const ck_loop_operand *operand = &ck_loop_operands(args)[code[i].b];
      if (!LOOP_IS_DIRECT(operand->access) || operand->stride[0] != 1) return false;
      stores++;
    } else {
      operations++;
    }
  }
  return operations == 1 && stores == 1 && code[args->instructions - 1].op == CK_OP_store;
}

// MARK: The entry points

/// Whether the outputs are so large that they leave the cache before anybody reads them.
static bool is_large(const ck_loop_args *args) {
  int64_t bytes = 0;
  const ck_loop_instruction *code = ck_loop_instructions(args);
  const int64_t elements = product(args, 0, args->dims);
  for (int i = 0; i < args->instructions; i++) {
    if (code[i].op == CK_OP_store) {
      bytes += elements * (int64_t)loop_dtype_bytes(ck_loop_operands(args)[code[i].b].dtype);
    }
  }
  return bytes >= ck_cache_bytes() / 4 * 3;
}

static void begin(ck_loop_args *args) {
  args->joined = 0;
  ck_loop_instruction *code = ck_loop_instructions(args);
  for (int i = 0; i < args->instructions; i++) code[i].flags &= CK_LOOP_REPEAT;
  loop_join(args);
  args->kept = 0;
  args->row_tiles = 1;
  args->packed = 0;
  args->streams = 0;
  args->views = 0;
  args->spans = 0;
  args->chain = (ck_loop_chain){0};
  args->part_tiles = 0;
  args->parts = 1;
  args->slots = 0;
  args->phases = 1;
  args->reductions = 0;
  args->slot_bytes = CK_LOOP_TILE * 4;
  for (int i = 0; i < args->instructions; i++) {
    if (code[i].phase >= args->phases) args->phases = code[i].phase + 1;
    if (code[i].op == CK_OP_store) continue;
    if (code[i].dst >= args->slots) args->slots = code[i].dst + 1;
    const ck_op_info *info = ck_op_describe(code[i].op);
    // What an operation does not read is slot 0, which exists.
    if (info->arity < 1 && code[i].op != CK_OP_load) code[i].a = 0;
    if (info->arity < 2 && !(code[i].flags & CK_LOOP_PRODUCT)) code[i].b = 0;
    if (info->arity < 3) code[i].c = 0;
    // A reduction finds its accumulator by number.
    if (info->reduces) code[i].c = (uint8_t)args->reductions++;
    const bool loads_wide =
        code[i].op == CK_OP_load && ck_loop_operands(args)[code[i].a].dtype == CK_I64;
    if (info->result == CK_CLASS_I64 || loads_wide) args->slot_bytes = CK_LOOP_TILE * 8;
  }
}

bool ck_loop_prepare(ck_loop_args *args) {
  if (!loop_is_valid(args)) return false;
  begin(args);
  if (args->reductions > LOOP_REDUCTIONS) return false;
  const bool is_reduction = args->reduced_dims > 0;
  if (is_reduction) {
    const int first = args->first_reduced;
    loop_mark_still(args, first, first + args->reduced_dims, true, CK_LOOP_ROW);
  }
  if (!loop_phases_fit(args)) return false;
  arrange(args);
  const bool square = args->kind == 0 && arrange_transposed(args);
  loop_hoist(args);
  if (args->kind == 0) {
    args->streams = is_large(args);
    cut(args, 0, tile_limit(args, product(args, 0, args->dims), square), square);
    args->units = args->tiles;
  } else if (args->kind == 1) {
    cut_rows(args);
  } else {
    cut_columns(args);
  }
  if (args->parts == 1) args->part_tiles = args->tiles;
  connect(args);
  args->spans = is_span(args);
  loop_find_chain(args);
  return true;
}

bool ck_loop_prepare_block(ck_loop_args *args) {
  if (args->dims != 3 || args->reduced_dims != 0 || !loop_is_valid(args)) return false;
  begin(args);
  if (args->phases > 1) return false;
  args->kind = 0;
  args->tile_rows = args->tile_columns = 0;
  // The extents are unknown here: no dimension may pass for one of extent 1.
  for (int d = 0; d < 3; d++) args->extent[d] = INT64_MAX;
  loop_hoist(args);
  connect(args);
  return true;
}

bool ck_loop_multi_prepare(ck_loop_multi_args *args) {
  ck_loop_args *loop = &args->loop;
  if (loop->dims != 1 || loop->reduced_dims != 0) return false;
  loop->extent[0] = INT64_MAX;
  if (!loop_is_valid(loop)) return false;
  begin(loop);
  if (loop->phases > 1) return false;
  loop->kind = 0;
  loop_hoist(loop);
  int64_t elements = 0;
  for (int i = 0; i < args->segments; i++) elements += loop_segment(args, i)->count;
  const int64_t limit = tile_limit(loop, elements, false);
  if (limit > CK_LOOP_TILE) loop->slot_bytes = (int32_t)limit * 4;
  loop->tile_rows = 1;
  loop->tile_columns = limit;
  connect(loop);
  args->tiles = 0;
  for (int i = 0; i < args->segments; i++) {
    ck_loop_segment *segment = loop_segment(args, i);
    segment->first_tile = args->tiles;
    args->tiles += ceil_div(segment->count, limit);
  }
  return true;
}

size_t ck_loop_scratch_bytes(const ck_loop_args *args) { return loop_layout_of(args).bytes; }
size_t ck_loop_multi_scratch_bytes(const ck_loop_multi_args *args) {
  return loop_layout_of(&args->loop).bytes;
}

size_t ck_loop_workspace_bytes(const ck_loop_args *args) {
  if (args->kind == 0 || args->parts <= 1) return 0;
  return (size_t)args->units * (size_t)args->parts * loop_partial_bytes(args);
}
