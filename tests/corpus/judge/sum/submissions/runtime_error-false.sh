echo 6 3
false
