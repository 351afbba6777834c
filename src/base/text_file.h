/* text_file: what a file of the kernel's says, /proc/self/status for one. */
#ifndef BM_BASE_TEXT_FILE_H
#define BM_BASE_TEXT_FILE_H

#include <stddef.h>

/* The first bytes - 1 of a file, ended by a zero; nothing but that where it can't be read. By
 * system calls, because open(2) and its like are points where a thread may be cancelled. errno
 * stays. proc(5). */
void bm_text_file_read(const char *path, char *text, size_t bytes);

#endif
