// The turns of a loop (ck_repeat.h): each thread's own copy of the argument blocks, the pointers
// that move, and the steps as a plan's are run.
#include "ck_repeat.h"

#include <string.h>

#include "team_internal.h"

enum { line = 64, copy_run = 4096 };

// One thread's view of a loop that is running.
typedef struct loop {
  const ck_repeat_args *args;  // the thread's copy
  char *block;
  ck_thread whole, alone;
  bool as_planned;  // the steps are spread for a team of this size
} loop;

static const void *table(const loop *l, ck_repeat_table t) { return l->block + t.offset; }

static void copy_share(const loop *l, ck_repeat_table copies) {
  const ck_repeat_copy *copy = table(l, copies);
  for (int64_t i = 0; i < copies.count; ++i, ++copy) {
    if (copy->to == copy->from) continue;
    int64_t begin, end;
    ck_share((copy->bytes + copy_run - 1) / copy_run, &l->whole, &begin, &end);
    begin *= copy_run;
    end = end * copy_run < copy->bytes ? end * copy_run : copy->bytes;
    if (begin < end)
      memcpy((char *)copy->to + begin, (const char *)copy->from + begin, end - begin);
  }
}

static void move_pointers(const loop *l, int64_t turn, bool first) {
  const ck_repeat_move *move = table(l, l->args->moves);
  for (int64_t i = 0; i < l->args->moves.count; ++i, ++move) {
    const char *pointer = first && move->first ? move->first : move->base + turn * move->stride;
    memcpy(l->block + move->field, &pointer, sizeof pointer);
  }
}

static void run_step(const loop *l, const ck_repeat_step *step) {
  const void *args = l->block + step->args;
  if (l->whole.count == 1) {
    step->kernel(args, &l->alone);
  } else if (step->threads == 0 || !l->as_planned) {
    step->kernel(args, &l->whole);
  } else if (step->threads - 1 == l->whole.index) {
    step->kernel(args, &l->alone);
  }
}

static void run_turn(const loop *l) {
  const ck_repeat_step *step = table(l, l->args->steps);
  const int64_t count = l->args->steps.count;
  for (int64_t i = 0; i < count; ++i, ++step) {
    run_step(l, step);
    // The next turn reads and overwrites what this one has written.
    if (step->barrier || !l->as_planned || i + 1 == count) ck_barrier(&l->whole);
  }
}

static void run_turn_profiled(const loop *l) {
  const ck_repeat_step *step = table(l, l->args->steps);
  const bool counts = l->whole.index == 0;
  int64_t start = counts ? now_nanoseconds() : 0;
  for (int64_t i = 0; i < l->args->steps.count; ++i, ++step) {
    run_step(l, step);
    ck_barrier(&l->whole);
    if (counts) {
      const int64_t end = now_nanoseconds();
      l->args->nanoseconds[i] += end - start;
      start = end;
    }
  }
}

static loop start(const ck_repeat_args *args, const ck_thread *t) {
  loop l = {.block = t->scratch, .whole = *t};
  memcpy(l.block, args, (size_t)args->bytes);
  l.args = (const ck_repeat_args *)l.block;
  const size_t own = ((size_t)args->bytes + line - 1) / line * line;
  l.whole.scratch = l.block + own;
  l.whole.scratch_bytes = t->scratch_bytes > own ? t->scratch_bytes - own : 0;
  l.alone = l.whole;
  l.alone.index = 0;
  l.alone.count = 1;
  l.as_planned = args->threads == t->count;
  return l;
}

void ck_repeat(const void *args, const ck_thread *t) {
  const loop l = start(args, t);
  const ck_repeat_args *a = l.args;
  copy_share(&l, a->copies_before);
  const ck_repeat_step *before = table(&l, a->steps_before);
  for (int64_t i = 0; i < a->steps_before.count; ++i) {
    before[i].kernel(l.block + before[i].args, l.whole.count == 1 ? &l.alone : &l.whole);
  }
  ck_barrier(&l.whole);
  for (int64_t i = 0; i < a->length; ++i) {
    move_pointers(&l, a->reversed ? a->length - 1 - i : i, i == 0);
    if (a->nanoseconds) {
      run_turn_profiled(&l);
    } else {
      run_turn(&l);
    }
  }
  copy_share(&l, a->copies_after);
}
