tr " " "\n" | sort | uniq -c | while read -r n word; do echo "$word $n"; done
