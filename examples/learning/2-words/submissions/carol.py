from collections import Counter
for word, n in Counter(input().split()).items():
    print(word, n)
