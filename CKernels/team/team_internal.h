// What the files of team/ share: the team's memory layout and the waiting primitives.
//
// Every word that one thread writes while others watch it stands on its own pair of cache lines
// (128 bytes: the adjacent-line prefetcher pulls lines in pairs).
#ifndef CK_TEAM_INTERNAL_H
#define CK_TEAM_INTERNAL_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "ck_team.h"

#define CK_LINE 128

static inline int64_t now_nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/// What the members are to do. Written by the caller before `epoch` moves, read by members after.
typedef struct posted_run {
  const ck_step *steps;
  size_t count;
  int64_t *nanoseconds;  // or NULL
  uint32_t done_target;  // value of `done` when every member has finished it
  bool ending;
} posted_run;

/// A word that threads wait on, and how many of them sleep rather than spin.
typedef struct watched {
  _Alignas(CK_LINE) _Atomic uint32_t value;
  posted_run run;  // of `epoch` alone: it comes to a member in the line of the word itself
  _Alignas(CK_LINE) _Atomic uint32_t sleepers;
} watched;

/// How long one member spins before it sleeps, in turns of the pause loop. Halved after a wait that
/// was longer than any spin and grown again after a shorter one, so that a member whose peers are
/// off their processors (another process is busy) stops burning the time that they need.
typedef struct patience {
  uint32_t now;
  uint32_t least;
  uint32_t most;
  int64_t most_nanoseconds;
  int64_t slept;  // nanoseconds, over all waits
} patience;

/// One thread of the team.
typedef struct member {
  _Alignas(CK_LINE) ck_thread whole;  // how kernels see it when the whole team runs a step
  ck_thread alone;                    // and when it runs a step by itself
  patience at_barrier;
  patience at_rest;
  // Where this member began its latest run; -1 before. Others read it in every run, so it stands
  // apart from what the member writes while it waits.
  _Alignas(CK_LINE) _Atomic int32_t processor;
  watched arrival;  // counts the barriers that this member has come to
} member;

struct ck_team {
  int32_t threads;
  int32_t cpus;          // processors of the affinity mask when the team was made
  uint32_t fork_number;  // of the process that owns the members; see forks.c
  size_t scratch_bytes;
  cpu_set_t affinity;
  pthread_mutex_t lock;  // one run at a time
  pthread_t host;        // the thread that entered the parallel region

  watched epoch;    // moves when a run is posted
  watched done;     // counts members that finished, over all runs
  watched barrier;  // moves when all of many have arrived
  _Alignas(CK_LINE) _Atomic uint32_t arrived;

  // Start: members report here, `started` counting up to threads - 1, or `failed`.
  watched started;
  _Atomic bool failed;

  member members[];
};

/// Waits until `word->value` is no longer `old`.
void watched_wait(watched *word, uint32_t old, patience *spin);
/// Makes waiters on `word` look again. Call after the value changed (sequentially consistent).
void watched_wake(watched *word);

/// Pause-loop turns of about that many microseconds on this processor.
uint32_t spin_turns(uint32_t microseconds);

/// Moves member `index`, the calling thread, off a processor that a member before it is on.
void take_processor(ck_team *team, int32_t index);

/// Starts members 1…threads-1, each in `team_member`. False where the system gives fewer threads;
/// none is left running then.
bool team_start(ck_team *team);
/// Waits for the members, which `team->ending` has told to leave.
void team_join(ck_team *team);
/// The life of a member: waits for runs until the team ends.
void team_member(ck_team *team, int32_t index);

/// How often this process is a fork since `watch_forks` was first called: members do not survive
/// one.
uint32_t fork_count(void);
void watch_forks(void);

#endif
