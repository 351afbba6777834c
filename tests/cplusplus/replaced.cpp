/* A program that defines two forms itself, with a header before each block: all others that the
 * standard defines by a call of those two reach them, and none goes to the heap past them. The
 * aligned ones stay the library's. */
#include "../preload/check.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace
{

const std::size_t header_bytes = 32;
const std::uint64_t live = 0x4c495645;
int balance;
bool is_exhausted;

} // namespace

void *operator new(std::size_t size)
{
    auto *header =
        is_exhausted ? nullptr : static_cast<std::uint64_t *>(std::malloc(header_bytes + size));
    if (header == nullptr)
        throw std::bad_alloc();
    *header = live;
    balance++;
    return reinterpret_cast<char *>(header) + header_bytes;
}

void operator delete(void *block) noexcept
{
    if (block == nullptr)
        return;
    auto *header = reinterpret_cast<std::uint64_t *>(static_cast<char *>(block) - header_bytes);
    check(*header == live);
    *header = 0;
    balance--;
    std::free(header);
}

int main()
{
    ::operator delete (::operator new(10), std::size_t{10});
    check(balance == 0);
    ::operator delete[](::operator new[](10));
    check(balance == 0);
    void *block = ::operator new[](10);
    check(balance == 1);
    ::operator delete[](block, std::size_t{10});
    check(balance == 0);
    block = ::operator new(10, std::nothrow);
    check(balance == 1);
    ::operator delete(block, std::nothrow);
    block = ::operator new[](10, std::nothrow);
    check(balance == 1);
    ::operator delete[](block, std::nothrow);
    check(balance == 0);

    is_exhausted = true;
    check(::operator new(10, std::nothrow) == nullptr);
    check(::operator new[](10, std::nothrow) == nullptr);
    is_exhausted = false;

    const auto align = std::align_val_t{256};
    block = ::operator new[](10, align);
    check(reinterpret_cast<std::uintptr_t>(block) % 256 == 0);
    ::operator delete[](block, std::size_t{10}, align);
    check(balance == 0);
    return 0;
}
