#compdef autoenroll
# Completion of autoenroll(1) for zsh. The program itself knows its verbs and options, and asks the daemon for names.
_autoenroll() {
    local -a lines candidates
    local line
    lines=("${(@f)$(${words[1]} --complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in $lines; do
        if [[ ${line%%$'\t'*} == @files ]]; then
            _files
        elif [[ -n $line ]]; then
            candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( $#candidates )) && _describe autoenroll candidates
}
if [[ $funcstack[1] == _autoenroll ]]; then
    _autoenroll "$@"
else
    compdef _autoenroll autoenroll
fi
