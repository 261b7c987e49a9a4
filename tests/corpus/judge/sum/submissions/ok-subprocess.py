import subprocess
n = int(input())
v = [int(x) for x in input().split()] if n else []
subprocess.run(["/bin/true"], check=True)
print(sum(v), max(v) if v else "none")
