// Steps that a team runs again and again: the turns of a loop as one step of a plan.
//
// The block holds the argument blocks of the loop's steps, and says which pointers in them move
// from turn to turn. Each thread works on a copy of its own, in its scratch, so that nobody waits
// for somebody else to set pointers. All offsets are in bytes from the block's start, so a loop
// within a loop is one more argument block, which the copy of the outer one carries with it.
#ifndef CK_REPEAT_H
#define CK_REPEAT_H

#include "ck_base.h"

#ifdef __cplusplus
extern "C" {
#endif

/// A step of a turn.
typedef struct ck_repeat_step {
  ck_kernel kernel;
  int64_t args;     // where its argument block stands
  int32_t threads;  // as in ck_step
  int32_t barrier;
} ck_repeat_step;

/// A pointer that moves: `base + turn * stride`, but `first` in the first turn where that is given.
typedef struct ck_repeat_move {
  int64_t field;  // where the pointer stands
  const char *base;
  int64_t stride;
  const char *first;
} ck_repeat_move;

/// Bytes that are copied before the first turn, or after the last; nothing where they lie there.
typedef struct ck_repeat_copy {
  void *to;
  const void *from;
  int64_t bytes;
} ck_repeat_copy;

/// A table within the block.
typedef struct ck_repeat_table {
  int64_t offset;
  int64_t count;
} ck_repeat_table;

typedef struct ck_repeat_args {
  int64_t bytes;   // of the block
  int64_t length;  // turns
  /// What comes before the first turn: copies and steps, those each by the whole team.
  ck_repeat_table copies_before, steps_before;
  ck_repeat_table moves;
  /// A turn, spread over `threads` threads. On any other team all threads run every step.
  ck_repeat_table steps;
  ck_repeat_table copies_after;
  int64_t *nanoseconds;  // by step, what all turns together took on thread 0; or NULL
  int32_t threads;
  int32_t reversed;  // whether the last turn comes first
} ck_repeat_args;

/// Runs the loop. A thread's scratch holds the block, rounded up to 64 bytes, before what the steps
/// take.
void ck_repeat(const void *args, const ck_thread *t);

#ifdef __cplusplus
}
#endif

#endif
