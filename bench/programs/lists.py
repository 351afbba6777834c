# Lists of lists of numbers: appended to, sliced, sorted, merged, thrown away.
total = 0
for round in range(10):
    rows = [[(i * j) % 1013 * 1.5 for j in range(60)] for i in range(1500)]
    columns = [list(column) for column in zip(*rows)]
    flat = sorted(value for column in columns for value in column)
    stack = []
    for value in flat:
        stack.append([value])
        while len(stack) > 1 and len(stack[-1]) >= len(stack[-2]):
            last = stack.pop()
            stack[-1] = stack[-1] + last
    total += sum(len(run) for run in stack) + int(flat[len(flat) // 2])
print(total)
