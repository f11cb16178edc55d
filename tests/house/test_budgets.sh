#!/bin/sh
# How long files and functions may be. A function is counted from its opening brace to its closing brace, both in column one, as
# clang-format lays them out; its nesting by the lines that open a block. Parameters are clang-tidy's to count.
. "$(dirname "$0")/common.sh"
{
    sources src include tests scripts | xargs wc -l | awk '$2 != "total" {
        limit = $2 ~ /^include\// ? 300 : $2 ~ /^tests\// ? 800 : 600
        if ($1 > limit) print $2, "length", $1 " lines, at most " limit
    }'
    if [ -f CMakeLists.txt ]; then awk 'END { if (NR > 250) print "CMakeLists.txt length", NR " lines, at most 250" }' CMakeLists.txt; fi
} | except budget-file
sources src tests | xargs awk '
    FNR == 1 { start = 0; name = "?" }
    /^[A-Za-z_].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
    /^\{/ { start = FNR; depth = 0; deepest = 0 }
    start && !/^[{}]/ && /\}/ && !/\{.*\}/ { depth-- }
    start && !/^[{}]/ && /[){] \{$|else \{$|do \{$/ { if (++depth > deepest) deepest = depth }
    /^\}/ && start {
        if (deepest > 4) print FILENAME, name, "nested " deepest " deep, at most 4"
        limit = FILENAME ~ /\.cuh?$/ ? 80 : 60
        if (FNR - start > limit) print FILENAME, name, (FNR - start) " lines, at most " limit
        start = 0
    }' | except budget-function
house_done
