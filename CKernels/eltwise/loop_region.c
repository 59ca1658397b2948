// Which elements of each operand a thread touches: for plans, which leave out barriers by it.
//
// A thread takes consecutive tiles, which are mostly consecutive elements of the domain; an operand
// that lies over the domain in a simple way is then touched in one region. Where it is not simple,
// the answer is that it is not known.
#include "loop_plan.h"

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t product(const ck_loop_args *args, int from, int to) {
  int64_t p = 1;
  for (int d = from; d < to; d++) p *= args->extent[d];
  return p;
}

/// The domain's elements before tile `index` of all dimensions, in row-major order.
static int64_t elements_before(const ck_loop_args *args, int64_t index) {
  const int last = args->dims - 1;
  const int64_t length = args->extent[last];
  const int64_t height = args->dims > 1 ? args->extent[last - 1] : 1;
  const int64_t blocks = args->column_blocks, rest = index / blocks;
  const int64_t above = rest / args->row_blocks, row = rest % args->row_blocks * args->tile_rows;
  return (above * height + min64(row, height)) * length + index % blocks * args->tile_columns;
}

/// Whether dimensions [from, to) of the operand are walked in steps of `step`: dense but for that.
static bool is_even(const ck_loop_args *args, const int64_t *stride, int from, int to,
                    int64_t step) {
  for (int d = to - 1; d >= from; d--) {
    if (args->extent[d] == 1) continue;
    if (stride[d] != step) return false;
    step *= args->extent[d];
  }
  return true;
}

static bool is_still(const ck_loop_args *args, const int64_t *stride, int from, int to) {
  for (int d = from; d < to; d++) {
    if (args->extent[d] != 1 && stride[d] != 0) return false;
  }
  return true;
}

/// The operand's elements over the domain's elements [low, high), row-major.
static bool region_of_elements(const ck_loop_args *args, const int64_t *stride, int64_t low,
                               int64_t high, ck_region *region) {
  if (low >= high) {
    *region = (ck_region){0};
    return true;
  }
  // One element for all places of the inner dimensions, or dense ones.
  for (int d = args->dims; d >= 0; d--) {
    if (!is_still(args, stride, d, args->dims)) break;
    const int64_t inner = product(args, d, args->dims);
    if (inner == 0 || !is_even(args, stride, 0, d, 1)) continue;
    const int64_t first = low / inner, end = (high + inner - 1) / inner;
    *region = (ck_region){first, end - first, end - first, 1};
    return true;
  }
  // Dense rows further apart.
  const int last = args->dims - 1;
  if (args->dims < 2 || stride[last] != 1) return false;
  const int64_t length = args->extent[last], pitch = stride[last - 1];
  if (pitch < length || !is_even(args, stride, 0, last, pitch)) return false;
  const int64_t first = low / length, end = (high + length - 1) / length;
  *region = (ck_region){first * pitch, length, pitch, end - first};
  return true;
}

/// A reduction by columns whose blocks are each one thread's.
static bool region_of_columns(const ck_loop_args *args, const int64_t *stride, int64_t begin,
                              int64_t end, ck_region *region) {
  const int first = args->first_reduced, last = args->dims - 1;
  if (product(args, 0, first) != 1 || stride[last] != 1) return false;
  const int64_t low = begin * args->tile_columns;
  const int64_t high = min64(end * args->tile_columns, args->extent[last]);
  *region = (ck_region){low, high - low, high - low, 1};
  if (is_still(args, stride, first, last)) return true;
  const int64_t pitch = stride[last - 1];
  if (pitch < args->extent[last] || !is_even(args, stride, first, last, pitch)) return false;
  *region = (ck_region){low, high - low, pitch, product(args, first, last)};
  return true;
}

static bool is_stored(const ck_loop_args *args, int32_t operand) {
  const ck_loop_instruction *code = ck_loop_instructions(args);
  for (int32_t i = 0; i < args->instructions; i++) {
    if (code[i].op == CK_OP_store && code[i].b == operand) return true;
  }
  return false;
}

bool ck_loop_region(const ck_loop_args *args, int32_t operand, int32_t index, int32_t count,
                    ck_region *region) {
  const ck_loop_operand *o = &ck_loop_operands(args)[operand];
  if ((o->flags & CK_LOOP_INDEX) || args->parts > 1) return false;
  if (is_still(args, o->stride, 0, args->dims) && !is_stored(args, operand)) {
    // Read by every thread, even by one that then has nothing to do.
    *region = (ck_region){0, 1, 1, 1};
    return true;
  }
  const ck_thread thread = {.index = index, .count = count};
  int64_t begin, end;
  ck_share(args->units, &thread, &begin, &end);
  if (begin == end) {
    *region = (ck_region){0};
    return true;
  }
  if (args->kind == 2) return region_of_columns(args, o->stride, begin, end, region);
  if (args->kind == 1 && !args->packed) {
    const int64_t row = product(args, args->first_reduced, args->dims);
    return region_of_elements(args, o->stride, begin * row, end * row, region);
  }
  // Tiles of several rows and of a part of the columns are not consecutive.
  if (args->tile_rows > 1 && args->column_blocks > 1) return false;
  return region_of_elements(
      args, o->stride, elements_before(args, begin),
      end == args->units ? product(args, 0, args->dims) : elements_before(args, end), region);
}

ck_region ck_loop_multi_region(const ck_loop_multi_args *args, int32_t segment, int32_t index,
                               int32_t count) {
  const ck_thread thread = {.index = index, .count = count};
  int64_t begin, end;
  ck_share(args->tiles, &thread, &begin, &end);
  const ck_loop_segment *s = loop_segment(args, segment);
  const int64_t tile = args->loop.tile_columns;
  int64_t low = (begin - s->first_tile) * tile, high = (end - s->first_tile) * tile;
  low = min64(low > 0 ? low : 0, s->count);
  high = min64(high > 0 ? high : 0, s->count);
  return (ck_region){low, high - low, high - low, 1};
}
