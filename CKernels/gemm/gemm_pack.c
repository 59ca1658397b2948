// B brought into panels beforehand, for products that take it packed.
#include "gemm_internal.h"

void gemm_pack_run(const ck_gemm_pack_args *g, const ck_thread *t, const gemm_level *level) {
  const int64_t panels = ceiling(g->N, level->columns), k_block = ck_gemm_k_block(g->K);
  const int64_t padded = ceiling(g->N, level->vector) * level->vector;
  int64_t begin, end;
  ck_share(g->count * panels, t, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    const int64_t matrix = i / panels, column = i % panels * level->columns;
    const int64_t columns = least(level->columns, g->N - column);
    for (int64_t step = 0; step < g->K; step += k_block) {
      const int64_t steps = least(k_block, g->K - step);
      level->pack(g->packed + matrix * padded * g->K + step * padded + column * steps,
                  least(level->columns, padded - column), columns, steps,
                  g->b + matrix * g->b_batch + step * g->b_row + column * g->b_col, g->b_col,
                  g->b_row);
    }
  }
}
