#include "api/hardened/quarantine.h"

#include "base/random.h"

void bm_quarantine_add(struct bm_quarantine *quarantine, struct bm_detained detained)
{
    unsigned recent = quarantine->count < BM_RECENT ? quarantine->count : BM_RECENT - 1;
    unsigned back = bm_random_byte() % (recent + 1);
    struct bm_detained *last = bm_quarantine_at(quarantine, quarantine->count);
    struct bm_detained *other = bm_quarantine_at(quarantine, quarantine->count - back);
    *last = *other;
    *other = detained;
    quarantine->count++;
    quarantine->bytes += detained.bytes;
}

bool bm_quarantine_is_full(const struct bm_quarantine *quarantine, size_t bytes)
{
    return quarantine->count == BM_DETAINED ||
           (quarantine->count > 0 && quarantine->bytes + bytes > BM_DETAINED_BYTES);
}

bool bm_quarantine_take(struct bm_quarantine *quarantine, struct bm_detained *detained)
{
    if (quarantine->count == 0)
        return false;
    *detained = *bm_quarantine_at(quarantine, 0);
    quarantine->first = (quarantine->first + 1) % BM_DETAINED;
    quarantine->count--;
    quarantine->bytes -= detained->bytes;
    return true;
}
