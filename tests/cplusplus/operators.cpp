/* Operator new and operator delete on the replaced malloc: every form, on one heap, and what they
 * do when there is no memory. The test calls the forms by their names in C++; the compiler may
 * not leave out such calls. */
#include "../preload/check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <new>
#include <thread>
#include <vector>

/* Weak: a program that has the library preloaded links without it. */
extern "C" std::size_t buddymalloc_set_limit(std::size_t bytes) __attribute__((weak));
extern "C" std::size_t buddymalloc_held_bytes() __attribute__((weak));
extern "C" std::size_t buddymalloc_check_blocks() __attribute__((weak));

namespace
{

const std::size_t too_large = SIZE_MAX / 2 - 4096;

void *volatile sink;

/* While a block is live: the default library looks at none. */
bool is_hardened()
{
    static const bool looks_at_blocks = buddymalloc_check_blocks() != 0;
    return looks_at_blocks;
}

std::size_t used()
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* All that is in use: bytes, and of the hardened library, whose bytes count what waits in
 * quarantine too, blocks. */
std::size_t live()
{
    return is_hardened() ? buddymalloc_check_blocks() : used();
}

bool has_only(const unsigned char *bytes, std::size_t size, unsigned char byte)
{
    for (std::size_t at = 0; at < size; at++)
        if (bytes[at] != byte)
            return false;
    return true;
}

/* What was just allocated: counted, aligned, writable, and filled if MALLOC_PERTURB_ says so; the
 * hardened library ignores it, for there what is new is zero. */
void *checked(void *block, std::size_t size, std::size_t alignment, std::size_t before)
{
    static const char *const perturb = std::getenv("MALLOC_PERTURB_");
    static const int value = perturb == nullptr ? 0 : std::atoi(perturb);
    const auto fill = static_cast<unsigned char>(is_hardened() ? 0 : ~value);
    const std::size_t looked_at = 4096;
    auto *bytes = static_cast<unsigned char *>(block);

    check(block != nullptr);
    check(reinterpret_cast<std::uintptr_t>(block) % alignment == 0);
    check(is_hardened() ? malloc_usable_size(block) == size : malloc_usable_size(block) >= size);
    check(is_hardened() || used() - before == malloc_usable_size(block));
    if (value != 0)
        check(has_only(bytes, std::min(size, looked_at), fill));
    std::memset(block, 0x5a, size);
    return block;
}

void use_plain(std::size_t size)
{
    const std::size_t before = used();

    ::operator delete(checked(::operator new(size), size, 16, before));
    ::operator delete(checked(::operator new(size), size, 16, before), size);
    ::operator delete(checked(::operator new(size, std::nothrow), size, 16, before), std::nothrow);
    ::operator delete[](checked(::operator new[](size), size, 16, before));
    ::operator delete[](checked(::operator new[](size), size, 16, before), size);
    ::operator delete[](checked(::operator new[](size, std::nothrow), size, 16, before),
                        std::nothrow);
    check(is_hardened() || used() == before);
}

void use_aligned(std::size_t size, std::size_t alignment)
{
    const std::size_t before = used();
    const auto align = static_cast<std::align_val_t>(alignment);

    ::operator delete(checked(::operator new(size, align), size, alignment, before), align);
    ::operator delete(checked(::operator new(size, align), size, alignment, before), size, align);
    ::operator delete(checked(::operator new(size, align, std::nothrow), size, alignment, before),
                      align, std::nothrow);
    ::operator delete[](checked(::operator new[](size, align), size, alignment, before), align);
    ::operator delete[](checked(::operator new[](size, align), size, alignment, before), size,
                        align);
    ::operator delete[](
        checked(::operator new[](size, align, std::nothrow), size, alignment, before), align,
        std::nothrow);
    check(is_hardened() || used() == before);
}

void use_all()
{
    for (std::size_t size = 0; size < 6 * 1024 * 1024; size = size * 3 + 1) {
        use_plain(size);
        for (std::size_t alignment = 1; alignment <= 8 * 1024 * 1024; alignment *= 2)
            use_aligned(size, alignment);
    }
    for (std::size_t size = 0; size < 2048; size += 5)
        for (std::size_t alignment = 8; alignment <= 8192; alignment *= 2)
            use_aligned(size, alignment);
    ::operator delete(nullptr);
    ::operator delete[](nullptr, std::align_val_t{64});
}

template <class Call> bool throws_bad_alloc(Call call)
{
    try {
        call();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

void fail_without_handler()
{
    const auto align = std::align_val_t{64};

    check(std::get_new_handler() == nullptr);
    for (std::size_t size : {too_large, SIZE_MAX / 2 + 1, SIZE_MAX - 8, SIZE_MAX}) {
        check(throws_bad_alloc([=] { sink = ::operator new(size); }));
        check(throws_bad_alloc([=] { sink = ::operator new[](size); }));
        check(throws_bad_alloc([=] { sink = ::operator new(size, align); }));
        check(throws_bad_alloc([=] { sink = ::operator new[](size, align); }));
        check(::operator new(size, std::nothrow) == nullptr);
        check(::operator new[](size, std::nothrow) == nullptr);
        check(::operator new(size, align, std::nothrow) == nullptr);
        check(::operator new[](size, align, std::nothrow) == nullptr);
    }
}

int handler_calls;

void give_up_after_three_calls()
{
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

/* Not asked for by the standard: as libstdc++ has it, without a call of the handler. */
void fail_to_align()
{
    handler_calls = 0;
    std::set_new_handler(give_up_after_three_calls);
    for (std::size_t alignment : {std::size_t{0}, std::size_t{48}, SIZE_MAX}) {
        const auto align = static_cast<std::align_val_t>(alignment);
        check(throws_bad_alloc([=] { sink = ::operator new(100, align); }));
        check(throws_bad_alloc([=] { sink = ::operator new[](100, align); }));
    }
    check(handler_calls == 0);
    std::set_new_handler(nullptr);
}

struct no_more : std::bad_alloc {
};

void throw_own()
{
    handler_calls++;
    throw no_more();
}

template <class Call> void call_handler_three_times(Call call)
{
    handler_calls = 0;
    std::set_new_handler(give_up_after_three_calls);
    call();
    check(handler_calls == 3);
    check(std::get_new_handler() == nullptr);
}

template <class Call> bool throws_own(Call call)
{
    try {
        call();
    } catch (const no_more &) {
        return true;
    }
    return false;
}

void fail_with_handler()
{
    const auto align = std::align_val_t{64};

    call_handler_three_times(
        [] { check(throws_bad_alloc([] { sink = ::operator new(too_large); })); });
    call_handler_three_times(
        [=] { check(throws_bad_alloc([=] { sink = ::operator new[](too_large, align); })); });
    call_handler_three_times([] { check(::operator new(too_large, std::nothrow) == nullptr); });

    std::set_new_handler(throw_own);
    handler_calls = 0;
    check(throws_own([] { sink = ::operator new(too_large); }));
    check(throws_own([] { sink = ::operator new[](too_large); }));
    check(throws_own([=] { sink = ::operator new(too_large, align); }));
    check(::operator new(too_large, std::nothrow) == nullptr);
    check(::operator new[](too_large, std::nothrow) == nullptr);
    check(::operator new(too_large, align, std::nothrow) == nullptr);
    check(handler_calls == 6);
    std::set_new_handler(nullptr);
}

/* A handler that makes room: it lifts the limit on the heap, and the call succeeds. */
void succeed_after_handler()
{
    enum { block_bytes = 64 * 1024 * 1024 };

    buddymalloc_set_limit(buddymalloc_held_bytes() + block_bytes / 2);
    check(throws_bad_alloc([] { sink = ::operator new(block_bytes); }));
    std::set_new_handler([] {
        handler_calls++;
        buddymalloc_set_limit(SIZE_MAX);
    });
    handler_calls = 0;
    void *block = ::operator new(block_bytes);
    check(block != nullptr && handler_calls == 1);
    ::operator delete(block);
    std::set_new_handler(nullptr);
}

enum { thread_count = 4, round_count = 10, block_count = 200 };

using blocks = std::vector<char *>;

void allocate_blocks(blocks &given, char mark)
{
    for (std::size_t at = 0; at < block_count; at++) {
        char *block = new char[at * 7 + 1];
        *block = mark;
        given.push_back(block);
    }
}

void free_blocks(blocks &given, char mark)
{
    for (char *block : given) {
        check(*block == mark);
        delete[] block;
    }
    given = blocks();
}

template <class Work> void in_threads(Work work)
{
    std::vector<std::thread> threads;
    for (int self = 0; self < thread_count; self++)
        threads.emplace_back(work, self);
    for (std::thread &thread : threads)
        thread.join();
}

/* Each thread frees what another has allocated. */
void hand_over()
{
    blocks given[thread_count];

    for (int round = 0; round < round_count; round++) {
        in_threads([&](int self) { allocate_blocks(given[self], static_cast<char>(self)); });
        in_threads([&](int self) {
            const int other = (self + 1) % thread_count;
            free_blocks(given[other], static_cast<char>(other));
        });
    }
}

} // namespace

int main()
{
    sink = ::operator new(1);
    const std::size_t at_start = live();
    use_all();
    check(live() == at_start);
    fail_without_handler();
    fail_to_align();
    fail_with_handler();
    succeed_after_handler();
    hand_over();
    const std::size_t before = live();
    hand_over();
    check(live() == before);
    return 0;
}
