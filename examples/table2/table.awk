# Lines of: trained, judged, seed, share of symbols, share of sequences. The table, as text, Markdown and JSON; beside ours the paper's.
BEGIN {
    columns = split("full 8 4 2 1", judged)
    rows = split("full 4 2 1", trained)
    split("100 94.8 92.5 76.9 52.5  0.8 100 99.9 99.4 91.9  0.8 100 99.9 98.1 86.8  0.8 99.9 99.6 94.8 77.9", figures)
    for (r = 1; r <= rows; r++) for (c = 1; c <= columns; c++) paper[trained[r], judged[c]] = figures[(r - 1) * columns + c]
}
{
    sum[$1, $2] += $4
    count[$1, $2]++
    whole[$1, $2] += $5
    if (!(($1, $2) in least) || $4 < least[$1, $2]) least[$1, $2] = $4
    if ($4 > most[$1, $2]) most[$1, $2] = $4
}
function name(what) { return what == "full" ? "full" : "LSH-" what }
END {
    printf "%-16s", "trained with" 
    printf "| trained with |" >markdown
    for (c = 1; c <= columns; c++) {
        printf "%20s", name(judged[c])
        printf " judged with %s |", name(judged[c]) >markdown
    }
    printf "\n| --- | --- | --- | --- | --- | --- |\n" >markdown
    printf "\n"
    printf "{\"semantics\": \"%s\", \"cells\": [", title >json
    for (r = 1; r <= rows; r++) {
        printf "%-16s", name(trained[r])
        printf "| %s |", name(trained[r]) >markdown
        for (c = 1; c <= columns; c++) {
            key = trained[r] SUBSEP judged[c]
            if (!count[key]) continue
            mean = 100 * sum[key] / count[key]
            printf "%20s", sprintf("%.2f (%s)", mean, paper[key])
            printf " %.2f (%s) |", mean, paper[key] >markdown
            printf "%s\n{\"trained\": \"%s\", \"judged\": \"%s\", \"seeds\": %d, \"accuracy\": %.4f, \"least\": %.4f, \"most\": %.4f, \"sequences\": %.4f, \"paper\": %s}", \
                (r + c > 2 ? "," : ""), name(trained[r]), name(judged[c]), count[key], mean, 100 * least[key], 100 * most[key], \
                100 * whole[key] / count[key], paper[key] >json
        }
        printf "\n"
        printf "\n" >markdown
    }
    printf "\n]}\n" >json
}
