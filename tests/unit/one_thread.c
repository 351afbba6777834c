/* one thread: whether it is told, and that a seal is broken once in both cases. No test of
 * Criterion's, where a process has threads. */
#include "api/hardened/seal.h"
#include "check.h"

#include <pthread.h>

static _Alignas(16) unsigned char block[64];

static void check_breaking(void)
{
    struct bm_sealed sealed;
    memset(block, 0, sizeof block);
    bm_seal_write(block, sizeof block, 40, false);
    check(bm_seal_read(block, sizeof block, &sealed));
    check(!bm_seal_break(block, sizeof block, sealed.seal ^ 4));
    check(bm_seal_read(block, sizeof block, &sealed));
    check(bm_seal_break(block, sizeof block, sealed.seal));
    check(!bm_seal_break(block, sizeof block, sealed.seal));
    check(*bm_seal_at(block, sizeof block) == 0);
}

static void *check_second(void *unused)
{
    check(!bm_has_one_thread());
    check_breaking();
    return unused;
}

int main(void)
{
    pthread_t second;
    bm_seal_init();
#ifdef BM_TELLS_ONE_THREAD
    check(bm_has_one_thread());
#endif
    check_breaking();
    check(pthread_create(&second, NULL, check_second, NULL) == 0);
    check(pthread_join(second, NULL) == 0);
    return 0;
}
