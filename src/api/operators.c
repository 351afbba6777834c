/*
 * operators: C++'s operator new and operator delete, under the names that the Itanium C++ ABI gives
 * them, so that they need no C++ compiler, and cost what malloc and free do.
 *
 * Two forms allocate and two free; all others do what [new.delete] of the C++ standard says of
 * them: they call another form, which may be the program's own. Definitions are weak for that
 * reason: a compiler then doesn't inline the callee, and a program that defines some of the forms
 * itself can be linked with the static library. The nothrow forms of operator new are left to the
 * C++ runtime. They catch what a handler throws, which C can't, and the runtime's own call these
 * here.
 *
 * On failure std::get_new_handler's function is called until there is memory or there is no
 * function, then std::bad_alloc is thrown. Programs without a C++ runtime have this library too, so
 * references to it are weak. A C program may load it later, with a plugin, where nobody but that
 * plugin sees it: then it is looked up as the caller's library sees it. Exceptions pass through the
 * functions of this file: it is compiled with -fexceptions.
 */
#include "api/export.h"
#include "api/small.h"
#include "api/user_block.h"
#include "base/bits.h"
#include "base/message.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

/* A form's name: size_t is unsigned long in it, or unsigned int. */
#ifdef __LP64__
#define FORM(before, after) before##m##after
#else
#define FORM(before, after) before##j##after
#endif

#define BM_OPERATOR BM_PUBLIC __attribute__((weak))

/* Who calls these is C++, which declares them by itself. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

struct nothrow; /* std::nothrow_t */

/* ---- the C++ runtime ---- */

typedef void handler_function(void);
typedef handler_function *get_handler_function(void);
typedef void throw_function(void);

handler_function *_ZSt15get_new_handlerv(void) __attribute__((weak)); /* std::get_new_handler */
void _ZSt17__throw_bad_allocv(void) __attribute__((weak));            /* std::__throw_bad_alloc */

/* A static program has no dynamic linker, and old C libraries have it in a library of its own. */
#pragma weak dladdr
#pragma weak dlsym
#pragma weak dlclose

typedef __typeof(dlopen) open_function;

/* A function as the library that has the address `caller` sees it; NULL: it doesn't. The library
 * stays loaded, for a function of it waits for this one. That dlopen itself is looked up is for
 * static programs: their linker warns of every reference to it. */
static void *look_up(const char *name, const void *caller)
{
    Dl_info library;
    if (dladdr == NULL || dlsym == NULL || dlclose == NULL || dladdr(caller, &library) == 0)
        return NULL;
    open_function *open_library = (open_function *)dlsym(RTLD_DEFAULT, "dlopen");
    if (open_library == NULL)
        return NULL;
    void *handle = open_library(library.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == NULL)
        return NULL;
    void *function = dlsym(handle, name);
    (void)dlclose(handle);
    return function;
}

/* NULL: there is none. */
static handler_function *new_handler(const void *caller)
{
    get_handler_function *get = _ZSt15get_new_handlerv;
    if (get == NULL)
        get = (get_handler_function *)look_up("_ZSt15get_new_handlerv", caller);
    return get == NULL ? NULL : get();
}

static BM_NORETURN void throw_bad_alloc(const void *caller)
{
    throw_function *throw_it = _ZSt17__throw_bad_allocv;
    if (throw_it == NULL)
        throw_it = (throw_function *)look_up("_ZSt17__throw_bad_allocv", caller);
    if (throw_it != NULL)
        throw_it();
    struct bm_message message;
    bm_message_init(&message);
    bm_message_text(&message, "buddymalloc: operator new has no memory, and no std::bad_alloc\n");
    bm_message_write(&message, STDERR_FILENO);
    abort();
}

/* ---- the forms that do the work ---- */

static BM_SLOW void *new_slow(size_t size, size_t alignment, const void *caller)
{
    if (!bm_is_power_of_two(alignment))
        throw_bad_alloc(caller);
    for (;;) {
        void *block = alignment <= BM_QUANTUM ? buddymalloc_malloc(size)
                                              : buddymalloc_aligned_alloc(alignment, size);
        if (bm_likely(block != NULL))
            return block;
        handler_function *handler = new_handler(caller);
        if (handler == NULL)
            throw_bad_alloc(caller);
        handler();
    }
}

static BM_SLOW void delete_slow(void *block)
{
    if (block != NULL)
        bm_user_free(block, SIZE_MAX);
}

/* The caller of a form that forwards its call by a jump, as optimised code does, is that form's. */
BM_OPERATOR void *FORM(_Znw, )(size_t size)
{
    void *block;
    if (bm_likely(size <= BM_SMALL_MAX) && bm_likely(bm_small_take(size, &block)))
        return block;
    return new_slow(size, BM_QUANTUM, __builtin_return_address(0));
}

BM_OPERATOR void *FORM(_Znw, St11align_val_t)(size_t size, size_t alignment)
{
    void *block;
    if (bm_likely(bm_small_take_aligned(alignment, size, &block)))
        return block;
    return new_slow(size, alignment, __builtin_return_address(0));
}

BM_OPERATOR void _ZdlPv(void *block)
{
    if (bm_unlikely(!bm_small_free(block)))
        delete_slow(block);
}

BM_OPERATOR void _ZdlPvSt11align_val_t(void *block, size_t alignment)
{
    (void)alignment;
    if (bm_unlikely(!bm_small_free(block)))
        delete_slow(block);
}

/* ---- the forms that call another ---- */

BM_OPERATOR void *FORM(_Zna, )(size_t size)
{
    return FORM(_Znw, )(size);
}

BM_OPERATOR void *FORM(_Zna, St11align_val_t)(size_t size, size_t alignment)
{
    return FORM(_Znw, St11align_val_t)(size, alignment);
}

BM_OPERATOR void _ZdaPv(void *block)
{
    _ZdlPv(block);
}

BM_OPERATOR void _ZdaPvSt11align_val_t(void *block, size_t alignment)
{
    _ZdlPvSt11align_val_t(block, alignment);
}

/* In the hardened library a size that isn't the block's is misuse, if the block is ours to free: if
 * the form that the standard says to call is this library's own. */
static void delete_sized(void *block, size_t size)
{
    if (block != NULL)
        bm_user_free(block, size);
}

static void own_delete(void *block) __attribute__((alias("_ZdlPv")));
static void own_delete_aligned(void *block, size_t alignment)
    __attribute__((alias("_ZdlPvSt11align_val_t")));

BM_OPERATOR void FORM(_ZdlPv, )(void *block, size_t size)
{
    if (BM_HARDENED && _ZdlPv == own_delete)
        delete_sized(block, size);
    else
        _ZdlPv(block);
}

BM_OPERATOR void FORM(_ZdlPv, St11align_val_t)(void *block, size_t size, size_t alignment)
{
    if (BM_HARDENED && _ZdlPvSt11align_val_t == own_delete_aligned)
        delete_sized(block, size);
    else
        _ZdlPvSt11align_val_t(block, alignment);
}

BM_OPERATOR void _ZdlPvRKSt9nothrow_t(void *block, const struct nothrow *nothrow)
{
    (void)nothrow;
    _ZdlPv(block);
}

BM_OPERATOR void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment,
                                                     const struct nothrow *nothrow)
{
    (void)nothrow;
    _ZdlPvSt11align_val_t(block, alignment);
}

BM_OPERATOR void FORM(_ZdaPv, )(void *block, size_t size)
{
    (void)size;
    _ZdaPv(block);
}

BM_OPERATOR void FORM(_ZdaPv, St11align_val_t)(void *block, size_t size, size_t alignment)
{
    (void)size;
    _ZdaPvSt11align_val_t(block, alignment);
}

BM_OPERATOR void _ZdaPvRKSt9nothrow_t(void *block, const struct nothrow *nothrow)
{
    (void)nothrow;
    _ZdaPv(block);
}

BM_OPERATOR void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment,
                                                     const struct nothrow *nothrow)
{
    (void)nothrow;
    _ZdaPvSt11align_val_t(block, alignment);
}
