#!/bin/sh
# Installs into a scratch folder, moves that, and builds and runs a small program against it in both ways: pkg-config and find_package.
# Of a shared library it also checks that no symbol is exported but those that the headers mark RF_API.
set -eu
source=${REFORMER_SOURCE:?} build=${REFORMER_BUILD:?} compiler=${CC:-cc}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() {
    echo "$*"
}

cmake --install "$build" --prefix "$scratch/first" >"$scratch/log" || { cat "$scratch/log"; exit 1; }
mv "$scratch/first" "$scratch/prefix"
prefix=$scratch/prefix
libraries=$(dirname "$(find "$prefix" -name 'libreformer.*' | head -1)")
PKG_CONFIG_PATH=$libraries/pkgconfig
LD_LIBRARY_PATH=$libraries
export PKG_CONFIG_PATH LD_LIBRARY_PATH
version=$(pkg-config --modversion reformer)

# shellcheck disable=SC2046
"$compiler" -std=c17 -Wall -Wextra -Wpedantic -Werror "$source/tests/install/program.c" -o "$scratch/program" \
    $(pkg-config --cflags --libs reformer)
test "$("$scratch/program")" = "$version ok" || { say "the program says: $("$scratch/program")"; exit 1; }
say "pkg-config: good"

# The example of one layer learns its task in a few steps.
# shellcheck disable=SC2046
"$compiler" -std=c17 -O1 -Wall -Wextra -Wpedantic -Werror "$source/examples/layer/layer.c" -o "$scratch/layer" \
    $(pkg-config --cflags --libs reformer) -lm
"$scratch/layer" 30 128 >"$scratch/log" || { cat "$scratch/log"; exit 1; }
right=$(sed -n 's/^step   30: .* \([0-9]*\)\.[0-9] % right$/\1/p' "$scratch/log")
test "${right:-0}" -gt 80 || { cat "$scratch/log"; exit 1; }
say "example of a layer: good"

CC=$compiler cmake -S "$source/tests/install" -B "$scratch/user" -DCMAKE_PREFIX_PATH="$prefix" >"$scratch/log" 2>&1 ||
    { cat "$scratch/log"; exit 1; }
cmake --build "$scratch/user" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
test "$("$scratch/user/program")" = "$version ok" || { say "the program says: $("$scratch/user/program")"; exit 1; }
say "find_package: good"

# Every public header stands on its own, in C and in C++.
for header in "$prefix"/include/reformer/*.h; do
    "$compiler" -std=c17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c "$header"
    "$compiler" -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ -I"$prefix/include" "$header"
done 2>"$scratch/log" || { cat "$scratch/log"; exit 1; }
say "headers: good"

if [ -f "$build/reformer" ]; then
    "$prefix/bin/reformer" --version | grep -q -F "$version" || { say "the installed program does not say $version"; exit 1; }
    for command in '' $("$prefix/bin/reformer" --help | awk '/^[a-z]/ { on = /^commands:/ } on && /^  / { print $1 }'); do
        page=$prefix/share/man/man1/reformer${command:+-$command}.1
        test -s "$page" || { say "there is no manual page $page"; exit 1; }
    done
    bash -n "$prefix/share/bash-completion/completions/reformer" || { say "the completion is no shell script"; exit 1; }
    say "program, manual pages and completion: good"
fi

if [ -f "$libraries/libreformer.so" ]; then
    cat "$prefix"/include/reformer/*.h | awk '/RF_API/ { on = 1 } on { text = text " " $0 } on && /;/ { print text; text = ""; on = 0 }' |
        grep -o 'rf_[a-z0-9_]*(' | tr -d '(' | sort -u >"$scratch/declared"
    nm -D --defined-only "$libraries/libreformer.so" | awk '{ print $NF }' | sed 's/@.*//' | sort -u >"$scratch/exported"
    extra=$(comm -13 "$scratch/declared" "$scratch/exported")
    test -z "$extra" || { say "exported, but not RF_API:" $extra; exit 1; }
    say "exported symbols: good ($(wc -l <"$scratch/exported"))"
fi
