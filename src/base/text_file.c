#include "base/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

void bm_text_file_read(const char *path, char *text, size_t bytes)
{
    int saved_errno = errno;
    long length = 0;
    long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        length = syscall(SYS_read, file, text, bytes - 1);
        (void)syscall(SYS_close, file);
    }
    text[length < 0 ? 0 : length] = '\0';
    errno = saved_errno;
}
