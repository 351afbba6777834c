/* introspect: figures of the whole heap. */
#ifndef BM_API_INTROSPECT_H
#define BM_API_INTROSPECT_H

/* Writes a summary of the heap to a file descriptor. */
void bm_print_summary(int descriptor);

#endif
