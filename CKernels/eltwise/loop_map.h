// Loops that reduce nothing: over one domain, over a block of a matrix product's result, over many
// arrays. A part of loop_body.h.
#ifndef LOOP_MAP_H
#define LOOP_MAP_H

/// Stores past the cache are ordered by nothing else.
static inline void finish_streams(const ck_loop_args *args) {
#if CK_HAS_AVX2
  if (args->streams) _mm_sfence();
#else
  (void)args;
#endif
}

/// Tiles [begin, end) as one, of a program that has the form for it: the operation's loop goes from
/// memory to memory, but for the last elements where they fill no vector. False, with nothing done,
/// where the result cannot be written in place.
static bool run_span(frame *f, int64_t begin, int64_t end) {
  const ck_loop_args *args = f->args;
  const ck_loop_instruction *store = &f->code[args->instructions - 1];
  const int64_t from = begin * args->tile_columns;
  int64_t to = end * args->tile_columns;
  to = to < args->extent[0] ? to : args->extent[0];
  const int64_t whole = (to - from) & ~(int64_t)15;
  f->at[0] = from;
  frame_set(f, 1, whole);
  if (whole == 0 || f->own[store->a] != operand_at(f, store->b)) return false;
  run_code(f, args->once, args->instructions);
  if (from + whole == to) return true;
  f->at[0] = from + whole;
  frame_set(f, 1, to - from - whole);
  run_code(f, args->once, args->instructions);
  return true;
}

enum {
  FETCHED = 8,             // operands that are asked for, at most
  FETCH_INSTRUCTIONS = 6,  // so long is a program that leaves memory idle between two tiles
};

/// The operands of which every tile reads its own elements, where it pays to ask for those of the
/// next tile: only the first operations read memory, and a program of several would let it wait
/// through all others. Asking for what the caches hold costs more than it brings (RMSProp, 20 M
/// elements: 12.0 to 9.4 ms; 100 thousand: 0.028 to 0.045).
static int fetched_operands(const frame *f, int list[FETCHED]) {
  const ck_loop_args *args = f->args;
  if (args->dims != 1 || args->instructions - args->once < FETCH_INSTRUCTIONS) return 0;
  int count = 0;
  int64_t bytes = 0;
  for (int o = 0; o < args->operands && count < FETCHED; o++) {
    const ck_loop_operand *operand = &f->operands[o];
    if (operand->access == 0 || LOOP_IS_OUTPUT(operand->access) || operand->stride[0] != 1)
      continue;
    bytes += args->extent[0] * (int64_t)loop_dtype_bytes(operand->dtype);
    list[count++] = o;
  }
  return bytes > ck_cache_bytes() ? count : 0;
}

/// Runs the tile's instructions, and between them asks for what the next tile reads: a little each
/// time, since only so many lines can be on their way.
static void run_fetching(frame *f, const int *fetched, int count) {
  const ck_loop_args *args = f->args;
  const char *next[FETCHED];
  int64_t bytes[FETCHED], all = 0;
  for (int i = 0; i < count; i++) {
    bytes[i] = f->columns * (int64_t)loop_dtype_bytes(f->operands[fetched[i]].dtype);
    next[i] = operand_at(f, fetched[i]) + bytes[i];
    all += bytes[i];
  }
  const int64_t lines = all / 64 / (args->instructions - args->once) + 1;
  int64_t at = 0;
  for (int i = 0, n = args->once; n < args->instructions; n++) {
    for (int64_t line = 0; line < lines && i < count; line++) {
      __builtin_prefetch(next[i] + at, 0, 2);
      at += 64;
      if (at >= bytes[i]) i++, at = 0;
    }
    execute(f, &f->code[n]);
  }
}

static void loop_map(const ck_loop_args *args, const ck_thread *t) {
  if (args->chain.form) {
    loop_chain(args, t);
    return;
  }
  int64_t begin, end;
  ck_share(args->units, t, &begin, &end);
  if (begin == end) return;
  frame f;
  frame_begin(&f, args, t->scratch);
  frame_connect(&f);
  run_once(&f);
  if (!args->spans || !run_span(&f, begin, end)) {
    int fetched[FETCHED];
    const int count = fetched_operands(&f, fetched);
    for (int64_t unit = begin; unit < end; unit++) {
      frame_tile(&f, 0, unit);
      if (count > 0 && unit + 1 < end) {
        run_fetching(&f, fetched, count);
      } else {
        run_code(&f, args->once, args->instructions);
      }
    }
  }
  finish_streams(args);
}

static void loop_block(const ck_loop_args *args, void *scratch, int64_t batch, int64_t row,
                       int64_t rows, int64_t column, int64_t columns, const float *tile,
                       int64_t tile_stride) {
  frame f;
  frame_begin(&f, args, scratch);
  frame_connect(&f);
  f.tile = tile;
  f.tile_stride = tile_stride;
  f.at[0] = batch;
  run_once(&f);
  // Whole rows of the block where they are short, else pieces of one row.
  const int64_t width = columns < CK_LOOP_TILE ? columns : CK_LOOP_TILE;
  const int64_t height = width > 0 ? CK_LOOP_TILE / width : 1;
  for (int64_t r = 0; r < rows; r += height) {
    for (int64_t c = 0; c < columns; c += width) {
      f.at[1] = row + r;
      f.at[2] = column + c;
      f.tile_at[0] = r;
      f.tile_at[1] = c;
      frame_set(&f, rows - r < height ? rows - r : height,
                columns - c < width ? columns - c : width);
      run_code(&f, args->once, args->instructions);
    }
  }
}

static void loop_multi(const ck_loop_multi_args *args, const ck_thread *t) {
  int64_t begin, end;
  ck_share(args->tiles, t, &begin, &end);
  if (begin == end) return;
  const ck_loop_args *loop = &args->loop;
  const int64_t tile = loop->tile_columns;
  // The last segment that starts at or before the first tile.
  int32_t low = 0, high = args->segments - 1;
  while (low < high) {
    const int32_t middle = (low + high + 1) / 2;
    if (loop_segment(args, middle)->first_tile <= begin) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  frame f;
  frame_begin(&f, loop, t->scratch);
  const ck_loop_segment *segment = loop_segment(args, low);
  f.segment = segment->data;
  frame_connect(&f);
  run_once(&f);
  for (int64_t unit = begin; unit < end; unit++) {
    while ((unit - segment->first_tile) * tile >= segment->count) {
      segment = loop_segment(args, ++low);
      f.segment = segment->data;
      f.direct = 0;
      for (int s = 0; s < loop->slots; s++) f.own[s] = own_memory(&f, s);
      frame_connect(&f);
    }
    f.at[0] = (unit - segment->first_tile) * tile;
    const int64_t left = segment->count - f.at[0];
    frame_set(&f, 1, left < tile ? left : tile);
    run_code(&f, loop->once, loop->instructions);
  }
}

#endif
