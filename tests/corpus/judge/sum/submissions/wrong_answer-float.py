n = int(input())
v = [int(x) for x in input().split()] if n else []
print(sum(v) / 1, max(v) if v else "none")
