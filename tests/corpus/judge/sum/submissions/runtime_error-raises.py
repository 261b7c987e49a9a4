n = int(input())
v = [int(x) for x in input().split()] if n else []
v[len(v)]
print(sum(v), max(v) if v else "none")
