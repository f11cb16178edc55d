# Sets `code` to each line of C source with comments and the insides of string and character literals left out, so that the rules
# of the program that is given after this one see code only.
function strip(text,  out, n, i, c, pair, quote) {
    if (!in_comment && index(text, "/") == 0 && index(text, "\"") == 0 && index(text, "'") == 0) return text
    n = length(text)
    for (i = 1; i <= n; i++) {
        c = substr(text, i, 1)
        pair = substr(text, i, 2)
        if (in_comment) {
            if (pair == "*/") { in_comment = 0; i++ }
        } else if (quote != "") {
            if (c == "\\") { i++ } else if (c == quote) { quote = ""; out = out c }
        } else if (pair == "/*") {
            in_comment = 1; i++; out = out " "
        } else if (pair == "//") {
            break
        } else {
            if (c == "\"" || c == "'") { quote = c }
            out = out c
        }
    }
    return out
}
FNR == 1 { in_comment = 0 }
{ code = strip($0) }
