# For the scripts beside it: installs the build into $root, below $work; $at is the prefix in there.
build=$(dirname "$AE_BIN")
work=$(mktemp -d)
chmod 0711 "$work"
trap 'rm -rf "$work"' EXIT
root=$work/root

# From a subshell too; each script ends with: verdict.
complain() {
    echo "$*"
    : >"$work/wrong"
}
verdict() { [ ! -e "$work/wrong" ]; }

# silent WHAT COMMAND...: it succeeds and says nothing.
silent() {
    local what=$1 said
    shift
    if ! said=$("$@" 2>&1) || [ -n "$said" ]; then complain "$what: $said"; fi
}

DESTDIR=$root cmake --install "$build" >"$work/installed" 2>&1 || {
    cat "$work/installed"
    exit 1
}
prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:[A-Z]*=//p' "$build/CMakeCache.txt")
at=$root$prefix
