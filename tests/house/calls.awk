# Prints calls of functions that have their place elsewhere: PATH NAME MESSAGE. Runs after strip.awk.
BEGIN {
    memory = "malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf posix_memalign aligned_alloc getline"
    output = "printf vprintf puts putchar perror stdout stderr"
    ending = "exit _exit _Exit quick_exit abort assert raise"
    banned = "gets strcpy strcat sprintf vsprintf strtok rand srand atoi atol atof alloca system"
    add(memory, "allocates or frees; use src/base/memory.h")
    add(banned, "is banned: unbounded, unchecked or not thread-safe")
    add(output, "speaks to the user; only the program may", 1)
    add(ending, "ends the process; only the program may", 1)
}
function add(list, why, library_only,  i, n, words) {
    n = split(list, words, " ")
    for (i = 1; i <= n; i++) { reason[words[i]] = why; only_library[words[i]] = library_only }
}
FNR == 1 { is_library = FILENAME !~ /^src\/cli\// }
code ~ /^[ \t]*#/ { next }
{
    line = code
    while (match(line, /[A-Za-z_][A-Za-z_0-9]*/)) {
        word = substr(line, RSTART, RLENGTH)
        before = RSTART > 1 ? substr(line, RSTART - 1, 1) : ""
        before2 = RSTART > 2 ? substr(line, RSTART - 2, 2) : ""
        line = substr(line, RSTART + RLENGTH)
        if (!(word in reason) || before == "." || before2 == "->" || (only_library[word] && !is_library)) continue
        if (line ~ /^[ \t]*\(/ || word ~ /^std(out|err)$/) print FILENAME, word, "line " FNR ": " reason[word]
    }
}
