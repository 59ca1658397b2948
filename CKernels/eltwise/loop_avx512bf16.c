// What the `avx512bf16` level adds to the tile machine: maps in registers, whose results, which
// arithmetic has made and flushed, are rounded by its instruction.
#if defined(__x86_64__)
#define CK_ROUNDS_BF16 1
#include "../core/ck_avx512bf16_begin.h"

#include "../core/ck_math.h"

#include "loop_chain.h"

void ck_loop_avx512(const void *args, const ck_thread *t);

void CK_NAME(ck_loop)(const void *args, const ck_thread *t) {
  const ck_loop_args *loop = args;
  if (loop->kind == 0 && loop->chain.form) {
    loop_chain(loop, t);
  } else {
    ck_loop_avx512(args, t);
  }
}

#include "../core/ck_target_end.h"
#endif
