-- Tables in memory: filled, indexed, joined, changed, searched, emptied.
create table item(id integer primary key, name text, kind int, weight real, note text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 80000)
  insert into item select i, 'item ' || (i * 7919 % 80000), i % 97, i * 0.25,
    substr('lorem ipsum dolor sit amet consectetur adipiscing elit', 1 + i % 20, 5 + i % 30) from n;
create index item_name on item(name);
create index item_kind on item(kind, weight);
select count(*), sum(weight), max(name) from item;
select kind, count(*), group_concat(substr(name, 6, 2)) from item
  where kind < 5 group by kind order by kind limit 3;
select count(*), sum(b.weight) from item a
  join item b on b.id = a.id * 31 % 80000 where b.kind > a.kind;
update item set note = note || ' and ' || name where id % 3 = 0;
delete from item where id % 5 = 0;
select sum(length(note)), count(distinct note) from item;
select name, note from item order by note desc, name limit 5;
create table copy as select * from item order by name;
select count(*), sum(id) from copy where name like '%77%';
drop table item;
