# Completion of the command buddymalloc for bash.
# shellcheck shell=bash

_buddymalloc_options="--hardened --no-check --stats --limit --purge-delay --background-purge --huge-pages
    --no-guard-empty --perturb --set --version --help"
_buddymalloc_settings="background_purge:on background_purge:off huge_pages:on huge_pages:off
    guard_empty:on guard_empty:off limit: purge_delay: check:exit check:off stats:exit"

# Sets program_index, of the word that is the program, or would be. Readline takes the colon of
# NAME:VALUE and the = of --limit=SIZE for words of their own.
_buddymalloc_find_program() {
    local word
    program_index=1
    while [[ $program_index -lt $COMP_CWORD && ${COMP_WORDS[program_index]} = -* ]]; do
        word=${COMP_WORDS[program_index]}
        program_index=$((program_index + 1))
        [[ $word != -- ]] || return
        case $word in
            --limit | --purge-delay | --perturb | --set)
                [[ ${COMP_WORDS[program_index]} = "=" ]] || program_index=$((program_index + 1))
                ;;
        esac
        while [[ ${COMP_WORDS[program_index]-} = [:=] ]]; do
            program_index=$((program_index + 2))
        done
    done
}

# Completes the word so far from a list.
_buddymalloc_from() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
    [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *: ]] || compopt -o nospace 2>/dev/null
}

# Completes what stands behind the colon of a setting: NAME WORD.
_buddymalloc_value() {
    local setting values=
    for setting in $_buddymalloc_settings; do
        [[ $setting != "$1":?* ]] || values+=" ${setting#*:}"
    done
    _buddymalloc_from "$values" "$2"
}

_buddymalloc() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} program_index
    COMPREPLY=()
    _buddymalloc_find_program
    if [ "$program_index" -lt "$COMP_CWORD" ]; then
        if declare -F _command_offset >/dev/null; then
            _command_offset "$program_index"
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
    elif [[ $word = : ]]; then
        _buddymalloc_value "$before" ""
    elif [[ $before = : ]]; then
        _buddymalloc_value "${COMP_WORDS[COMP_CWORD - 2]}" "$word"
    elif [[ $before = --set ]]; then
        _buddymalloc_from "$_buddymalloc_settings" "$word"
    elif [[ $program_index -gt $COMP_CWORD && $before != -- ]]; then
        return # a number
    elif [[ $word = -* && $before != -- ]]; then
        _buddymalloc_from "$_buddymalloc_options" "$word"
    else
        mapfile -t COMPREPLY < <(compgen -c -- "$word")
    fi
}

complete -F _buddymalloc buddymalloc
