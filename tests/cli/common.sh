# What the scripts that drive the program share. Each check says what it expected; cli_done ends a script.
set -eu
program=${REFORMER_PROGRAM:-build/reformer}
source=${REFORMER_SOURCE:-$(pwd)}
work=$(mktemp -d)
faults=0
trap 'rm -rf "$work"' EXIT
# Nothing of the caller's environment may count as an option.
for name in $(env | sed -n 's/^\(REFORMER_[A-Z_0-9]*\)=.*/\1/p'); do unset "$name"; done

fault() {
    printf '%s\n' "$*"
    faults=$((faults + 1))
}

# run ARGUMENT... : runs the program; its exit code in $code, what it said in $work/out and $work/err
run() {
    code=0
    "$program" "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
}

# expect CODE ARGUMENT... : runs the program and wants this exit code
expect() {
    wanted=$1
    shift
    run "$@"
    if [ "$code" -ne "$wanted" ]; then
        fault "reformer $*: exit code $code, expected $wanted; it said: $(head -c 600 "$work/err")"
    fi
}

# says FILE TEXT : the last run's out or err holds this text
says() {
    if ! grep -qF -- "$2" "$work/$1"; then
        fault "expected '$2' on $1, found: $(head -c 600 "$work/$1")"
    fi
}

# misuse LINE ARGUMENT... : exit code 2, nothing on standard output, this line and a hint on standard error
misuse() {
    line=$1
    shift
    expect 2 "$@"
    if [ "$(sed -n 1p "$work/err")" != "reformer: $line" ]; then
        fault "reformer $*: expected 'reformer: $line', found: $(cat "$work/err")"
    fi
    case $(sed -n 2p "$work/err") in "try 'reformer "*"--help'") ;; *) fault "reformer $*: no hint: $(cat "$work/err")" ;; esac
    if [ -s "$work/out" ] || [ "$(wc -l <"$work/err")" -ne 2 ]; then
        fault "reformer $*: more than a line and a hint: $(cat "$work/out" "$work/err")"
    fi
}

cli_done() {
    if [ "$faults" -gt 0 ]; then
        echo "$faults faults"
        exit 1
    fi
    echo "as expected"
}
