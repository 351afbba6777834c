/* libstdc++'s containers on the library's heap: by operator new where the library is the program's
 * malloc, by the allocator and the memory resource of buddymalloc.hpp where it has the prefix. */
#include "../preload/check.h"

#include <buddymalloc/buddymalloc.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <numeric>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#ifdef OVERRIDE
template <class T> using allocator_of = std::allocator<T>;
#else
template <class T> using allocator_of = buddymalloc::allocator<T>;
#endif

namespace
{

std::size_t used()
{
    const struct buddymalloc_info info = buddymalloc_mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* All that is in use: bytes, and of the hardened library, whose bytes count what waits in
 * quarantine too, blocks. There are some: one is destroyed after all else. */
std::size_t live()
{
    const std::size_t blocks = buddymalloc_check_blocks();
    return blocks != 0 ? blocks : used();
}

template <class Type> bool is_aligned(const Type *object)
{
    return reinterpret_cast<std::uintptr_t>(object) % alignof(Type) == 0;
}

struct alignas(256) wide {
    int value;
};

using text = std::basic_string<char, std::char_traits<char>, allocator_of<char>>;

void use_sequences()
{
    std::vector<int, allocator_of<int>> numbers;
    std::deque<text, allocator_of<text>> texts;
    std::list<wide, allocator_of<wide>> wides;
    const std::size_t before = used();

    for (int i = 0; i < 20000; i++) {
        numbers.push_back(i);
        texts.emplace_front(static_cast<std::size_t>(i % 100), 'x');
        if (i % 10 == 0)
            check(is_aligned(&wides.insert(wides.end(), wide{i})->value));
    }
    /* It is this heap that they are in. */
    check(used() - before >= numbers.capacity() * sizeof(int) + wides.size() * sizeof(wide));
    check(std::accumulate(numbers.begin(), numbers.end(), 0) == 199990000);
    check(texts.back().empty() && texts.front().size() == 99);

    const int *first = numbers.data();
    auto moved = std::move(numbers);
    check(moved.data() == first);
    numbers.clear();
    numbers = std::move(moved);
    check(numbers.data() == first);
    const auto copy = numbers;
    check(copy == numbers);
}

void use_maps()
{
    using entry = std::pair<const int, text>;
    std::map<int, text, std::less<int>, allocator_of<entry>> ordered;
    std::unordered_map<int, text, std::hash<int>, std::equal_to<int>, allocator_of<entry>> hashed;

    for (int i = 0; i < 10000; i++) {
        ordered[i * 7919 % 10007] = text(static_cast<std::size_t>(i % 200), 'y');
        hashed[i] = ordered[i * 7919 % 10007];
    }
    check(ordered.size() == 10000 && hashed.size() == 10000);
    check(hashed.at(199).size() == 199);
    for (int i = 0; i < 10000; i += 2)
        hashed.erase(i);
    check(hashed.size() == 5000);
}

/* What allocates by itself, and takes no allocator. */
void use_owners()
{
    auto shared = std::allocate_shared<wide>(allocator_of<wide>(), wide{5});
    check(is_aligned(shared.get()));
    std::weak_ptr<wide> observer = shared;
    std::thread([kept = std::move(shared)]() mutable { kept.reset(); }).join();
    check(observer.expired());

    auto unique = std::make_unique<wide[]>(9);
    check(is_aligned(unique.get()));
    const text captured(300, 'z');
    std::function<std::size_t()> size =
        [captured, unique = std::shared_ptr<wide[]>(std::move(unique))] { return captured.size(); };
    auto copy = size;
    size = nullptr;
    check(copy() == 300);
}

void use_resource(std::pmr::memory_resource *resource)
{
    const std::size_t live_before = live();
    {
        const std::size_t before = used();
        std::pmr::vector<std::pmr::string> strings(resource);
        std::pmr::unordered_map<std::pmr::string, int> counts(resource);
        std::pmr::map<int, std::pmr::list<int>> lists(resource);
        std::pmr::deque<wide> wides(resource);
        for (int i = 0; i < 3000; i++) {
            strings.emplace_back(static_cast<std::size_t>(i % 500), 'p');
            counts[strings.back()] += i;
            lists[i % 50].push_back(i);
            wides.push_back(wide{i});
            check(is_aligned(&wides.back()));
        }
        check(strings.back().get_allocator().resource() == resource);
        check(counts.size() == 500 && lists.at(49).size() == 60);
        check(used() - before > wides.size() * sizeof(wide));

        std::pmr::unsynchronized_pool_resource pool(resource);
        std::pmr::list<std::pmr::string> pooled(&pool);
        for (std::size_t i = 0; i < 3000; i++)
            pooled.emplace_front(i % 300, 'q');
    }
    check(live() == live_before);
}

template <class Exception, class Call> bool throws(Call call)
{
    try {
        call();
    } catch (const Exception &) {
        return true;
    }
    return false;
}

void fail()
{
    buddymalloc::allocator<wide> wides;
    buddymalloc::allocator<char> chars;
    std::pmr::memory_resource *resource = buddymalloc::default_resource();
    const std::size_t too_large = SIZE_MAX / 2 - 4096;
    volatile std::size_t no_power_of_two = 48;

    check(throws<std::bad_array_new_length>([&] { (void)wides.allocate(SIZE_MAX / 256 + 2); }));
    check(throws<std::bad_array_new_length>([&] { (void)chars.allocate(SIZE_MAX); }));
    check(throws<std::bad_alloc>([&] { (void)chars.allocate(too_large); }));
    check(throws<std::bad_alloc>([&] { (void)wides.allocate(too_large / sizeof(wide)); }));
    check(throws<std::bad_alloc>([&] { (void)resource->allocate(too_large); }));
    check(throws<std::bad_alloc>([&] { (void)resource->allocate(100, no_power_of_two); }));
}

void compare()
{
    buddymalloc::memory_resource other;
    buddymalloc::allocator<int> ints;
    buddymalloc::allocator<wide> wides(ints);

    check(ints == wides);
    check(!(ints != wides));
    check(*buddymalloc::default_resource() == other);
    check(*buddymalloc::default_resource() != *std::pmr::null_memory_resource());
    wides.deallocate(buddymalloc::allocator<wide>(ints).allocate(0), 0);
}

} // namespace

/* Destroyed after all else, when its memory goes back to the resource. */
std::pmr::vector<int> until_exit(1000, buddymalloc::default_resource());

int main()
{
    for (int round = 0; round < 2; round++) {
        use_sequences();
        use_maps();
        use_owners();
        std::thread(use_maps).join();
    }
#ifdef OVERRIDE
    use_resource(std::pmr::new_delete_resource());
#endif
    use_resource(buddymalloc::default_resource());
    fail();
    compare();
    return 0;
}
