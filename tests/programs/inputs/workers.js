// Four workers compute and send strings, buffers and objects to the main thread, which prints
// what came, sorted.
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');

const WORKERS = 4;
const ROUNDS = 40;

function compute(worker, round) {
  const words = new Map();
  for (let i = 0; i < 5000; i++) {
    const word = `w${(i * 7919 + worker * 31 + round) % 2003}`;
    words.set(word, (words.get(word) || '') + i.toString(36));
  }
  const text = JSON.stringify([...words].sort());
  const packed = zlib.deflateSync(text);
  const isSame = zlib.inflateSync(packed).toString() === text;
  const digest = crypto.createHash('sha256').update(text).digest('hex');
  return { worker, round, length: text.length, isSame, digest, bytes: Buffer.alloc(100000, round) };
}

function main() {
  const lines = [];
  let running = WORKERS;
  for (let worker = 0; worker < WORKERS; worker++) {
    const thread = new Worker(__filename, { workerData: worker });
    thread.on('message', (m) => {
      const sum = m.bytes.reduce((a, b) => a + b, 0);
      lines.push(`${m.worker} ${m.round} ${m.length} ${m.isSame} ${m.digest} ${sum}`);
    });
    thread.on('error', (error) => { throw error; });
    thread.on('exit', (code) => {
      lines.push(`worker ended with ${code}`);
      if (--running === 0) console.log(lines.sort().join('\n'));
    });
  }
}

if (isMainThread) {
  main();
} else {
  for (let round = 0; round < ROUNDS; round++) parentPort.postMessage(compute(workerData, round));
}
