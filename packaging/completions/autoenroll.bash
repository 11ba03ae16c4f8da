# Completion of autoenroll(1) for bash. The program itself knows its verbs and options, and asks the daemon for names.
_autoenroll() {
    local line word
    COMPREPLY=()
    while IFS= read -r line; do
        word=${line%%$'\t'*}
        if [ "$word" = @files ]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do
                COMPREPLY+=("$word")
            done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
        elif [ -n "$word" ]; then
            COMPREPLY+=("$(printf %q "$word")")
        fi
    done < <("${COMP_WORDS[0]}" --complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _autoenroll autoenroll
