// Sizes and packed weights of the convolutions that gather: how large a block is, whether its
// source is copied, where the panels lie.
#include "conv_gather.h"

enum {
  SOURCE_FLOATS = 1 << 16,   // of a block
  PROGRAM_FLOATS = 1 << 16,  // of a block of the result that a program follows
  APART = 16,                // words more, where elements would share a few sets of L1
  SLACK = 8                  // words that a conversion may write behind the last
};

/// Rows of the source that `rows` rows of the result read, of all planes.
static int64_t source_rows(const conv_walk *w, int64_t rows) {
  const conv_axis *h = &w->axis[1];
  const int64_t span = (rows - 1) * h->step + (h->taps - 1) * h->offset_step + 1;
  return w->axis[0].taps * least(span, h->extent);
}

gather_plan gather_plan_of(const ck_conv_args *g, ck_conv_op op, int64_t index, conv_way way) {
  const gemm_level *level = way.level;
  gather_plan p = {.walk = conv_walk_at(g, op, index)};
  const conv_walk *w = &p.walk;
  const conv_axis *last = &w->axis[2];
  const int64_t channels = conv_words(way, gather_source_channels(g, op));
  p.padded = ceiling(w->channels, level->vector) * level->vector;
  p.columns[0] = last->offset;
  p.columns[1] =
      (last->count - 1) * last->step + last->offset + (last->taps - 1) * last->offset_step + 1;
  const bool collides = gemm_rows_that_fit(last->step * channels, 2) < level->max_rows;
  p.copies = w->taps > 0 && (p.columns[0] < 0 || p.columns[1] > last->extent || collides ||
                             gather_converts(g, op, way));
  p.joins = g->groups == 1 && last->offset_step == 1 && !(p.copies && collides);
  p.pixel = channels + (p.copies && collides ? APART : 0);
  p.row = p.copies ? (p.columns[1] - p.columns[0]) * p.pixel : last->extent * channels;
  p.depth = conv_words(way, w->source_channels);
  p.run = p.depth * (p.joins ? last->taps : 1);
  p.most_segments = w->axis[0].taps * w->axis[1].taps * (p.joins ? 1 : last->taps);
  // The block with most rows that fits.
  int64_t rows = greatest(w->axis[1].count, 1);
  const int64_t images = greatest(least(g->images * w->axis[0].count, GATHER_PIECES), 1);
  while (rows > 1 && source_rows(w, rows) * p.row > SOURCE_FLOATS) rows = ceiling(rows, 2);
  p.block_rows = rows;
  int64_t pieces = 1;
  if (rows == w->axis[1].count) {
    pieces = greatest(SOURCE_FLOATS / greatest(source_rows(w, rows) * p.row, 1), 1);
    pieces = least(pieces, images);
    p.block_rows = rows * pieces;
  }
  if (g->epilogue.program) {
    const int64_t columns = least(p.padded, level->fused_columns) + level->vector;
    const int64_t most = PROGRAM_FLOATS / greatest(columns * last->count, 1);
    p.block_rows = greatest(least(p.block_rows, most), 1);
  }
  // Rows of more than one image may be in a block that begins within one.
  if (p.copies) p.source = ceiling((pieces + 1) * source_rows(w, rows) * p.row + SLACK, 16) * 16;
  return p;
}

size_t conv_gather_workspace_bytes(const ck_conv_args *g, ck_conv_op op, conv_way way) {
  int64_t floats = 0;
  for (int64_t i = 0; i < conv_walks(g, op); i++) {
    const gather_plan p = gather_plan_of(g, op, i, way);
    floats += gather_packed_floats(&p) * g->groups;
  }
  return (size_t)floats * sizeof(float);
}

// MARK: The weights' panels

/// Packs `width` lanes of so many terms, as the way multiplies them.
static void pack(conv_way way, float *panel, int64_t stride, int64_t width, int64_t terms,
                 const float *source, int64_t across, int64_t along) {
  if (way.narrow) {
    way.narrow->pack(panel, stride, width, terms, source, CK_F32, across, along);
  } else {
    way.level->pack(panel, stride, width, terms, source, across, along);
  }
}

/// [tap][word of the source's channels][column], as wide as a tile, or as what is left.
static void pack_panel(const ck_conv_args *g, ck_conv_op op, conv_way way, const gather_plan *p,
                       int64_t group, int64_t column, float *panel) {
  const conv_walk *w = &p->walk;
  const int64_t width = least(way.level->columns, p->padded - column);
  const int64_t columns = least(way.level->columns, w->channels - column);
  const int64_t taps = conv_product(g->kernel), in = g->in_channels / g->groups;
  const int64_t out = g->out_channels / g->groups, tap = p->depth * width;
  if (op == CK_CONV_DATA) {
    for (int64_t i = 0; i < w->taps; i++)
      pack(way, panel + i * tap, width, columns, out,
           g->b + (group * out * taps + conv_kernel_tap(g, w, i)) * in + column, 1, taps * in);
    return;
  }
  const float *from = g->b + (group * out + column) * taps * in;
  if (!way.narrow || in % 2 == 0) {
    pack(way, panel, width, columns, taps * in, from, taps * in, 1);
    return;
  }
  for (int64_t i = 0; i < taps; i++)
    pack(way, panel + i * tap, width, columns, in, from + i * in, taps * in, 1);
}

void gather_pack_weights(const ck_conv_args *g, ck_conv_op op, const ck_thread *t, conv_way way) {
  float *packed = g->workspace;
  for (int64_t i = 0; i < conv_walks(g, op); i++) {
    const gather_plan p = gather_plan_of(g, op, i, way);
    const int64_t panels = ceiling(p.walk.channels, way.level->columns);
    const int64_t terms = p.walk.taps * p.depth;
    int64_t begin, end;
    ck_share(g->groups * panels, t, &begin, &end);
    for (int64_t k = begin; k < end && terms > 0; k++) {
      const int64_t group = k / panels, column = k % panels * way.level->columns;
      pack_panel(g, op, way, &p, group, column,
                 packed + group * gather_packed_floats(&p) + column * terms);
    }
    packed += gather_packed_floats(&p) * g->groups;
  }
}
