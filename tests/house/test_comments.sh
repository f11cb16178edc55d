#!/bin/sh
# Every function that a header declares has a comment: on its own line, or at the head of the paragraph that it stands in. Every
# file opens with a comment that says what it is.
. "$(dirname "$0")/common.sh"
sources include src | awk '/\.h$/' | xargs awk '
    FNR == 1 { commented = 0; inside = 0; depth = 0; statement = "" }
    /^[ \t]*$/ && !inside { commented = 0; next }
    /\/\*/ { commented = 1 }
    /\/\*/ && !/\*\// { inside = 1 }
    inside { if (/\*\//) inside = 0; next }
    /^[ \t]*#/ || /\\$/ || /^extern "C"/ { next }
    {
        line = $0
        sub(/\/\*.*/, "", line)
        if (depth == 0 && line !~ /^[ \t}]/) { statement = line; described = commented } else if (depth == 0) statement = statement line
        opened = gsub(/\{/, "{", line); closed = gsub(/\}/, "}", line)
        depth += opened - closed
        if (depth < 0) depth = 0
        if (depth == 0 && line ~ /[;}][ \t]*$/) {
            if (statement ~ /[a-z0-9_]\(/ && statement !~ /^(typedef|struct|enum|static_assert)/ && !described && !commented) {
                name = statement; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
                if (name !~ /^[A-Z_0-9]+$/) print FILENAME, name, "is declared without a comment"
            }
            statement = ""
        }
    }' | except comments
sources src include tests | xargs awk 'FNR == 1 && !/^\/[*\/]/ {
    print FILENAME, "opening", "the file does not open with a comment that says what it is" }' | except opening
house_done
