// Tiles between memory and slots: conversion of storage types, broadcasts, strided and transposed
// access. A part of loop_body.h.
#ifndef LOOP_MEMORY_H
#define LOOP_MEMORY_H

// MARK: Runs of elements that lie side by side

/// `count` elements at p into a slot at d; up to 15 elements after them are written too.
static void load_run(int dtype, char *d, const char *p, int64_t count) {
  const int64_t whole = count & ~(int64_t)15;
  const int tail = (int)(count - whole);
  int64_t i = 0;
  switch (dtype) {
    case CK_F32:
    case CK_I32:
      for (; i < whole; i += 16) ck_store(d + 4 * i, ck_load(p + 4 * i));
      if (tail) ck_store(d + 4 * i, ck_load_n(p + 4 * i, tail));
      break;
    case CK_BF16:
      for (; i < whole; i += 16) ck_store(d + 4 * i, ck_from_bf16(ck_load_u16(p + 2 * i)));
      if (tail) ck_store(d + 4 * i, ck_from_bf16(ck_load_u16_n(p + 2 * i, tail)));
      break;
    case CK_F16:
      for (; i < whole; i += 16) ck_store(d + 4 * i, ck_from_f16(ck_load_u16(p + 2 * i)));
      if (tail) ck_store(d + 4 * i, ck_from_f16(ck_load_u16_n(p + 2 * i, tail)));
      break;
    case CK_I64:
      for (; i < whole; i += 16) ck_store_i64(d + 8 * i, ck_load_i64(p + 8 * i));
      if (tail) ck_store_i64(d + 8 * i, ck_load_i64_n(p + 8 * i, tail));
      break;
    case CK_U8:
      for (; i < whole; i += 16) {
        ck_store_i32(d + 4 * i, __builtin_convertvector(ck_load_u8(p + i), ck_v16i));
      }
      if (tail) {
        ck_store_i32(d + 4 * i, __builtin_convertvector(ck_load_u8_n(p + i, tail), ck_v16i));
      }
      break;
    case CK_BOOL:
      for (; i < whole; i += 16) {
        ck_store_i32(d + 4 * i, __builtin_convertvector(ck_load_u8(p + i), ck_v16i) != 0);
      }
      if (tail) {
        ck_store_i32(d + 4 * i, __builtin_convertvector(ck_load_u8_n(p + i, tail), ck_v16i) != 0);
      }
      break;
    default:
      break;
  }
}

/// `count` elements of a slot at s, `step` elements from vector to vector, to memory at p. Reads no
/// more than those: a slot may lie in an operand.
static void store_run(int dtype, char *p, const char *s, int64_t step, int64_t count) {
  const int64_t whole = count & ~(int64_t)15;
  const int tail = (int)(count - whole);
  const int64_t move = step * (dtype == CK_I64 ? 8 : 4);
  int64_t i = 0;
  switch (dtype) {
    case CK_F32:
    case CK_I32:
      for (; i < whole; i += 16, s += move) ck_store(p + 4 * i, ck_load(s));
      if (tail) ck_store_n(p + 4 * i, ck_load_n(s, tail), tail);
      break;
    case CK_BF16:
      for (; i < whole; i += 16, s += move) ck_store_u16(p + 2 * i, ck_to_bf16(ck_load(s)));
      if (tail) ck_store_u16_n(p + 2 * i, ck_to_bf16(ck_load_n(s, tail)), tail);
      break;
    case CK_F16:
      for (; i < whole; i += 16, s += move) ck_store_u16(p + 2 * i, ck_to_f16(ck_load(s)));
      if (tail) ck_store_u16_n(p + 2 * i, ck_to_f16(ck_load_n(s, tail)), tail);
      break;
    case CK_I64:
      for (; i < whole; i += 16, s += move) ck_store_i64(p + 8 * i, ck_load_i64(s));
      if (tail) ck_store_i64_n(p + 8 * i, ck_load_i64_n(s, tail), tail);
      break;
    case CK_U8:
      for (; i < whole; i += 16, s += move) {
        ck_store_u8(p + i, __builtin_convertvector(ck_load_i32(s), ck_v16b));
      }
      if (tail) {
        ck_store_u8_n(p + i, __builtin_convertvector(ck_load_i32_n(s, tail), ck_v16b), tail);
      }
      break;
    case CK_BOOL:
      for (; i < whole; i += 16, s += move) {
        ck_store_u8(p + i, __builtin_convertvector(ck_load_i32(s) & 1, ck_v16b));
      }
      if (tail) {
        ck_store_u8_n(p + i, __builtin_convertvector(ck_load_i32_n(s, tail) & 1, ck_v16b), tail);
      }
      break;
    default:
      break;
  }
}

/// The same past the cache, for f32 and i32: what nobody reads soon should not evict what is.
static void stream_run(char *p, const char *s, int64_t step, int64_t count) {
#if CK_HAS_AVX2
  int64_t i = 0;
  const int64_t lead = (int64_t)((0 - (uintptr_t)p) & 63) / 4;
  if (step == 0 || ((uintptr_t)p & 3) != 0 || count < 64) {
    store_run(CK_F32, p, s, step, count);
    return;
  }
  if (lead) ck_store_n(p, ck_load_n(s, (int)lead), (int)lead);
  for (i = lead; i + 16 <= count; i += 16) {
    __builtin_nontemporal_store(ck_load(s + 4 * i), (ck_v16f *)(void *)(p + 4 * i));
  }
  const int rest = (int)(count - i);
  if (rest) ck_store_n(p + 4 * i, ck_load_n(s + 4 * i, rest), rest);
#else
  store_run(CK_F32, p, s, step, count);
#endif
}

// MARK: Single elements

/// One element in all lanes of the first vector at d.
static void load_splat(int dtype, char *d, const char *p) {
  switch (dtype) {
    case CK_F32:
    case CK_I32: {
      int32_t x;
      memcpy(&x, p, 4);
      ck_store_i32(d, ck_splat_i32(x));
      break;
    }
    case CK_I64: {
      int64_t x;
      memcpy(&x, p, 8);
      ck_store_i64(d, ck_splat_i64(x));
      break;
    }
    case CK_BF16:
    case CK_F16: {
      uint16_t x;
      memcpy(&x, p, 2);
      ck_store(d, dtype == CK_BF16 ? ck_from_bf16((ck_v16h)x) : ck_from_f16((ck_v16h)x));
      break;
    }
    case CK_U8:
      ck_store_i32(d, ck_splat_i32((uint8_t)*p));
      break;
    case CK_BOOL:
      ck_store_i32(d, ck_splat_i32(*p != 0 ? -1 : 0));
      break;
    default:
      break;
  }
}

/// `count` elements `stride` apart.
static void load_strided(int dtype, char *d, const char *p, int64_t stride, int64_t count) {
  if (dtype == CK_F32 || dtype == CK_I32) {
    for (int64_t i = 0; i < count; i++) memcpy(d + 4 * i, p + 4 * i * stride, 4);
  } else if (dtype == CK_I64) {
    for (int64_t i = 0; i < count; i++) memcpy(d + 8 * i, p + 8 * i * stride, 8);
  } else {
    // Gathered in groups that load_run converts.
    const size_t size = loop_dtype_bytes(dtype);
    char group[64 * 2];
    for (int64_t i = 0; i < count; i += 64) {
      const int64_t some = count - i < 64 ? count - i : 64;
      for (int64_t k = 0; k < some; k++) {
        memcpy(group + (size_t)k * size, p + (i + k) * stride * (int64_t)size, size);
      }
      load_run(dtype, d + 4 * i, group, some);
    }
  }
}

static void store_strided(int dtype, char *p, int64_t stride, const char *s, int64_t step,
                          int64_t count) {
  const int64_t size = (int64_t)loop_dtype_bytes(dtype);
  const int64_t move = step * (dtype == CK_I64 ? 8 : 4);
  char group[16 * 8];
  for (int64_t i = 0; i < count; i += 16, s += move) {
    const int64_t some = count - i < 16 ? count - i : 16;
    store_run(dtype, group, s, 16, some);
    for (int64_t k = 0; k < some; k++) {
      memcpy(p + (i + k) * stride * size, group + k * size, (size_t)size);
    }
  }
}

// MARK: Transposed tiles

/// A 16 x 16 block of 4-byte elements turned: d[i * d_stride + j] = p[j * p_stride + i], strides in
/// elements. Four rounds, each of which puts the second half of the vectors between the first.
static void transpose_16(char *d, int64_t d_stride, const char *p, int64_t p_stride) {
  ck_v16f a[16], b[16];
  for (int i = 0; i < 16; i++) a[i] = ck_load(p + 4 * i * p_stride);
#define ROUND(to, from)                                                                          \
  for (int i = 0; i < 8; i++) {                                                                  \
    to[2 * i] = __builtin_shufflevector(from[i], from[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, \
                                        5, 21, 6, 22, 7, 23);                                    \
    to[2 * i + 1] = __builtin_shufflevector(from[i], from[i + 8], 8, 24, 9, 25, 10, 26, 11, 27,  \
                                            12, 28, 13, 29, 14, 30, 15, 31);                     \
  }
  ROUND(b, a)
  ROUND(a, b)
  ROUND(b, a)
  ROUND(a, b)
#undef ROUND
  for (int i = 0; i < 16; i++) ck_store(d + 4 * i * d_stride, a[i]);
}

/// rows x columns of 4-byte elements: d[r * d_stride + c] = p[c * p_stride + r].
static void transpose_tile(char *d, int64_t d_stride, const char *p, int64_t p_stride, int64_t rows,
                           int64_t columns) {
  for (int64_t r = 0; r < rows; r += 16) {
    for (int64_t c = 0; c < columns; c += 16) {
      char *to = d + 4 * (r * d_stride + c);
      const char *from = p + 4 * (c * p_stride + r);
      if (r + 16 <= rows && c + 16 <= columns) {
        transpose_16(to, d_stride, from, p_stride);
        continue;
      }
      const int64_t height = rows - r < 16 ? rows - r : 16;
      const int64_t width = columns - c < 16 ? columns - c : 16;
      for (int64_t j = 0; j < width; j++) {
        for (int64_t i = 0; i < height; i++) {
          memcpy(to + 4 * (i * d_stride + j), from + 4 * (j * p_stride + i), 4);
        }
      }
    }
  }
}

// MARK: Operands

static void load_index(frame *f, int s, const ck_loop_operand *operand, int64_t by_row,
                       int64_t by_column) {
  const bool wide = operand->dtype == CK_I64;
  int64_t start = (int64_t)(intptr_t)operand->data;
  for (int d = 0; d < f->dims; d++) start += f->at[d] * operand->stride[d];
  char *d = f->own[s];
  f->slots[s].p = d;
  if ((by_column == 0 || f->columns == 1) && (by_row == 0 || f->rows == 1)) {
    f->slots[s].step = 0;
    if (wide) {
      ck_store_i64(d, ck_splat_i64(start));
    } else {
      ck_store_i32(d, ck_splat_i32((int32_t)start));
    }
    return;
  }
  f->slots[s].step = 16;
  const ck_v16l lanes = __builtin_convertvector(ck_lanes(), ck_v16l);
  for (int64_t r = 0; r < f->rows; r++) {
    for (int64_t c = 0; c < f->columns; c += 16) {
      const ck_v16l v = ck_splat_i64(start + r * by_row) + (lanes + c) * by_column;
      const int64_t place = r * f->columns + c;
      if (wide) {
        ck_store_i64(d + 8 * place, v);
      } else {
        ck_store_i32(d + 4 * place, __builtin_convertvector(v, ck_v16i));
      }
    }
  }
}

/// Slot s = operand o, over the tile.
static void load_operand(frame *f, int s, int o) {
  const ck_loop_operand *operand = &f->operands[o];
  int64_t by_row = row_stride(f, operand), by_column = column_stride(f, operand);
  if (operand->flags & CK_LOOP_INDEX) {
    load_index(f, s, operand, by_row, by_column);
    return;
  }
  const int dtype = operand->dtype;
  const char *p;
  if (f->tile && o == 0) {
    p = (const char *)(f->tile + f->tile_at[0] * f->tile_stride + f->tile_at[1]);
    by_row = f->tile_stride;
    by_column = 1;
  } else {
    p = operand_at(f, o);
  }
  slot *to = &f->slots[s];
  source *from = &f->from[s];
  if ((by_column == 0 || f->columns == 1) && (by_row == 0 || f->rows == 1)) {
    to->p = f->own[s];
    to->step = 0;
    load_splat(dtype, to->p, p);
    from->p = NULL;
    return;
  }
  const bool native = dtype == CK_F32 || dtype == CK_I32 || dtype == CK_I64;
  to->step = 16;
  if (f->pitch) {
    to->p = (char *)(uintptr_t)p;
    f->pitch[s] = by_row;
    return;
  }
  if (is_contiguous(f, by_row, by_column)) {
    from->p = NULL;
    if (native && f->count % 16 == 0) {
      to->p = (char *)(uintptr_t)p;
    } else {
      to->p = f->own[s];
      load_run(dtype, to->p, p, f->count);
    }
    return;
  }
  char *d = f->own[s];
  to->p = d;
  const int64_t size = (int64_t)loop_dtype_bytes(dtype);
  const int64_t slot_size = dtype == CK_I64 ? 8 : 4;
  if (by_column == 0 && f->by_rows) {
    to->step = BY_ROW;
    from->p = NULL;
    for (int64_t r = 0; r < f->rows; r++) {
      load_splat(dtype, d + r * 16 * slot_size, p + r * by_row * size);
    }
    return;
  }
  if (by_row == 0 && by_column == 1 && f->by_rows && native) {
    to->p = (char *)(uintptr_t)p;
    to->step = ONE_ROW;
    from->p = NULL;
    return;
  }
  // The same row again and again: still there from the tile before, perhaps.
  const bool repeats = by_row == 0;
  const bool single = (f->args->single >> s) & 1;
  if (repeats && single && from->p == p && from->rows >= f->rows && from->columns == f->columns) {
    return;
  }
  from->p = repeats ? p : NULL;
  from->rows = f->rows;
  from->columns = f->columns;
  if (by_row == 1 && size == 4 && by_column != 1) {
    // The next tile goes on with the operand's next rows, which the processor does not guess.
    const int64_t next = f->columns * by_column;
    for (int64_t c = 0; c < f->columns; c++) {
      for (int64_t r = 0; r < f->rows; r += 16) {
        __builtin_prefetch(p + 4 * (next + c * by_column + r), 0, 2);
      }
    }
    transpose_tile(d, f->columns, p, by_column, f->rows, f->columns);
    return;
  }
  for (int64_t r = 0; r < f->rows; r++, d += f->columns * slot_size, p += by_row * size) {
    if (by_column == 1) {
      load_run(dtype, d, p, f->columns);
    } else if (by_column == 0) {
      load_splat(dtype, d, p);
      for (int64_t c = 16; c < f->columns; c += 16) {
        if (slot_size == 8) {
          ck_store_i64(d + 8 * c, ck_load_i64(d));
        } else {
          ck_store(d + 4 * c, ck_load(d));
        }
      }
    } else {
      load_strided(dtype, d, p, by_column, f->columns);
    }
  }
}

/// Row r of a slot.
CK_INLINE const char *slot_row(const frame *f, const slot *from, int64_t r, int64_t slot_size) {
  if (from->step == BY_ROW) return from->p + r * 16 * slot_size;
  return from->p + (from->step == 16 ? r * f->columns * slot_size : 0);
}

/// Operand o = slot s, over the tile.
static void store_operand(frame *f, int o, int s) {
  const ck_loop_operand *operand = &f->operands[o];
  const int64_t by_row = row_stride(f, operand), by_column = column_stride(f, operand);
  const int dtype = operand->dtype;
  const int64_t size = (int64_t)loop_dtype_bytes(dtype);
  const int64_t slot_size = dtype == CK_I64 ? 8 : 4;
  const bool streams = o < 64 && ((f->streams >> o) & 1) && size == 4;
  char *p = operand_at(f, o);
  const slot *from = &f->slots[s];
  if (by_column == 0 && f->columns != 1) {
    // One value a row: what a reduction gave.
    for (int64_t r = 0; r < f->rows; r++) {
      const char *value = slot_row(f, from, r, slot_size);
      if (dtype == CK_F32) {
        memcpy(p + 4 * r * by_row, value, 4);
      } else {
        store_run(dtype, p + r * by_row * size, value, 16, 1);
      }
    }
    return;
  }
  const int64_t step = from->step == BY_ROW ? 0 : (from->step == ONE_ROW ? 16 : from->step);
  if (step != from->step && by_column == 1) {
    // From the last row on, because what the slot holds may lie where the first rows go.
    for (int64_t r = f->rows - 1; r >= 0; r--) {
      store_run(dtype, p + r * by_row * size, slot_row(f, from, r, slot_size), step, f->columns);
    }
    return;
  }
  if (is_contiguous(f, by_row, by_column)) {
    if (from->p == p && from->step != 0) return;  // made in place
    if (from->p == p) {
      // One vector, in the output itself: move it out of the way.
      char value[128] __attribute__((aligned(64)));
      memcpy(value, p, (size_t)(16 * slot_size));
      store_run(dtype, p, value, 0, f->count);
      return;
    }
    if (streams) {
      stream_run(p, from->p, from->step, f->count);
      return;
    }
    store_run(dtype, p, from->p, from->step, f->count);
    return;
  }
  for (int64_t r = 0; r < f->rows; r++, p += by_row * size) {
    const char *row = slot_row(f, from, r, slot_size);
    if (by_column != 1) {
      store_strided(dtype, p, by_column, row, step, f->columns);
    } else if (streams) {
      stream_run(p, row, step, f->columns);
    } else {
      store_run(dtype, p, row, step, f->columns);
    }
  }
}

#endif
