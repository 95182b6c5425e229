-- Every access method: built over rows, then fed and emptied row by row, vacuumed,
-- and fed again into the pages that vacuum recycled. :rows is the size.
create extension if not exists bloom;
create extension if not exists btree_gin;
create table idx (id int, k int, word text, p point, r int4range, arr int[], doc tsvector, ip inet)
  with (autovacuum_enabled = off);
create function fill(first int, last int) returns void language sql as $$
  insert into idx select i, i % 1000, md5((i::bigint * 7919)::text), point((i * 31) % 1000, (i * 17) % 1000), int4range(i, i + i % 50),
    array[i % 97, i % 89, i % 13], to_tsvector('simple', md5(i::text) || ' common ' || (i % 20)), ('10.' || i % 200 || '.' || i % 211 || '.1')::inet
  from generate_series(first, last) i $$;
select fill(1, 2000);
create index idx_btree on idx (id);
create index idx_dedup on idx (k);
create unique index idx_unique on idx (id desc, word);
create index idx_word on idx (word);
create index idx_hash on idx using hash (id);
create index idx_hash_word on idx using hash (word);
create index idx_gin on idx using gin (arr);
create index idx_gin_slow on idx using gin (doc) with (fastupdate = off);
create index idx_gin_fast on idx using gin (doc) with (fastupdate = on, gin_pending_list_limit = 64);
create index idx_gin_k on idx using gin (k) with (fastupdate = off);
create index idx_gist on idx using gist (p);
create index idx_gist_range on idx using gist (r);
create index idx_gist_buffered on idx using gist (p) with (buffering = on);
create index idx_spgist on idx using spgist (p);
create index idx_spgist_kd on idx using spgist (p kd_point_ops);
create index idx_spgist_word on idx using spgist (word);
create index idx_spgist_ip on idx using spgist (ip inet_ops);
create index idx_brin on idx using brin (id) with (pages_per_range = 2, autosummarize = off);
create index idx_brin_word on idx using brin (word) with (pages_per_range = 4);
create index idx_brin_multi on idx using brin (id int4_minmax_multi_ops) with (pages_per_range = 2);
create index idx_bloom on idx using bloom (id, k);
select fill(2001, 2000 + :rows);
select brin_summarize_new_values('idx_brin');
select brin_summarize_new_values('idx_brin_multi');
select brin_summarize_new_values('idx_brin_word');
select brin_desummarize_range('idx_brin', 0);
select brin_summarize_range('idx_brin', 0);
update idx set word = repeat('w', id % 500) where id % 20 = 0;
update idx set id = id + 1000000, p = point(id, -id) where id % 23 = 0;
delete from idx where id % 2 = 0;
delete from idx where id between 500 and 500 + :rows / 2;
vacuum idx;
-- A second vacuum, of pages that the first one left half dead or deleted.
select fill(3000000, 3000000 + :rows / 2);
delete from idx where k < 600;
delete from idx where id < 2500;
vacuum idx;
select pg_current_xact_id();
vacuum idx;
select fill(4000000, 4000000 + :rows / 2);
select gin_clean_pending_list('idx_gin_fast');
reindex table idx;
delete from idx;
vacuum idx;
select pg_current_xact_id();
vacuum idx;
select fill(1, 2000 + :rows / 4);
-- A unique index with many dead duplicates: bottom-up deletion and simple deletion.
create table churn (id int primary key, v int) with (autovacuum_enabled = off, fillfactor = 50);
create index churn_v on churn (v);
insert into churn select i, 0 from generate_series(1, 300) i;
select format('update churn set v = %s', i) from generate_series(1, 30) i \gexec
set enable_seqscan = off;
set enable_bitmapscan = off;
delete from churn where id % 2 = 0;
select count(*) from churn where id < 1000;
select count(*) from churn where v >= 0;
insert into churn select i, 7 from generate_series(1000, 1400) i;
create table hchurn (h int) with (autovacuum_enabled = off);
create index hchurn_h on hchurn using hash (h);
insert into hchurn select 7 from generate_series(1, 3000);
delete from hchurn;
select count(*) from hchurn where h = 7;
insert into hchurn select 7 from generate_series(1, 400);
vacuum hchurn;
insert into hchurn select i % 5 from generate_series(1, 2000) i;
delete from hchurn where h = 3;
vacuum hchurn;
create table gchurn (p point) with (autovacuum_enabled = off);
create index gchurn_p on gchurn using gist (p);
insert into gchurn select point(i, i) from generate_series(1, 3000) i;
delete from gchurn where p[0] < 1500;
select count(*) from gchurn where p <@ box '((0,0),(1500,1500))';
insert into gchurn select point(i % 700, i % 700) from generate_series(1, 2000) i;
reset enable_seqscan;
reset enable_bitmapscan;
-- Corners: a posting tree that loses pages, a radix tree whose prefix splits, a tree
-- that is one page, summaries that outgrow their page.
create table postings (id int, arr int[]) with (autovacuum_enabled = off);
insert into postings select i, '{1}' from generate_series(1, 40000) i;
create index postings_arr on postings using gin (arr) with (fastupdate = off);
delete from postings where id between 5000 and 35000;
vacuum postings;
create table words (w text) with (autovacuum_enabled = off);
create index words_w on words using spgist (w);
insert into words select 'a rather long common prefix' || md5(i::text) from generate_series(1, 500) i;
insert into words values ('a rather short one'), ('a r'), ('a rather long common prelude'), ('b');
create table few (p point) with (autovacuum_enabled = off);
create index few_p on few using spgist (p);
insert into few select point(i, i) from generate_series(1, 20) i;
delete from few where p[0] < 10;
vacuum few;
create table grows (t text) with (autovacuum_enabled = off, fillfactor = 30);
insert into grows select md5(i::text) from generate_series(1, 6000) i;
create index grows_t on grows using brin (t) with (pages_per_range = 1);
update grows set t = 'z' || repeat(md5(t), 3);
