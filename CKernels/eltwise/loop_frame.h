// A thread's state while it runs a loop: where each slot's elements are, and which tile of the
// domain it works on. A part of loop_body.h.
#ifndef LOOP_FRAME_H
#define LOOP_FRAME_H

/// A slot's step where it holds a vector a row, 16 elements apart, because a row's elements are the
/// same; and where it holds one row, because the rows are.
enum { BY_ROW = 1, ONE_ROW = 2 };

/// Where a slot's elements are now: in its own memory, or straight in an operand's. `step` is the
/// distance from vector to vector in elements: 16, or 0 where all elements are the same, or one of
/// the above.
typedef struct slot {
  char *p;
  int64_t step;
} slot;

/// What a loaded pattern was copied from, so that the next tile need not copy it again.
typedef struct source {
  const void *p;
  int64_t rows, columns;
} source;

typedef struct frame {
  const ck_loop_args *args;
  const ck_loop_operand *operands;
  const ck_loop_instruction *code;
  loop_layout layout;
  char *scratch;
  bool packed;  // a reduction's result is spread over its rows within the tile at once

  // The tile: `rows` x `columns` from the coordinates `at` on, `count` elements in all. Its rows
  // run along dimension dims - 2, its columns along the last.
  int dims;
  int64_t at[CK_LOOP_DIMS];
  int64_t rows, columns;
  int64_t count, vectors;
  bool by_rows;  // slots may hold a vector a row, or one row

  uint64_t streams;                 // operands (the first 64) that are written past the cache
  uint64_t direct;                  // operands (the first 64) that their makers write to
  uint64_t past;                    // slots whose makers now write past the cache
  int64_t blocks[LOOP_REDUCTIONS];  // combined so far, see loop_reduce.h
  int64_t
      pending[LOOP_REDUCTIONS];  // what the block being made holds: tiles (rows), rows (columns)
  bool fetches;                  // columns: operands are larger than the cache
  int64_t *pitch;  // columns: the distance of rows where slots are views of operands, else NULL
  uint8_t phase_has[CK_LOOP_PHASES];  // rows: see loop_rows.h
  void *const *segment;               // multi: the arrays' pointers
  const float *tile;                  // block: what operand 0 is read from
  int64_t tile_stride, tile_at[2];
  slot slots[CK_LOOP_SLOTS];
  char *own[CK_LOOP_SLOTS];
  source from[CK_LOOP_SLOTS];
  uint32_t varies[CK_LOOP_SLOTS];  // kept slots: the tiles, as bits, whose elements are not all one
} frame;

/// The slot's own memory.
CK_INLINE char *own_memory(const frame *f, int s) {
  return f->scratch + (size_t)s * f->layout.slot_stride;
}

/// Tile `index` of a row in slot s, which is kept.
CK_INLINE char *kept_memory(const frame *f, int s, int64_t index) {
  const int place = __builtin_popcountll(f->args->kept & ((1ull << s) - 1));
  return f->scratch + f->layout.kept + (size_t)place * f->layout.kept_stride +
         (size_t)index * (size_t)f->args->slot_bytes;
}

/// The operand's first element of the tile.
CK_INLINE char *operand_at(const frame *f, int o) {
  const ck_loop_operand *operand = &f->operands[o];
  const size_t size = loop_dtype_bytes(operand->dtype);
  if (f->segment) {
    if (operand->stride[0] == 0) return operand->data;
    return (char *)f->segment[o] + (size_t)f->at[0] * size;
  }
  int64_t offset = 0;
  for (int d = 0; d < f->dims; d++) offset += f->at[d] * operand->stride[d];
  return (char *)operand->data + offset * (int64_t)size;
}

/// How the tile of an operand lies: the strides along its rows and columns.
CK_INLINE int64_t row_stride(const frame *f, const ck_loop_operand *operand) {
  return f->dims >= 2 ? operand->stride[f->dims - 2] : 0;
}
CK_INLINE int64_t column_stride(const frame *f, const ck_loop_operand *operand) {
  return operand->stride[f->dims - 1];
}

CK_INLINE bool is_contiguous(const frame *f, int64_t by_row, int64_t by_column) {
  return (by_column == 1 || f->columns == 1) && (f->rows == 1 || by_row == f->columns);
}

static void frame_begin(frame *f, const ck_loop_args *args, void *scratch) {
  f->args = args;
  f->operands = ck_loop_operands(args);
  f->code = ck_loop_instructions(args);
  f->layout = loop_layout_of(args);
  f->scratch = scratch;
  f->packed = args->packed != 0;
  f->dims = args->dims;
  f->segment = NULL;
  f->pitch = NULL;
  f->fetches = false;
  f->tile = NULL;
  f->direct = f->streams = f->past = 0;
  for (int d = 0; d < f->dims; d++) f->at[d] = 0;
  for (int s = 0; s < args->slots; s++) {
    f->own[s] = own_memory(f, s);
    f->slots[s].p = f->own[s];
    f->slots[s].step = 16;
    f->from[s].p = NULL;
  }
}

/// Settles which outputs are made in place (not where an input that shares the memory is read
/// after), and which go past the cache (not where an input has just brought the memory into it).
static void frame_connect(frame *f) {
  const int32_t count = f->args->operands < 64 ? f->args->operands : 64;
  for (int32_t o = 0; o < count; o++) {
    const int32_t access = f->operands[o].access;
    if (!LOOP_IS_OUTPUT(access)) continue;
    const void *output = f->segment ? f->segment[o] : f->operands[o].data;
    bool clear = true, alone = true;
    for (int32_t i = 0; i < f->args->operands; i++) {
      const int32_t other = f->operands[i].access;
      if (other == 0 || LOOP_IS_OUTPUT(other)) continue;
      const bool own = f->segment && f->operands[i].stride[0] != 0;
      if ((own ? f->segment[i] : f->operands[i].data) != output) continue;
      alone = false;
      clear = clear && LOOP_INDEX_OF(other) <= LOOP_INDEX_OF(access);
    }
    if (alone && f->args->streams) {
      f->streams |= 1ull << o;
      if (LOOP_IS_LAST(access)) f->direct |= 1ull << o;
    } else if (clear && LOOP_IS_DIRECT(access)) {
      f->direct |= 1ull << o;
    }
  }
}

/// Sets the tile's size, once `at` is right, and points the makers of outputs at them.
static void frame_set(frame *f, int64_t rows, int64_t columns) {
  f->rows = rows;
  f->columns = columns;
  f->count = rows * columns;
  f->vectors = (f->count + 15) / 16;
  f->by_rows = columns >= 64 && columns % 16 == 0 && (f->packed || f->args->kind == 0);
  for (uint64_t left = f->direct; left; left &= left - 1) {
    const int o = __builtin_ctzll(left);
    const ck_loop_operand *operand = &f->operands[o];
    const int s = LOOP_SLOT_OF(operand->access);
    bool fits =
        f->count % 16 == 0 && is_contiguous(f, row_stride(f, operand), column_stride(f, operand));
    char *place = operand_at(f, o);
    if ((f->streams >> o) & 1) {
      fits = fits && ((uintptr_t)place & 63) == 0;
      f->past = fits ? f->past | 1ull << s : f->past & ~(1ull << s);
    }
    f->own[s] = fits ? place : own_memory(f, s);
  }
}

/// Moves to tile `index` of those that cover dimensions [from, dims); the coordinates before stay.
static void frame_tile(frame *f, int from, int64_t index) {
  const ck_loop_args *args = f->args;
  const int last = f->dims - 1;
  int64_t block = 0, rest = index;
  if (args->column_blocks > 1) {
    rest = index / args->column_blocks;
    block = index - rest * args->column_blocks;
  }
  f->at[last] = block * args->tile_columns;
  int64_t columns = args->extent[last] - f->at[last];
  if (columns > args->tile_columns) columns = args->tile_columns;
  int64_t rows = 1;
  if (last - 1 >= from) {
    int64_t above = 0;
    if (last - 2 >= from) {
      above = rest / args->row_blocks;
      rest -= above * args->row_blocks;
    }
    f->at[last - 1] = rest * args->tile_rows;
    rows = args->extent[last - 1] - f->at[last - 1];
    if (rows > args->tile_rows) rows = args->tile_rows;
    for (int d = last - 2; d >= from; d--) {
      f->at[d] = d > from ? above % args->extent[d] : above;
      above /= args->extent[d];
    }
  }
  frame_set(f, rows, columns);
}

/// Sets the coordinates of dimensions [0, to) to those of the `index`-th place there.
static void frame_place(frame *f, int to, int64_t index) {
  for (int d = to - 1; d > 0; d--) {
    f->at[d] = index % f->args->extent[d];
    index /= f->args->extent[d];
  }
  if (to > 0) f->at[0] = index;
}

#endif
