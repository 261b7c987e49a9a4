echo 6 3
