-- What the other scripts leave out: whole tables rewritten, databases copied both ways,
-- COPY that freezes, deep trees that lose pages, sequences of all kinds.
create table rewritten (id int primary key, k int, t text);
insert into rewritten select i, i % 50, md5(i::text) from generate_series(1, :rows) i;
create index on rewritten (k);
create index on rewritten (t, k);
cluster rewritten using rewritten_pkey;
update rewritten set t = t || 'x' where k = 7;
vacuum full rewritten;
alter table rewritten alter id type bigint;
reindex table rewritten;
reindex table concurrently rewritten;
truncate rewritten;
insert into rewritten select i, i % 3, 'again' from generate_series(1, :rows) i;
begin; truncate rewritten; insert into rewritten values (1, 1, 'gone'); rollback;
begin; create table frozen_copy (a int, b text); copy frozen_copy (a) from program 'seq 1 3000' with (freeze); commit;
insert into frozen_copy values (0, 'thaws a page');
vacuum frozen_copy;
-- A tree of three levels that empties from the left, from the right and in the middle.
create table tall (k text primary key) with (autovacuum_enabled = off);
insert into tall select repeat('k', 900) || lpad(i::text, 8, '0') from generate_series(1, :rows) i;
delete from tall where right(k, 8)::int < :rows * 7 / 10;
vacuum tall;
select pg_current_xact_id();
insert into tall select repeat('k', 900) || lpad(i::text, 8, '0') from generate_series(:rows * 2, :rows * 3) i;
delete from tall where right(k, 8)::int between :rows * 22 / 10 and :rows * 28 / 10;
vacuum tall;
select pg_current_xact_id();
vacuum tall;
insert into tall select repeat('k', 900) || lpad(i::text, 8, '0') from generate_series(1, :rows) i on conflict do nothing;
delete from tall;
vacuum tall;
vacuum tall;
insert into tall select repeat('k', 900) || lpad(i::text, 8, '0') from generate_series(1, :rows) i;
-- Many equal keys: posting lists that are made, split and shortened.
create table dense (id int, k int) with (autovacuum_enabled = off);
create index on dense (k);
insert into dense select i, i % 5 from generate_series(1, :rows * 4) i;
delete from dense where id % 7 < 3;
vacuum dense;
insert into dense select i, i % 5 from generate_series(1, :rows * 2) i;
delete from dense where id % 2 = 0;
vacuum (freeze) dense;
update dense set k = k + 1 where id % 11 = 0;
-- Databases, with visibility maps, copied both ways.
create database seed;
\c seed
create table here (id int primary key, t text);
insert into here select i, md5(i::text) from generate_series(1, 2000) i;
vacuum here;
create sequence seq; select nextval('seq');
\c postgres
create database filed template seed strategy file_copy;
create database logged template seed strategy wal_log;
\c filed
update here set t = 'x' where id % 50 = 0; vacuum here; insert into here select i, 'y' from generate_series(3000, 4000) i; vacuum (freeze) here;
\c logged
update here set t = 'x' where id % 50 = 0; vacuum here; insert into here select i, 'y' from generate_series(3000, 4000) i; vacuum (freeze) here; vacuum full pg_class;
\c postgres
drop database seed;
create sequence stepping increment by -3 minvalue -1000 cycle cache 5;
select count(nextval('stepping')) from generate_series(1, 700);
select setval('stepping', -9, false);
alter sequence stepping restart;
create unlogged table unlogged (id int primary key, t text); insert into unlogged select i, 'x' from generate_series(1, 200) i;
alter table unlogged set logged;
create materialized view seen as select k, count(*) from dense group by k;
create unique index on seen (k);
refresh materialized view concurrently seen;
-- A hash index that begins with more buckets than one split point adds at once.
create table hashed as select i k from generate_series(1, 45000) i;
analyze hashed;
create index on hashed using hash (k) with (fillfactor = 10);
insert into hashed select i from generate_series(100000, 102000) i;
