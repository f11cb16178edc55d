# shellcheck shell=sh
# What the examples share; each sources this with `name` set. Gives: program, data, output, size (full or small), seconds.
#   run [--small] [--output DIR] DATA       DATA may also stand in the environment
# A script that makes its data sets made=yes, and takes no DATA; one with settings of its own names them in `settings`: --NAME VALUE each.
# REFORMER names the program (default: build/reformer here, else the one installed). The smaller setting is also taken where `devices` knows no GPU,
# unless --full asks for the large one.

root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/examples/$name
data=${DATA:-}
output=${OUTPUT:-}
size=

usage() {
    sed -n '2,/^set /{s/^# \{0,1\}//p;}' "$here/run" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --small) size=small ;;
    --full) size=full ;;
    --output)
        [ $# -ge 2 ] || usage
        output=$2
        shift
        ;;
    --*)
        case " ${settings:-} " in
        *" ${1#--} "*) ;;
        *) usage ;;
        esac
        [ $# -ge 2 ] || usage
        eval "${1#--}=\$2"
        shift
        ;;
    -*) usage ;;
    *) data=$1 ;;
    esac
    shift
done
[ -n "$data" ] || [ "${made:-no}" = yes ] || usage

program=${REFORMER:-$root/build/reformer}
[ -x "$program" ] || program=$(command -v reformer) || {
    echo "$name: no program at $root/build/reformer; build it or set REFORMER" >&2
    exit 1
}
if [ -z "$size" ]; then
    size=small
    "$program" devices | grep -q '^cuda:' && size=full
fi
output=${output:-$root/runs/$name-$size}
mkdir -p "$output"
started=$(date +%s)

say() { printf '\n== %s\n' "$*"; }

seconds() { echo $(($(date +%s) - started)); }

# unpacked FILE: its bytes, whether it stands there as it is or as FILE.xz or FILE.gz
unpacked() {
    for file in "$1" "$1.xz" "$1.gz"; do
        [ -f "$file" ] || continue
        case $file in
        *.xz) xz -dc "$file" ;;
        *.gz) gzip -dc "$file" ;;
        *) cat "$file" ;;
        esac
        return
    done
    echo "$name: there is no $1 (nor .xz, .gz)" >&2
    return 1
}

# learn FOLDER OPTION...: `train` into a folder of the output that is made anew; its log beside it, the end of it shown where it fails
learn() {
    folder=$output/$1
    shift
    rm -rf "$folder"
    if ! "$program" train --output "$folder" --no-tensorboard --keep 1 "$@" >"$folder.log" 2>&1; then
        tail -n 20 "$folder.log" >&2
        exit 1
    fi
    grep -E '^(steps|loss|validation|memory) ' "$folder.log"
}

# figure FOLDER KEY: the last number of that name among the records of a run
figure() { sed -n "s/.*\"$2\": \([-0-9.e]*\).*/\1/p" "$output/$1/metrics.jsonl" | tail -n 1; }
