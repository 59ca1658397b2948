// Where the members of a measuring team run: each on a processor of its own.
//
// Left to itself the system may wake two members on one processor, most of all while something
// else runs on another, and keep them there for as long as a measurement takes. A peak measured so
// is that of fewer processors than the team has members.
#include <sched.h>
#include <string.h>

#include "ck_bench.h"

_Static_assert(sizeof(cpu_set_t) <= sizeof((ck_bench_places *)0)->processors, "a whole mask");

bool ck_bench_places_read(ck_bench_places *places) {
  memset(places, 0, sizeof *places);
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return false;
  memcpy(places->processors, &mask, sizeof mask);
  return true;
}

void ck_bench_take_place(const void *args, const ck_thread *t) {
  const ck_bench_places *places = args;
  cpu_set_t all, own;
  memcpy(&all, places->processors, sizeof all);
  int32_t turn = t->index % CPU_COUNT(&all);
  CPU_ZERO(&own);
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (CPU_ISSET(i, &all) && turn-- == 0) CPU_SET(i, &own);
  }
  sched_setaffinity(0, sizeof own, &own);
}

void ck_bench_leave_place(const void *args, const ck_thread *t) {
  (void)t;
  const ck_bench_places *places = args;
  cpu_set_t all;
  memcpy(&all, places->processors, sizeof all);
  sched_setaffinity(0, sizeof all, &all);
}
