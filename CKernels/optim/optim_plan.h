// How the arrays of an update are shared out: in tiles that are counted through all of them.
#ifndef CK_OPTIM_PLAN_H
#define CK_OPTIM_PLAN_H

#include "ck_optim.h"

/// A thread's way through the arrays, one run of elements [begin, end) of one array after another.
typedef struct optim_walk {
  const ck_optim_args *args;
  int64_t first, last;  // the thread's tiles
  int64_t tile;         // the first of the next array
  int32_t next;         // the next array
  int32_t array;
  int64_t begin, end;
} optim_walk;

static inline int64_t optim_tiles(const ck_optim_array *array) {
  return (array->count + CK_OPTIM_TILE - 1) / CK_OPTIM_TILE;
}

static inline optim_walk optim_walk_begin(const ck_optim_args *args, const ck_thread *t) {
  int64_t tiles = 0;
  for (int32_t i = 0; i < args->arrays; i++) tiles += optim_tiles(&ck_optim_arrays(args)[i]);
  optim_walk walk = {.args = args};
  ck_share(tiles, t, &walk.first, &walk.last);
  return walk;
}

/// Goes on to the next run; false where there is none.
static inline bool optim_walk_next(optim_walk *walk) {
  while (walk->next < walk->args->arrays && walk->tile < walk->last) {
    const ck_optim_array *array = &ck_optim_arrays(walk->args)[walk->next];
    const int64_t start = walk->tile, tiles = optim_tiles(array);
    walk->array = walk->next++;
    walk->tile += tiles;
    const int64_t from = walk->first > start ? walk->first - start : 0;
    const int64_t to = walk->last - start < tiles ? walk->last - start : tiles;
    if (from >= to) continue;
    walk->begin = from * CK_OPTIM_TILE;
    walk->end = to * CK_OPTIM_TILE < array->count ? to * CK_OPTIM_TILE : array->count;
    return true;
  }
  return false;
}

#endif
