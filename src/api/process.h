/* process: what happens once: when the heap is set up, the process forks, the library is
 * loaded and the program ends. */
#ifndef BM_API_PROCESS_H
#define BM_API_PROCESS_H

/* Called once, while the heap is set up. In a static link this call is what brings the
 * constructor and the destructor of process.c along. */
void bm_process_start(void);

/* Called after that, by whoever may have done it: here functions of libc are called that another
 * library may have replaced by some that allocate. */
void bm_process_started(void);

#endif
