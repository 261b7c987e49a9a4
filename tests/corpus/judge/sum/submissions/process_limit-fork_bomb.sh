f() { f | f & }
f
wait
sleep 100
