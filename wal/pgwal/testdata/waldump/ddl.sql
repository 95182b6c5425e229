-- Relations, databases and tablespaces come and go, are rewritten, moved, truncated;
-- and the log itself is switched, marked and told of settings. :space is an empty
-- directory.
create tablespace elsewhere location :'space';
create table moved (a int primary key, b text) tablespace elsewhere;
insert into moved select i, md5(i::text) from generate_series(1, 3000) i;
alter table moved set tablespace pg_default;
alter table moved set tablespace elsewhere;
alter index moved_pkey set tablespace elsewhere;
vacuum full moved;
cluster moved using moved_pkey;
alter table moved alter b type varchar(40);
alter table moved add column c int default 7;
alter table moved add column d timestamptz default clock_timestamp();
delete from moved where a > 100;
vacuum (truncate) moved;
truncate moved;
begin; create table brief (a int); insert into brief values (1); truncate brief; insert into brief values (2); rollback;
create table parent (id int primary key); create table kid (id int references parent); 
truncate parent restart identity cascade;
create unlogged table volatile (a int primary key);
insert into volatile select i from generate_series(1, 100) i;
alter table volatile set logged;
alter table volatile set unlogged;
create temp table passing (a int); insert into passing values (1); drop table passing;
create materialized view mv as select * from generate_series(1, 500) i; create unique index on mv (i);
refresh materialized view mv; refresh materialized view concurrently mv;
create table part (a int, b int) partition by range (a);
create table part1 partition of part for values from (0) to (10); create table part2 partition of part for values from (10) to (20);
insert into part values (1, 1), (11, 1); update part set a = 12 where a = 1;
create index concurrently moved_d on moved (d); drop index concurrently moved_d; reindex index concurrently moved_pkey;
create function f() returns int language sql as 'select 1'; create type mood as enum ('a', 'b'); alter type mood add value 'c';
create role someone; grant select on moved to someone; drop owned by someone; drop role someone;
comment on table moved is 'it was';
vacuum full pg_class; vacuum full pg_database; reindex table pg_proc;
analyze;

create database by_copy strategy file_copy;
create database by_log strategy wal_log;
create database away strategy wal_log tablespace elsewhere;
create database away_copy strategy file_copy tablespace elsewhere;
\c away
create table t (a int); insert into t values (1); vacuum full pg_class; create table u (b int) tablespace pg_default;
\c by_log
create table t (a serial); vacuum full pg_type;
\c postgres
alter database by_log set tablespace elsewhere;
drop database by_copy; drop database by_log; drop database away; drop database away_copy;
drop table moved;
drop tablespace elsewhere;

select pg_switch_wal() is not null;
select pg_create_restore_point('a point') is not null;
select pg_create_restore_point(repeat('n', 63)) is not null;
create table after_switch (a int);
select pg_switch_wal() is not null;
select pg_backup_start('label', true) is not null; select labelfile is not null from pg_backup_stop(false);
checkpoint;
alter system set full_page_writes = off; select pg_reload_conf(); checkpoint;
update acct set v = v + 1;
alter system set full_page_writes = on; select pg_reload_conf(); checkpoint;
update acct set v = v + 1;
alter system reset full_page_writes; select pg_reload_conf();
