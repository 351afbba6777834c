/* The allocator as C++11 has it, and its header in a program without exceptions and run-time type
 * information (compiled so by this folder's meson.build). */
#include <buddymalloc/buddymalloc.hpp>

#include <string>
#include <vector>

#if __cplusplus < 201703L
static_assert(__cplusplus == 201103L, "");
#endif

int main()
{
    std::vector<int, buddymalloc::allocator<int>> numbers(1000, 7);
    std::vector<std::string, buddymalloc::allocator<std::string>> texts(10, "text");

    numbers.resize(2000);
    return numbers[999] == 7 && numbers[1999] == 0 && texts[9] == "text" ? 0 : 1;
}
