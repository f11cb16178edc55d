#!/bin/sh
# A folder may include only itself and folders earlier in this list; the server and the program only the public interface.
. "$(dirname "$0")/common.sh"
sources src include | xargs awk '
    BEGIN {
        count = split("base tensor io ops distributed tokenizer model data train generate tools server cli", names, " ")
        for (i = 1; i <= count; i++) rank[names[i]] = i
    }
    function fault(what) { print FILENAME, FNR, what }
    FNR == 1 {
        split(FILENAME, parts, "/")
        from = parts[1] == "include" ? "include" : parts[2]
        if (from != "include" && !(from in rank)) fault("folder " from " is not in the list of layers")
    }
    /^[ \t]*#[ \t]*include[ \t]*[<"]/ {
        target = $0
        sub(/^[^<"]*[<"]/, "", target); sub(/[>"].*$/, "", target)
        if (target ~ /\.\./) { fault("includes " target ", a path upwards"); next }
        if (target ~ /^reformer\//) next
        if ($0 ~ /</) next
        to = index(target, "/") ? substr(target, 1, index(target, "/") - 1) : from
        if (from == "include") fault("a public header includes " target ", which is not installed")
        else if ((from == "cli" || from == "server") && to != from) fault(from " includes " target ", which is not public")
        else if (!(to in rank)) { if (target !~ /pb-c\.h$/) fault("includes " target ", of no layer") }
        else if (rank[to] > rank[from]) fault(from " includes " target ", which is above it")
    }' | except layers
house_done
