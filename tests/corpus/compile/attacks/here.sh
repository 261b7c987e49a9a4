cat <<A; cat <<B; echo $(( $(( $(( 1
