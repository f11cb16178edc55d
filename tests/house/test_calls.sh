#!/bin/sh
# The library allocates in one place, never prints and never ends the process. Every call of a function below outside its place is a
# fault, or an exception with a reason (for instance free() for what another library allocated).
. "$(dirname "$0")/common.sh"
for file in $(sources src); do
    awk -f "$house/strip.awk" "$file" | awk -v file="$file" '
        BEGIN {
            memory = "malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf posix_memalign aligned_alloc getline"
            output = "printf vprintf puts putchar perror stdout stderr"
            ending = "exit _exit _Exit quick_exit abort assert raise"
            banned = "gets strcpy strcat sprintf vsprintf strtok rand srand atoi atol atof alloca system"
            add(memory, "allocates or frees; use src/base/memory.h")
            if (file !~ /^src\/cli\//) {
                add(output, "speaks to the user; only the program may")
                add(ending, "ends the process; only the program may")
            }
            add(banned, "is banned: unbounded, unchecked or not thread-safe")
        }
        function add(list, why,  i, n, words) { n = split(list, words, " "); for (i = 1; i <= n; i++) reason[words[i]] = why }
        /^[ \t]*#/ { next }
        {
            line = $0
            while (match(line, /[A-Za-z_][A-Za-z_0-9]*/)) {
                word = substr(line, RSTART, RLENGTH)
                before = RSTART > 1 ? substr(line, RSTART - 1, 1) : ""
                before2 = RSTART > 2 ? substr(line, RSTART - 2, 2) : ""
                line = substr(line, RSTART + RLENGTH)
                if (!(word in reason) || before == "." || before2 == "->") continue
                if (line ~ /^[ \t]*\(/ || word ~ /^std(out|err)$/) print file, word, "line " NR ": " reason[word]
            }
        }'
done | except calls
house_done
