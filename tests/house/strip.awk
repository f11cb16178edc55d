# Prints C source with comments and the insides of string and character literals blanked, line by line, so that a search sees code only.
{
    out = ""
    text = $0
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
    quote = ""
    print out
}
