// The tile machine, written once and compiled at each level by loop_<level>.c. The parts build on
// one another, in this order.
#include "../core/ck_math.h"

#include "loop_plan.h"

#include "loop_frame.h"

#include "loop_memory.h"

#include "loop_execute.h"

#include "../reduce/loop_folds.h"

#include "../reduce/loop_reduce.h"

#include "../reduce/loop_rows.h"

#include "../reduce/loop_columns.h"

#include "loop_chain.h"

#include "loop_map.h"

/// A thread's share of a loop of any kind.
void CK_NAME(ck_loop)(const void *arguments, const ck_thread *t) {
  const ck_loop_args *args = arguments;
  switch (args->kind) {
    case 0:
      loop_map(args, t);
      break;
    case 1:
      loop_rows(args, t);
      break;
    default:
      loop_columns(args, t);
      break;
  }
}

void CK_NAME(ck_loop_block)(const ck_loop_args *args, void *scratch, int64_t batch, int64_t row,
                            int64_t rows, int64_t column, int64_t columns, const float *tile,
                            int64_t tile_stride) {
  loop_block(args, scratch, batch, row, rows, column, columns, tile, tile_stride);
}

void CK_NAME(ck_loop_multi)(const void *arguments, const ck_thread *t) { loop_multi(arguments, t); }
