// Objects, buffers outside the script's own heap, text and JSON.
let total = 0;
for (let round = 0; round < 6; round++) {
  const index = new Map();
  for (let i = 0; i < 40000; i++) {
    const word = `w${i * 7919 % 5003}` + 'x'.repeat(i % 40);
    if (!index.has(word)) index.set(word, { count: 0, places: [] });
    const entry = index.get(word);
    entry.count++;
    entry.places.push({ line: Math.floor(i / 80), column: i % 80 });
  }
  const text = JSON.stringify([...index]);
  total += text.length + JSON.parse(text).length;
  let buffers = [];
  for (let i = 0; i < 4000; i++) {
    buffers.push(Buffer.alloc(100 + i * 37 % 20000, i & 255));
    if (buffers.length > 500) buffers = buffers.filter((buffer, n) => n % 2 === 0);
  }
  for (const buffer of buffers) total += buffer[buffer.length - 1];
  total += Buffer.concat(buffers).toString('base64').length;
}
console.log(total);
