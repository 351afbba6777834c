# Completion of the command buddymalloc for fish.

complete -c buddymalloc -x \
    -a '(__fish_complete_subcommand -- --limit --purge-delay --perturb --set)'
complete -c buddymalloc -l hardened -d 'Use the library that finds memory errors'
complete -c buddymalloc -l no-check -d 'Do not look at all blocks for damage when a process ends'
complete -c buddymalloc -l stats -d 'Print a summary of the heap when the program ends'
complete -c buddymalloc -x -l limit -d 'The most the heap may hold, in bytes or with K, M, G or T'
complete -c buddymalloc -x -l purge-delay -d 'Give back what was free for so many milliseconds'
complete -c buddymalloc -l background-purge -d 'Give back by a thread'
complete -c buddymalloc -l no-guard-empty -d 'malloc(0) gives a few bytes, not an address that faults'
complete -c buddymalloc -l huge-pages -d 'Ask for huge pages where a heap is large'
complete -c buddymalloc -x -l perturb -d 'Fill new and freed blocks, 0 to 255'
complete -c buddymalloc -x -l set -d 'Set any option' \
    -a 'background_purge:{on,off} huge_pages:{on,off} guard_empty:{on,off} limit: purge_delay: check:{exit,off} stats:exit'
complete -c buddymalloc -l version -d 'Print the version'
complete -c buddymalloc -l help -d 'Print how to use it'
