// What the processor and the operating system offer, read once at start.
#include <string.h>

#include "ck_base.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t xgetbv0(void) {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return ((uint64_t)hi << 32) | lo;
}

// Asks Linux for the AMX tile state (ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA). Granted for the
// whole process, so it must precede the threads.
static bool amx_permitted(void) {
  const long arch_req_xcomp_perm = 0x1023, xtiledata = 18;
  return syscall(SYS_arch_prctl, arch_req_xcomp_perm, xtiledata) == 0;
}

static ck_isa detect(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return CK_ISA_REF;
  const bool osxsave = c >> 27 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
  if (!osxsave || !fma || !f16c) return CK_ISA_REF;
  const uint64_t xcr0 = xgetbv0();
  if ((xcr0 & 0x6) != 0x6) return CK_ISA_REF;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return CK_ISA_REF;
  const uint32_t ebx7 = b, edx7 = d;
  if (!(ebx7 >> 5 & 1)) return CK_ISA_REF;
  const bool avx512 = (xcr0 & 0xe6) == 0xe6 && (ebx7 >> 16 & 1) && (ebx7 >> 17 & 1) &&
                      (ebx7 >> 30 & 1) && (ebx7 >> 31 & 1);
  if (!avx512) return CK_ISA_AVX2;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return CK_ISA_AVX512;
  const bool tiles = (edx7 >> 22 & 1) && (edx7 >> 24 & 1) && (xcr0 & 0x60000) == 0x60000;
  return tiles && amx_permitted() ? CK_ISA_AMX : CK_ISA_AVX512BF16;
}

// AMD since Zen 4: one 512-bit VDPBF16PS a cycle (32 products) beside one fused multiply-add (16):
// measured 1.9 to 2.0 times its rate. Intel since Sapphire Rapids: one every two cycles, beside two
// fused multiply-adds a cycle: half its rate. Cooper Lake, one a cycle beside two: no gain.
static bool is_pair_rate_high(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(0, &a, &b, &c, &d)) return false;
  return b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;
}

// AMD before Zen 5 (family 1Ah) takes two cycles for a 512-bit instruction.
static bool has_half_vectors(void) {
  uint32_t a, b, c, d;
  if (!is_pair_rate_high() || !__get_cpuid(1, &a, &b, &c, &d)) return false;
  return (a >> 8 & 15) + (a >> 20 & 255) < 0x1a;
}
#else
static ck_isa detect(void) { return CK_ISA_REF; }
static bool is_pair_rate_high(void) { return false; }
static bool has_half_vectors(void) { return true; }
#endif

/// The largest cache and how many threads share it, and the ways of the first one of data.
typedef struct cache {
  int64_t bytes;
  int32_t threads, first_ways;
} cache;

/// The caches of processor 0's kind, by the leaf (4 on Intel, 0x8000001d on AMD) that describes one
/// a subleaf; 32 MiB of a thread's own and 8 ways where neither is there. The C library's figure is
/// not asked for: it counts a whole socket where a part of it is shared.
static cache read_caches(void) {
  cache known = {0, 1, 8};
#if defined(__x86_64__)
  const uint32_t leaves[] = {4, 0x8000001d};
  for (int i = 0; i < 2 && known.bytes == 0; i++) {
    for (uint32_t index = 0; index < 8; index++) {
      uint32_t a, b, c, d;
      if (!__get_cpuid_count(leaves[i], index, &a, &b, &c, &d) || (a & 31) == 0) break;
      if ((a & 31) == 2) continue;  // of instructions
      const int64_t ways = (b >> 22) + 1, parts = (b >> 12 & 1023) + 1, line = (b & 4095) + 1;
      const int64_t bytes = ways * parts * line * ((int64_t)c + 1);
      if ((a >> 5 & 7) == 1) known.first_ways = (int32_t)ways;
      if (bytes > known.bytes) known.bytes = bytes, known.threads = (int32_t)(a >> 14 & 4095) + 1;
    }
  }
#endif
  if (known.bytes < 1 << 20) known.bytes = 32 << 20;
  return known;
}

/// Read once: hypervisors trap CPUID.
static cache caches(void) {
  static cache known;  // a race writes the same answers twice, the bytes last
  if (__atomic_load_n(&known.bytes, __ATOMIC_ACQUIRE) == 0) {
    const cache read = read_caches();
    __atomic_store_n(&known.threads, read.threads, __ATOMIC_RELAXED);
    __atomic_store_n(&known.first_ways, read.first_ways, __ATOMIC_RELAXED);
    __atomic_store_n(&known.bytes, read.bytes, __ATOMIC_RELEASE);
  }
  return (cache){__atomic_load_n(&known.bytes, __ATOMIC_RELAXED),
                 __atomic_load_n(&known.threads, __ATOMIC_RELAXED),
                 __atomic_load_n(&known.first_ways, __ATOMIC_RELAXED)};
}

int64_t ck_cache_bytes(void) { return caches().bytes; }
int32_t ck_cache_threads(void) { return caches().threads; }
int32_t ck_first_cache_ways(void) { return caches().first_ways; }

ck_isa ck_isa_best(void) {
  static ck_isa best;
  static bool known;  // a race writes the same answer twice
  if (!__atomic_load_n(&known, __ATOMIC_ACQUIRE)) {
    __atomic_store_n(&best, detect(), __ATOMIC_RELAXED);
    __atomic_store_n(&known, true, __ATOMIC_RELEASE);
  }
  return __atomic_load_n(&best, __ATOMIC_RELAXED);
}

bool ck_multiplies_bf16_pairs_fast(void) {
  static int answer;  // 0: not asked yet (hypervisors trap CPUID); a race asks twice
  int known = __atomic_load_n(&answer, __ATOMIC_RELAXED);
  if (known == 0) {
    known = is_pair_rate_high() ? 1 : -1;
    __atomic_store_n(&answer, known, __ATOMIC_RELAXED);
  }
  return known > 0;
}

double ck_multiply_add_rate(ck_isa isa) {
  static int half;  // 0: not asked yet, 1: yes, -1: no
  int known = __atomic_load_n(&half, __ATOMIC_RELAXED);
  if (known == 0) {
    known = has_half_vectors() ? 1 : -1;
    __atomic_store_n(&half, known, __ATOMIC_RELAXED);
  }
  // Two vectors a cycle of a server's clock, about 3.3 GHz; measured 100 and 59.
  if (isa >= CK_ISA_AVX512) return known > 0 ? 56 : 100;
  return isa >= CK_ISA_AVX2 ? 54 : 2;
}

static const char *const names[CK_ISA_COUNT] = {"ref", "avx2", "avx512", "avx512bf16", "amx"};

const char *ck_isa_name(ck_isa isa) {
  return (unsigned)isa < CK_ISA_COUNT ? names[isa] : "unknown";
}

int ck_isa_from_name(const char *name) {
  for (int i = 0; i < CK_ISA_COUNT; ++i) {
    if (strcmp(name, names[i]) == 0) return i;
  }
  return -1;
}
