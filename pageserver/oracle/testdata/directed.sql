-- What the other scripts do too seldom for a bug in its redo to be noticed.
-- A speculative insertion that is taken back: its own index expression, when it is
-- evaluated the second time, inserts a row with the same key.
create table intruded (k int);
create function intrude(k int) returns int language plpgsql as $$ begin insert into intruded values (k); return k; end $$;
create function intruded_key(k int) returns int immutable language plpgsql as $$
declare turn int := current_setting('intruded.turn')::int;
begin
  perform set_config('intruded.turn', (turn - 1)::text, false);
  if turn = 1 then perform intrude(k); end if;
  return k;
end $$;
set intruded.turn = 0;
create unique index on intruded (intruded_key(k));
set intruded.turn = 2; insert into intruded values (7) on conflict do nothing;
set intruded.turn = 2; insert into intruded values (8) on conflict do nothing;
-- Locks of rows whose update was rolled back, on the same page and on another one.
create table undone (id int primary key, t text);
insert into undone select i, repeat('x', 300) from generate_series(1, 40) i;
begin; update undone set t = 'y' where id in (1, 30); update undone set t = repeat('y', 4000) where id = 2; rollback;
begin; select count(*) from (select id from undone where id in (1, 2) for update) q; commit;
begin; select count(*) from (select id from undone where id = 30 for share) q; commit;
-- Three dead rows leave a leaf, whose tuples do not lie in the order of their keys.
create table marked (k int) with (autovacuum_enabled = off);
create index on marked (k);
insert into marked select i * 7919 % 1000 from generate_series(1, 360) i;
delete from marked where k in (select k from (select k, row_number() over (order by k) n from marked) q where n in (50, 150, 250));
set enable_seqscan = off; set enable_bitmapscan = off;
select count(k) from (select k from marked where k >= 0 order by k) q;
insert into marked select 1000 + i from generate_series(1, 100) i;
