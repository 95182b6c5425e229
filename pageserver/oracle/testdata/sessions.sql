-- What the sessions of sessions.txt work on, with autovacuum as eager as it can be.
create table upserted (id int primary key, n int, who int) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50, vacuum_truncate = off);
create unique index on upserted (n) where n < 50;
create table locked (id int primary key, n int) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50, vacuum_truncate = off, autovacuum_freeze_min_age = 0);
insert into locked select i, 0 from generate_series(1, 300) i;
create table pointing (id int references locked);
create table queue (id bigint generated always as identity primary key, state int, t text)
  with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50, vacuum_truncate = off, autovacuum_freeze_max_age = 100000);
create index on queue (state);
create index on queue (t);
create table parts (id int, part int, t text, primary key (id, part)) partition by list (part);
create table parts0 partition of parts for values in (0);
create table parts1 partition of parts for values in (1);
insert into parts select i, i % 2, md5(i::text) from generate_series(1, 500) i;
create table wide (id int primary key, t text);
alter table wide alter t set storage external;
insert into wide select i, repeat(md5(i::text), 200) from generate_series(1, 40) i;
create sequence turns cache 3;
