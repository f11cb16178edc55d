#!/bin/sh
# The checks are checked: each must object to a tree that breaks its rule, by file and name, and must let a clean one pass.
set -eu
house=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

fresh() {
    rm -rf "${tree:?}"/*
    mkdir -p "$tree/src/base" "$tree/src/model" "$tree/src/cli" "$tree/include/reformer" "$tree/docs" "$tree/scripts"
    printf '/* Map. */\n`src/base/` `src/model/` `src/cli/` [link](design.md)\n' >"$tree/docs/design.md"
    printf '/* Clean. */\n#include "base/a.h"\nint rf_a(void)\n{\n    return 0; /* free(x) */\n}\n' >"$tree/src/base/a.c"
    printf '/* Clean. */\n/* Nothing. */\nint rf_a(void);\n' >"$tree/src/base/a.h"
}

# objects CHECK TEXT: the check must fail and its output hold the text
objects() {
    if output=$(sh "$house/test_$1.sh" "$tree" 2>&1); then
        echo "$1 did not object to: $2"
        failures=$((failures + 1))
    elif ! printf '%s' "$output" | grep -q -F -e "$2"; then
        printf '%s did not say "%s" but:\n%s\n' "$1" "$2" "$output"
        failures=$((failures + 1))
    fi
    fresh
}

fresh
for check in layers calls budgets comments words documents; do
    if ! sh "$house/test_$check.sh" "$tree" >"$tree/output" 2>&1; then
        echo "$check objects to a clean tree:"
        cat "$tree/output"
        failures=$((failures + 1))
    fi
    rm -f "$tree/output"
done
printf '#include "model/model.h"\n' >"$tree/src/base/b.c"
objects layers 'src/base/b.c: 1: base includes model/model.h, which is above it'
printf '#include "base/a.h"\n' >"$tree/src/cli/b.c"
objects layers 'src/cli/b.c: 1: cli includes base/a.h, which is not public'
printf '#include "base/a.h"\n' >"$tree/include/reformer/b.h"
objects layers 'include/reformer/b.h: 1: a public header includes base/a.h'
printf '#include "../base/a.h"\n' >"$tree/src/model/b.c"
objects layers 'a path upwards'
mkdir "$tree/src/extra"
printf '/* */\n' >"$tree/src/extra/b.c"
objects layers 'folder extra is not in the list'
printf 'void f(void)\n{\n    x = malloc (3);\n}\n' >"$tree/src/model/b.c"
objects calls 'src/model/b.c: malloc: line 3'
printf 'void f(void)\n{\n    fprintf(stderr, "free(x)");\n}\n' >"$tree/src/model/b.c"
objects calls 'src/model/b.c: stderr: line 3'
printf 'void f(void)\n{\n    /* a */ exit(1);\n}\n' >"$tree/src/base/b.c"
objects calls 'src/base/b.c: exit: line 3'
printf 'void f(void)\n{\n    free(x);\n}\n' >"$tree/src/cli/b.c"
objects calls 'src/cli/b.c: free: line 3'
printf 'calls src/base/gone.c:free no such file\n' >"$tree/scripts/budget-exceptions"
objects calls 'nothing needs this exception'
awk 'BEGIN { print "int f(void)\n{"; for (i = 0; i < 61; i++) print "    x();"; print "}" }' >"$tree/src/base/b.c"
objects budgets 'src/base/b.c: f: 62 lines, at most 60'
awk 'BEGIN { print "int f(void)\n{"; for (i = 0; i < 5; i++) print "    if (x) {"; for (i = 0; i < 5; i++) print "    }"; print "}" }' \
    >"$tree/src/base/b.c"
objects budgets 'src/base/b.c: f: nested 5 deep, at most 4'
awk 'BEGIN { for (i = 0; i < 601; i++) print "/* */" }' >"$tree/src/base/b.c"
objects budgets 'src/base/b.c: length: 601 lines, at most 600'
awk 'BEGIN { for (i = 0; i < 301; i++) print "/* */" }' >"$tree/include/reformer/b.h"
objects budgets 'include/reformer/b.h: length: 301 lines, at most 300'
printf '/* Head. */\n\nint rf_b(int x,\n         int y);\n' >"$tree/src/base/b.h"
objects comments 'src/base/b.h: rf_b: is declared without a comment'
printf 'int x;\n' >"$tree/src/base/b.c"
objects comments 'src/base/b.c: opening'
printf '/* TO''DO: later */\n' >"$tree/src/base/b.c"
objects words 'src/base/b.c: 1: '
printf 'see [this](gone.md)\n' >"$tree/docs/b.md"
objects documents 'docs/b.md: gone.md: leads nowhere'
mkdir "$tree/src/data"
objects documents 'docs/design.md: src/data: has no paragraph'

if [ "$failures" -gt 0 ]; then exit 1; fi
echo "every check objects where it should"
