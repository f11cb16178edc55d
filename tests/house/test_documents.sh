#!/bin/sh
# Links of the documents lead somewhere, and the map of docs/design.md names every folder of src.
. "$(dirname "$0")/common.sh"
documents=$(find . -maxdepth 1 -name '*.md'; if [ -d docs ]; then find docs -name '*.md'; fi)
for file in $documents; do
    grep -o '](\([^)]*\))' "$file" | sed 's/^](//; s/)$//; s/#.*//; s/ .*//' | grep -v -E '^(https?:|mailto:|$)' | while read -r link; do
        if [ ! -e "$(dirname "$file")/$link" ]; then echo "$file $link leads nowhere"; fi
    done || true
done | except links
for folder in src/*/; do
    name=${folder%/}
    if [ -d "$name" ] && ! grep -q "\`$name/\`" docs/design.md; then echo "docs/design.md $name has no paragraph"; fi
done | except map
house_done
