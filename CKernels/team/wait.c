// Waiting: a bounded spin, then a futex. And the team's barrier on top of it.
//
// The spin is what makes a barrier cost some hundred nanoseconds; the sleep is what keeps a step
// from stalling when another process is busy: a thread that sleeps leaves its processor to the peer
// it is waiting for. Which of the two a wait should have been is known when it is over.
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "team_internal.h"

static inline void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

uint32_t spin_turns(uint32_t microseconds) {
  // The pause instruction takes 10 to 150 cycles by processor, so it is measured; the fastest of
  // several tries, because a try may be interrupted. A race measures twice.
  static _Atomic uint32_t turns_per_64us;
  uint32_t rate = atomic_load_explicit(&turns_per_64us, memory_order_relaxed);
  if (rate == 0) {
    enum { turns = 256 };
    _Atomic uint32_t word = 0;
    int64_t best = INT64_MAX;
    for (int attempt = 0; attempt < 8; ++attempt) {
      const int64_t start = now_nanoseconds();
      for (int i = 0; i < turns; ++i) {
        if (atomic_load_explicit(&word, memory_order_acquire) != 0) break;
        pause_briefly();
      }
      const int64_t taken = now_nanoseconds() - start;
      if (taken < best) best = taken;
    }
    if (best < 1) best = 1;
    rate = (uint32_t)(turns * INT64_C(64000) / best) + 1;
    atomic_store_explicit(&turns_per_64us, rate, memory_order_relaxed);
  }
  return (uint32_t)((uint64_t)rate * microseconds / 64);
}

static void futex(_Atomic uint32_t *word, int operation, uint32_t value) {
  // Errors are either "the value has changed" or "interrupted": every caller looks again.
  syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

void watched_wait(watched *word, uint32_t old, patience *spin) {
  for (uint32_t turn = 0; turn < spin->now; ++turn) {
    if (atomic_load_explicit(&word->value, memory_order_acquire) != old) {
      if (spin->now < spin->most) {
        const uint32_t grown = spin->now + spin->most / 8;
        spin->now = grown < spin->most ? grown : spin->most;
      }
      return;
    }
    pause_briefly();
  }
  const int64_t start = now_nanoseconds();
  // Either the waker's look at `sleepers` comes after this addition and it wakes us, or its new
  // value came before and the kernel refuses to let us sleep: both sides are sequentially
  // consistent.
  atomic_fetch_add(&word->sleepers, 1);
  while (atomic_load(&word->value) == old) futex(&word->value, FUTEX_WAIT_PRIVATE, old);
  atomic_fetch_sub(&word->sleepers, 1);
  // Where the wait was short, spinning would have been right, and the patience comes back at once.
  // Otherwise members that have all lost theirs would never find it again: being woken takes longer
  // than each of them still spins, and so each makes the next one sleep.
  const int64_t slept = now_nanoseconds() - start;
  spin->slept += slept;
  if (slept < spin->most_nanoseconds) {
    spin->now = spin->most;
  } else {
    const uint32_t halved = spin->now / 2;
    spin->now = halved > spin->least ? halved : spin->least;
  }
}

void watched_wake(watched *word) {
  if (atomic_load(&word->sleepers) != 0) futex(&word->value, FUTEX_WAKE_PRIVATE, INT32_MAX);
}

// Few members look for each other's arrival: a line goes each way, both at once. Counting takes
// three ways one after the other, but each member waits for one line, however many they are.
enum { few_members = 4 };

static void meet_few(ck_team *team, int32_t index) {
  watched *own = &team->members[index].arrival;
  const uint32_t number = atomic_load_explicit(&own->value, memory_order_relaxed) + 1;
  atomic_store(&own->value, number);
  watched_wake(own);
  for (int32_t i = 0; i < team->threads; ++i) {
    watched *peer = &team->members[i].arrival;
    for (;;) {
      // A peer may have come to the next barrier already, not to the one after; counts wrap.
      const uint32_t seen = atomic_load_explicit(&peer->value, memory_order_acquire);
      if ((int32_t)(seen - number) >= 0) break;
      watched_wait(peer, seen, &team->members[index].at_barrier);
    }
  }
}

void ck_barrier(const ck_thread *t) {
  if (t->count == 1) return;
  ck_team *team = t->team;
  if (t->count <= few_members) {
    meet_few(team, t->index);
    return;
  }
  // The value cannot move before this thread has arrived, so a relaxed look is exact.
  const uint32_t old = atomic_load_explicit(&team->barrier.value, memory_order_relaxed);
  const uint32_t before = atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel);
  if (before + 1 == (uint32_t)t->count) {
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store(&team->barrier.value, old + 1);
    watched_wake(&team->barrier);
  } else {
    watched_wait(&team->barrier, old, &team->members[t->index].at_barrier);
  }
}
