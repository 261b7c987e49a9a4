n = float(input())
x = 1.0
while x * x != n:
    x = (x + n / x) / 2
print(x)
