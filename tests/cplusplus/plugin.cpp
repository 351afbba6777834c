/* A plugin in C++ for a program in C: what it does when there is no memory. */
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>

namespace
{

/* The compiler may not see that it is too much. */
volatile std::size_t too_large = SIZE_MAX / 2 - 4096;

struct own {
};

template <class Call> int outcome(Call call)
{
    try {
        return call() == nullptr ? 0 : -1;
    } catch (const std::bad_alloc &) {
        return 1;
    } catch (const own &) {
        return 2;
    }
}

} // namespace

/* Each returns 0: NULL, 1: std::bad_alloc, 2: what the handler threw, -1: a block. */
extern "C" int plugin_fails()
{
    return outcome([] { return ::operator new(too_large); });
}

extern "C" int plugin_fails_aligned()
{
    return outcome([] { return ::operator new (too_large, std::align_val_t{64}); });
}

extern "C" int plugin_fails_array()
{
    return outcome([] { return ::operator new[](too_large); });
}

/* Called from within the C++ runtime, which is then the caller. One string of the greatest length
 * may fit where it is an int's; four never do. */
extern "C" int plugin_fails_in_library()
{
    return outcome([] {
        std::string texts[4];
        for (std::string &text : texts)
            text.reserve(text.max_size() - 1);
        return static_cast<void *>(nullptr);
    });
}

extern "C" int plugin_fails_nothrow()
{
    return outcome([] { return ::operator new(too_large, std::nothrow); });
}

extern "C" int plugin_fails_by_handler()
{
    std::set_new_handler([] { throw own(); });
    int result = outcome([] { return ::operator new(too_large); });
    std::set_new_handler(nullptr);
    return result;
}

extern "C" int plugin_works()
{
    delete new std::string(1000, 'x');
    delete[] new int[100];
    return 0;
}
