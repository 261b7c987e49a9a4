read -r n
read -r -a v
sum=0 max=${v[0]}
for x in "${v[@]}"; do
    sum=$((sum + x))
    [ "$x" -gt "$max" ] && max=$x
done
if [ "$n" = 0 ]; then echo 0 none; else echo "$sum $max"; fi
