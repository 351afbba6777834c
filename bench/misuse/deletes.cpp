// deletes KIND: an operator delete that doesn't match its operator new. Status 0: it had its way.
#include <cstddef>
#include <cstring>
#include <string>

namespace
{

// The compiler must not know what it is that is deleted.
volatile std::size_t zero;

template <typename Type, typename Other> Type *hide(Other *block)
{
    return reinterpret_cast<Type *>(reinterpret_cast<char *>(block) + zero);
}

struct large {
    std::size_t members[9];
};

int run(const char *kind)
{
    if (std::strcmp(kind, "delete_of_larger_type") == 0)
        delete hide<large>(new char);
    else if (std::strcmp(kind, "delete_of_chars") == 0)
        delete hide<char>(new char[4096]);
    else if (std::strcmp(kind, "delete_of_strings") == 0)
        delete hide<std::string>(new std::string[4096]);
    else if (std::strcmp(kind, "array_delete_of_char") == 0)
        delete[] hide<char>(new char);
    else if (std::strcmp(kind, "array_delete_of_string") == 0)
        delete[] hide<std::string>(new std::string);
    else
        return 2;
    return 0;
}

} // namespace

int main(int argc, char **argv)
{
    return argc == 2 ? run(argv[1]) : 2;
}
