// Where members run: on processors of their own.
//
// After a pause the system may wake a member on the very processor that posted the run, while
// another is idle, and leaves both there for some ten milliseconds: a step then takes twice as
// long. So a member that finds itself where one before it is moves away. It is tied to nothing: the
// system may put it elsewhere at once, and the calling thread stays where it is.
#include "team_internal.h"

void take_processor(ck_team *team, int32_t index) {
  if (team->threads > team->cpus) return;
  member *own = &team->members[index];
  int32_t here = sched_getcpu();
  cpu_set_t others = team->affinity;
  bool is_taken = false;
  for (int32_t i = 0; i < index; ++i) {
    const int32_t there = atomic_load_explicit(&team->members[i].processor, memory_order_relaxed);
    if (there < 0 || there >= CPU_SETSIZE) continue;
    CPU_CLR(there, &others);
    is_taken = is_taken || there == here;
  }
  if (is_taken && CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0) {
    here = sched_getcpu();
    sched_setaffinity(0, sizeof team->affinity, &team->affinity);
  }
  // Written only where it changes: others would have to fetch the line in every run.
  if (atomic_load_explicit(&own->processor, memory_order_relaxed) != here) {
    atomic_store_explicit(&own->processor, here, memory_order_relaxed);
  }
}
