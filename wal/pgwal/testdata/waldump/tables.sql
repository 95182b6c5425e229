-- Rows of all sizes come, change, move between pages and go; vacuum prunes, freezes
-- and truncates behind them. :rows is the size.
create table plain (id int primary key, grp int, body text) with (fillfactor = 90);
create index plain_grp on plain (grp);
insert into plain select i, i % 100, repeat('x', i % 300) from generate_series(1, :rows) i;
-- HOT updates, updates to another page, updates that cut prefix and suffix.
update plain set body = body || 'y' where id % 10 = 1;
update plain set grp = grp + 1 where id % 10 = 2;
update plain set body = repeat('z', 900) where id % 10 = 3;
delete from plain where id % 4 = 0;
vacuum plain;
-- All-visible pages lose their bits: to inserts, updates, deletes and locks.
vacuum (freeze) plain;
insert into plain select i, 1, 'late' from generate_series(:rows + 1, :rows + 500) i;
vacuum (freeze) plain;
update plain set body = 'cleared' where id % 100 = 3;
delete from plain where id % 100 = 5;
vacuum (freeze) plain;
begin; select count(*) from (select 1 from plain where id % 100 = 6 for share) s; commit;
-- Two pruned generations, then a tail that vacuum gives back.
update plain set body = 'again' where id % 100 = 3;
update plain set body = 'and again' where id % 100 = 3;
select count(*) from plain where body like 'and%';
delete from plain where id > :rows / 2;
vacuum plain;

-- COPY makes multi-inserts, with and without a new page.
create table copied (a int, b text);
insert into copied values (0, 'first');
copy copied (a) from program 'seq 1 2000';
copy copied (a) from program 'seq 1 2000';

-- Values too large for a page, in several pieces, and gone again.
create table large (id int primary key, body text);
alter table large alter body set storage external;
insert into large select i, repeat(md5(i::text), 300) from generate_series(1, 50) i;
update large set body = repeat(md5(body), 400) where id % 2 = 0;
delete from large where id % 3 = 0;
vacuum large;

-- Speculative insertion: confirmed, and super-deleted is left to luck.
insert into plain values (1, 2, 'conflict') on conflict (id) do update set body = excluded.body;
insert into plain values (-1, 2, 'no conflict') on conflict (id) do nothing;

-- Old rows are frozen.
create table frozen as select i from generate_series(1, 3000) i;
vacuum (freeze, analyze) frozen;

-- Sequences: more than the 32 values that one record covers, set, restarted.
create sequence counter;
select count(nextval('counter')) from generate_series(1, 200);
select setval('counter', 5000);
alter sequence counter restart with 10 increment by 5 cache 10;
select nextval('counter');
create table numbered (id bigint generated always as identity, v int);
insert into numbered (v) select i from generate_series(1, 100) i;
