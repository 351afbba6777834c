# Dictionaries that grow, are looked up, and lose half their keys.
total = 0
for round in range(6):
    table = {}
    for i in range(120000):
        table[f"key {i * 7919 % 120000}"] = (i, str(i))
    for i in range(0, 120000, 2):
        del table[f"key {i}"]
    counts = {}
    for key, (number, text) in table.items():
        counts.setdefault(len(text), {})[number] = key
    total += sum(len(group) * length for length, group in counts.items())
print(total)
