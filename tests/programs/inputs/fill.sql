-- Fills some 100 MB, changes much of it, and prints checks. No random values.
PRAGMA cache_size = -200000;
PRAGMA temp_store = MEMORY;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, text TEXT, data BLOB);
CREATE TABLE tag (item INTEGER, word TEXT);

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO item
SELECT i, printf('item %06d', i * 7919 % 100003),
       replace(hex(zeroblob(100 + i % 200)), '00', char(97 + i % 26) || i % 10),
       zeroblob(300 + i % 500)
FROM n;
INSERT INTO tag SELECT id, substr(text, 1 + id % 50, 3) || id % 1000 FROM item;
CREATE INDEX item_name ON item (name);
CREATE INDEX tag_word ON tag (word, item);
SELECT 'filled', count(*), sum(length(text)), sum(length(data)) FROM item;

UPDATE item SET text = text || name || upper(text) WHERE id % 3 = 0;
DELETE FROM item WHERE id % 5 = 1;
UPDATE item SET data = NULL WHERE id % 7 = 2;
SELECT 'changed', count(*), sum(length(text)), sum(length(data)), max(name) FROM item;

SELECT word, count(*), sum(length(text)) FROM tag JOIN item ON item.id = tag.item
GROUP BY word ORDER BY 2 DESC, 1 LIMIT 20;
SELECT id % 10, group_concat(name, ',') FROM (SELECT * FROM item ORDER BY name LIMIT 5000)
GROUP BY id % 10;
SELECT length(group_concat(text, '')) FROM item;

BEGIN;
DELETE FROM item;
ROLLBACK;
VACUUM;
PRAGMA integrity_check;
SELECT 'end', count(*), total(length(text)), total(length(data)) FROM item;
