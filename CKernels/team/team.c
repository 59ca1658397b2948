// Making and ending a team, and its members' scratch memory.
//
// Forks: a child process has none of the members. Its copy of a team still works, on the calling
// thread alone (every kernel writes the same bits for any number of threads), and may be
// destroyed. A child that wants threads makes a team of its own.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "team_internal.h"

// Spinning: long enough for a barrier between balanced shares of some milliseconds and for the
// pause between two steps of a training loop; a sleeper takes 30 to 70 microseconds to wake. Short
// enough that another process, whose slices are ten times as long, hardly notices it.
enum { barrier_spin_us = 200, rest_spin_us = 200, least_spin_us = 1 };

int32_t ck_processors(void) {
  cpu_set_t affinity;
  if (sched_getaffinity(0, sizeof affinity, &affinity) == 0) return CPU_COUNT(&affinity);
  // More processors than a cpu_set_t holds.
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (int32_t)online : 1;
}

static void *scratch_alloc(size_t bytes) {
  const size_t huge = (size_t)2 << 20;
  const size_t alignment = bytes >= huge ? huge : 4096;
  void *memory = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory && alignment == huge) madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
}

static void set_scratch(ck_team *team, int32_t index, void *memory, size_t bytes) {
  member *m = &team->members[index];
  m->whole.scratch = m->alone.scratch = memory;
  m->whole.scratch_bytes = m->alone.scratch_bytes = bytes;
}

bool ck_team_reserve_scratch(ck_team *team, size_t scratch_bytes) {
  if (scratch_bytes <= team->scratch_bytes) return true;
  void **fresh = calloc((size_t)team->threads, sizeof *fresh);
  bool enough = fresh != NULL;
  for (int32_t i = 0; enough && i < team->threads; ++i) {
    fresh[i] = scratch_alloc(scratch_bytes);
    enough = fresh[i] != NULL;
  }
  if (enough) {
    // Untouched so far: each member's first use places the pages near it.
    for (int32_t i = 0; i < team->threads; ++i) {
      void *old = team->members[i].whole.scratch;
      set_scratch(team, i, fresh[i], scratch_bytes);
      free(old);
    }
    team->scratch_bytes = scratch_bytes;
  } else if (fresh) {
    for (int32_t i = 0; i < team->threads; ++i) free(fresh[i]);
  }
  free(fresh);
  return enough;
}

static void team_free(ck_team *team) {
  for (int32_t i = 0; i < team->threads; ++i) free(team->members[i].whole.scratch);
  pthread_mutex_destroy(&team->lock);
  free(team);
}

static patience patience_of(uint32_t microseconds) {
  const uint32_t turns = spin_turns(microseconds);
  return (patience){turns, spin_turns(least_spin_us), turns, INT64_C(1000) * microseconds, 0};
}

ck_team *ck_team_create(int32_t threads, size_t scratch_bytes) {
  if (threads < 1 || threads > CPU_SETSIZE) return NULL;
  watch_forks();

  const size_t bytes = sizeof(ck_team) + (size_t)threads * sizeof(member);
  ck_team *team = aligned_alloc(CK_LINE, (bytes + CK_LINE - 1) / CK_LINE * CK_LINE);
  if (!team) return NULL;
  memset(team, 0, bytes);
  team->threads = threads;
  team->fork_number = fork_count();
  pthread_mutex_init(&team->lock, NULL);
  if (sched_getaffinity(0, sizeof team->affinity, &team->affinity) != 0) {
    for (int32_t i = 0; i < CPU_SETSIZE; ++i) CPU_SET(i, &team->affinity);
  }
  team->cpus = CPU_COUNT(&team->affinity);

  // More members than processors: whoever spins keeps a peer from running.
  const bool crowded = threads > team->cpus;
  for (int32_t i = 0; i < threads; ++i) {
    member *m = &team->members[i];
    m->whole = (ck_thread){.index = i, .count = threads, .team = team};
    m->alone = (ck_thread){.index = 0, .count = 1, .team = team};
    atomic_init(&m->processor, -1);
    if (!crowded) {
      m->at_barrier = patience_of(barrier_spin_us);
      m->at_rest = patience_of(rest_spin_us);
    }
  }
  if (!ck_team_reserve_scratch(team, scratch_bytes) || (threads > 1 && !team_start(team))) {
    team_free(team);
    return NULL;
  }
  return team;
}

void ck_team_destroy(ck_team *team) {
  if (!team) return;
  if (team->threads > 1 && team->fork_number == fork_count()) {
    team->epoch.run.ending = true;
    atomic_fetch_add(&team->epoch.value, 1);
    watched_wake(&team->epoch);
    team_join(team);
  }
  team_free(team);
}

int32_t ck_team_threads(const ck_team *team) { return team->threads; }
