# What the checks share. A check runs from the root of a source tree and reports by `fault`; house_done ends it.
set -eu
house=$(cd "$(dirname "$0")" && pwd)
cd "${1:-${REFORMER_SOURCE:-$house/../..}}"
used=$(mktemp)
faults=$(mktemp)
trap 'rm -f "$used" "$faults"' EXIT

# sources FOLDER... : the C, C++ and CUDA files below these folders that exist, sorted
sources() {
    for folder in "$@"; do
        if [ -d "$folder" ]; then find "$folder" -type f \( -name '*.c' -o -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \); fi
    done | LC_ALL=C sort
}

# except CHECK: reads lines "PATH NAME MESSAGE..." and prints as faults those that scripts/budget-exceptions does not excuse, by PATH
# or PATH:NAME.
except() {
    awk -v check="$1" -v used="$used" '
        FILENAME == "scripts/budget-exceptions" { if ($1 == check && NF >= 3) excused[$2] = 1; next }
        ($1 ":" $2) in excused { print check, $1 ":" $2 >> used; next }
        $1 in excused { print check, $1 >> used; next }
        { name = $2; path = $1; sub(/^[^ ]+ [^ ]+ /, ""); print path ": " name ": " $0 }
    ' "$(test -f scripts/budget-exceptions && echo scripts/budget-exceptions || echo /dev/null)" - >>"$faults"
    if [ -f scripts/budget-exceptions ]; then
        awk -v check="$1" 'FILENAME != "scripts/budget-exceptions" { seen[$1 " " $2] = 1; next }
            $1 == check && !(($1 " " $2) in seen) { print "scripts/budget-exceptions: " $2 ": nothing needs this exception from " check }
        ' "$used" scripts/budget-exceptions >>"$faults"
    fi
}

house_done() {
    if [ -s "$faults" ]; then
        cat "$faults"
        exit 1
    fi
    echo "nothing to object to"
}
