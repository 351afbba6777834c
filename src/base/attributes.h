/* attributes: what the compiler is told beyond C. */
#ifndef BM_BASE_ATTRIBUTES_H
#define BM_BASE_ATTRIBUTES_H

/* Whether this is the hardened library; what is shared with the other one doesn't ask. */
#ifndef BM_HARDENED
#define BM_HARDENED 0
#endif

#define bm_likely(condition)   __builtin_expect(!!(condition), 1)
#define bm_unlikely(condition) __builtin_expect(!!(condition), 0)

#define BM_MUST_CHECK __attribute__((warn_unused_result))
#define BM_NORETURN   __attribute__((noreturn))

/* Says that the cache line at an address is about to be written: another processor may have it.
 * Compilers ask for it to be read only, unless they may rely on more than the oldest x86-64. */
#if defined(__x86_64__)
#define bm_prefetch_to_write(address) \
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)(address)))
#else
#define bm_prefetch_to_write(address) __builtin_prefetch((address), 1)
#endif

/* Slow paths: out of line, so that the fast path around the call needs no stack frame. */
#define BM_COLD __attribute__((noinline, cold))
#define BM_SLOW __attribute__((noinline))
/* Fast paths: inlined even where the compiler's own estimate says otherwise. */
#define BM_INLINE static inline __attribute__((always_inline))

/*
 * A relaxed load of an atomic object that the compiler may fold into the instruction that uses
 * it; it does not do that for atomic_load_explicit. A machine word is read whole either way.
 */
#if defined(__SANITIZE_THREAD__)
#define BM_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BM_THREAD_SANITIZER 1
#endif
#endif
#ifndef BM_THREAD_SANITIZER
#define BM_THREAD_SANITIZER 0
#endif
#if BM_THREAD_SANITIZER
#define bm_peek(object) atomic_load_explicit(&(object), memory_order_relaxed)
#else
#define bm_peek(object) \
    (*(__typeof(atomic_load_explicit(&(object), memory_order_relaxed)) *)&(object))
#endif

#endif
