# Text put together, split, replaced and counted.
import re
total = 0
for round in range(10):
    words = [chr(97 + i % 26) * (1 + i % 11) + str(i) for i in range(40000)]
    text = " ".join(words)
    lines = [text[i:i + 70] for i in range(0, len(text), 70)]
    joined = ""
    for line in lines[:2000]:
        joined += line.upper().replace("A", "<a>") + "\n"
    counts = {}
    for word in re.findall(r"[a-z]+", text):
        counts[word] = counts.get(word, 0) + 1
    total += len(joined) + sum(counts.values()) + len("".join(reversed(words)).split("1"))
print(total)
