/*
 * buddymalloc in C++: containers whose elements live in buddymalloc's heap, whatever malloc and
 * operator new the rest of the program uses.
 *
 *     std::vector<int, buddymalloc::allocator<int>> numbers;             // C++11
 *     std::pmr::vector<int> numbers(buddymalloc::default_resource());    // C++17
 *
 * To be linked with the library `buddymalloc` (or `buddymalloc-override`, which replaces operator
 * new as well). Everything here may be used from any thread.
 *
 * Sizes and alignments are bytes. Where there is no memory std::bad_alloc is thrown, at once: the
 * function of std::set_new_handler is for operator new, and isn't called. In code that is compiled
 * without exceptions std::abort is called instead.
 */
#ifndef BUDDYMALLOC_HPP
#define BUDDYMALLOC_HPP

#include <buddymalloc/buddymalloc.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>

#if __cplusplus >= 201703L && defined(__has_include)
#if __has_include(<memory_resource>)
#include <memory_resource>
#endif
#endif

namespace buddymalloc
{

namespace detail
{

/* What every block is aligned to, whether it was asked for or not. */
constexpr std::size_t least_alignment = 16;

[[noreturn]] inline void throw_bad_alloc()
{
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
    throw std::bad_alloc();
#else
    std::abort();
#endif
}

/* Throws what allocator_traits' allocate throws for an array that no size_t can tell. */
[[noreturn]] inline void throw_bad_length()
{
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
    throw std::bad_array_new_length();
#else
    std::abort();
#endif
}

inline void *allocate(std::size_t bytes, std::size_t alignment)
{
    void *block = alignment <= least_alignment ? buddymalloc_malloc(bytes)
                                               : buddymalloc_aligned_alloc(alignment, bytes);
    if (block == nullptr)
        throw_bad_alloc();
    return block;
}

inline void deallocate(void *block, std::size_t bytes, std::size_t alignment) noexcept
{
    if (alignment <= least_alignment)
        buddymalloc_free_sized(block, bytes);
    else
        buddymalloc_free_aligned_sized(block, alignment, bytes);
}

} // namespace detail

/*
 * An allocator as [allocator.requirements] of the C++ standard has it. It has no state, so any two
 * are equal and containers move their elements by a pointer. Types may be aligned to any power of
 * two.
 */
template <class T> class allocator
{
  public:
    using value_type = T;
    using propagate_on_container_move_assignment = std::true_type;
    using is_always_equal = std::true_type;

    allocator() noexcept = default;
    template <class U> allocator(const allocator<U> &) noexcept
    {
    }

    /* Room for `count` objects; for 0 a pointer that deallocate takes. Throws
     * std::bad_array_new_length when their bytes exceed PTRDIFF_MAX, std::bad_alloc when there is
     * no memory. */
    T *allocate(std::size_t count)
    {
        if (count > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T))
            detail::throw_bad_length();
        return static_cast<T *>(detail::allocate(count * sizeof(T), alignof(T)));
    }

    /* Takes back what allocate(count) of any such allocator gave. */
    void deallocate(T *block, std::size_t count) noexcept
    {
        detail::deallocate(block, count * sizeof(T), alignof(T));
    }
};

template <class T, class U> bool operator==(const allocator<T> &, const allocator<U> &) noexcept
{
    return true;
}

template <class T, class U> bool operator!=(const allocator<T> &, const allocator<U> &) noexcept
{
    return false;
}

#ifdef __cpp_lib_memory_resource

/* The heap as a memory resource, [mem.res.class] of the C++ standard. Any two are equal; where
 * there is no run-time type information, each is equal to itself alone. */
class memory_resource : public std::pmr::memory_resource
{
    /* std::bad_alloc: no memory, or an alignment that is not a power of two. */
    void *do_allocate(std::size_t bytes, std::size_t alignment) override
    {
        return detail::allocate(bytes, alignment);
    }

    void do_deallocate(void *block, std::size_t bytes, std::size_t alignment) override
    {
        detail::deallocate(block, bytes, alignment);
    }

    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
    {
#ifdef __cpp_rtti
        return dynamic_cast<const memory_resource *>(&other) != nullptr;
#else
        return this == &other;
#endif
    }
};

/* One for all to use, that is there as long as the program runs: objects with static storage may
 * give their memory back to it when they are destroyed. */
inline memory_resource *default_resource() noexcept
{
    alignas(memory_resource) static unsigned char storage[sizeof(memory_resource)];
    static memory_resource *const resource = ::new (storage) memory_resource;
    return resource;
}

#endif

} // namespace buddymalloc

#endif
