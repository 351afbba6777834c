/* A slot freed before fork and again by the child, which hands its end on. */
#include <buddymalloc/buddymalloc.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);
    int status = 0;

    buddymalloc_free(block);
    pid_t child = fork();
    if (child == 0)
        buddymalloc_free(block);
    else if (waitpid(child, &status, 0) == child && WIFSIGNALED(status))
        (void)raise(WTERMSIG(status));
    return 0;
}
