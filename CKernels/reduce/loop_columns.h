// Reductions over the leading dimensions, block of columns by block of columns. A part of
// loop_body.h.
#ifndef LOOP_COLUMNS_H
#define LOOP_COLUMNS_H

/// Moves to block `unit`: its place in the kept dimensions and its columns.
static void place_block(frame *f, int64_t unit) {
  const ck_loop_args *args = f->args;
  frame_place(f, args->first_reduced, unit / args->column_blocks);
}

/// Tiles [from, to) of the block through phase 0.
static void run_block(frame *f, int64_t unit, int64_t from, int64_t to) {
  const ck_loop_args *args = f->args;
  const int64_t block = unit % args->column_blocks;
  for (int64_t tile = from; tile < to; tile++) {
    frame_tile(f, args->first_reduced, tile * args->column_blocks + block);
    run_flagged(f, args->once, args->phase_end[0], 0, CK_LOOP_NEVER);
  }
}

/// The same with slots that are views of operands, row by row where those lie.
static void run_block_views(frame *f, int64_t *pitch, int64_t unit, int64_t from, int64_t to) {
  f->pitch = f->args->views ? pitch : NULL;
  run_block(f, unit, from, to);
  f->pitch = NULL;
}

/// The reductions' totals as their slots' values, a tile of one row; then the later phases on it.
static void finish_block(frame *f, int64_t unit) {
  const ck_loop_args *args = f->args;
  for (int d = args->first_reduced; d < f->dims - 1; d++) f->at[d] = 0;
  const int64_t block = unit % args->column_blocks;
  f->at[f->dims - 1] = block * args->tile_columns;
  int64_t columns = args->extent[f->dims - 1] - f->at[f->dims - 1];
  if (columns > args->tile_columns) columns = args->tile_columns;
  frame_set(f, 1, columns);
  for (int s = 0; s < args->slots; s++) f->from[s].p = NULL;
  // What phase 0 loaded for the columns alone, in this tile's form.
  for (int i = args->once; i < args->phase_end[0]; i++) {
    const ck_loop_instruction *at = &f->code[i];
    if (!(at->flags & CK_LOOP_ROW) || (at->flags & CK_LOOP_NEVER)) continue;
    if (at->op != CK_OP_store) execute(f, at);
  }
  for (int i = args->once; i < args->phase_end[0]; i++) {
    const ck_loop_instruction *at = &f->code[i];
    if (at->op < CK_OP_reduce_sum_f32) continue;
    f->slots[at->dst].p = finish_blocks(f, at->op, at->c, f->vectors);
    f->slots[at->dst].step = 16;
  }
  run_flagged(f, args->phase_end[0], args->instructions, 0, CK_LOOP_NEVER);
  for (int s = 0; s < args->slots; s++) f->from[s].p = NULL;
}

static void loop_columns(const ck_loop_args *args, const ck_thread *t) {
  frame f;
  frame_begin(&f, args, t->scratch);
  frame_connect(&f);
  memset(f.blocks, 0, sizeof f.blocks);
  memset(f.pending, 0, sizeof f.pending);
  int64_t pitch[CK_LOOP_SLOTS];
  run_once(&f);
  int64_t elements = 1;
  for (int d = 0; d < args->dims; d++) elements *= args->extent[d];
  f.fetches = args->views && elements * 4 >= ck_cache_bytes() / 4 * 3;
  int64_t begin, end;
  if (args->parts == 1) {
    ck_share(args->units, t, &begin, &end);
    for (int64_t unit = begin; unit < end; unit++) {
      place_block(&f, unit);
      run_block_views(&f, pitch, unit, 0, args->tiles);
      finish_block(&f, unit);
    }
    return;
  }
  ck_share(args->units * args->parts, t, &begin, &end);
  for (int64_t work = begin; work < end; work++) {
    const int64_t unit = work / args->parts, part = work % args->parts;
    const int64_t first = part * args->part_tiles;
    const int64_t last = first + args->part_tiles;
    place_block(&f, unit);
    run_block_views(&f, pitch, unit, first, last < args->tiles ? last : args->tiles);
    const int64_t vectors = (f.columns + 15) / 16;
    for (int i = args->once; i < args->phase_end[0]; i++) {
      const ck_loop_instruction *at = &f.code[i];
      if (at->op < CK_OP_reduce_sum_f32) continue;
      const char *total = finish_blocks(&f, at->op, at->c, vectors);
      memcpy(partial_of(args, unit, part, at->c), total,
             (size_t)(vectors * 16 * lane_bytes(at->op)));
    }
  }
  ck_barrier(t);
  ck_share(args->units, t, &begin, &end);
  for (int64_t unit = begin; unit < end; unit++) {
    place_block(&f, unit);
    const int64_t block = unit % args->column_blocks;
    int64_t columns = args->extent[f.dims - 1] - block * args->tile_columns;
    if (columns > args->tile_columns) columns = args->tile_columns;
    const int64_t vectors = (columns + 15) / 16;
    for (int i = args->once; i < args->phase_end[0]; i++) {
      const ck_loop_instruction *at = &f.code[i];
      if (at->op < CK_OP_reduce_sum_f32) continue;
      for (int64_t part = 0; part < args->parts; part++) {
        memcpy(level_of(&f, at->c, LOOP_LEVELS), partial_of(args, unit, part, at->c),
               (size_t)(vectors * 16 * lane_bytes(at->op)));
        count_block(&f, at->op, at->c, vectors);
      }
    }
    finish_block(&f, unit);
  }
}

#endif
