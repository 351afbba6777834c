/* A program in C that loads a plugin in C++, and with it the C++ runtime, out of sight of all
 * others: exceptions of operator new arrive there. The argument: the plugin. */
#include "../preload/check.h"

#include <dlfcn.h>
#include <stdlib.h>

static int call(void *plugin, const char *name)
{
    int (*function)(void) = (int (*)(void))dlsym(plugin, name);

    check(function != NULL);
    return function();
}

int main(int argc, char **argv)
{
    check(argc == 2);
    check(dlsym(RTLD_DEFAULT, "_ZSt15get_new_handlerv") == NULL);
    for (int flags = RTLD_LAZY; flags != 0; flags = flags == RTLD_LAZY ? RTLD_NOW : 0) {
        void *plugin = dlopen(argv[1], flags | RTLD_LOCAL);
        check(plugin != NULL);
        check(call(plugin, "plugin_works") == 0);
        check(call(plugin, "plugin_fails") == 1);
        check(call(plugin, "plugin_fails_aligned") == 1);
        check(call(plugin, "plugin_fails_array") == 1);
        check(call(plugin, "plugin_fails_in_library") == 1);
        check(call(plugin, "plugin_fails_nothrow") == 0);
        check(call(plugin, "plugin_fails_by_handler") == 2);
        check(dlclose(plugin) == 0);
    }
    check(dlsym(RTLD_DEFAULT, "_ZSt15get_new_handlerv") == NULL);
    return 0;
}
