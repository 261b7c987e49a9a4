words = input().split()
while words:
    words += words
