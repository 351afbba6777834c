# JSON documents made, written, read and compared.
import json
total = 0
for round in range(6):
    documents = [{"id": i, "name": f"document {i}", "tags": [f"tag{i % n}" for n in range(1, 9)],
                  "place": {"x": i * 0.5, "y": [i, None, True, "é" * (i % 5)]}}
                 for i in range(8000)]
    text = json.dumps(documents)
    again = json.loads(text)
    assert again == documents
    total += len(text) + len(json.dumps(again, indent=1, sort_keys=True))
print(total)
