#!/bin/sh
# The library keeps no global state: no object of it has writable data, save what scripts/budget-exceptions names. (Tables of
# pointers that the loader fills in and then protects, .data.rel.ro, are constant.)
. "$(dirname "$0")/common.sh"
library=${2:-${REFORMER_BUILD:-build}/libreformer.a}
if [ ! -f "$library" ] || ! command -v objdump >/dev/null; then
    echo "skipped: no $library, or no objdump"
    exit 77
fi
objdump -t "$library" | awk '
    /^[^ ]+\.o:/ { file = $1; sub(/\.o:$/, "", file) }
    / O / && ($0 ~ / \.(data|bss|tdata|tbss)(\.[^r][^ ]*)?\t/ || / \*COM\*\t/) {
        name = $NF; sub(/\.[0-9]+$/, "", name)
        print file, name, "is writable data: state that outlives a call"
    }' | except state
house_done
