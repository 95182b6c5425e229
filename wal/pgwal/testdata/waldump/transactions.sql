-- Transactions of all shapes: nested, prepared, sharing rows; and what the log says
-- when many of them are open.
create table acct (id int primary key, v int);
insert into acct select i, 0 from generate_series(1, 200) i;
begin; savepoint a; update acct set v = 1 where id = 1; rollback to a; savepoint b; update acct set v = 2 where id = 2; release b; commit;
begin; update acct set v = 3 where id = 3; rollback;
-- More subtransactions than a record of running ones, or an assignment, can hold.
do $$ begin for i in 1..150 loop begin update acct set v = v + 1 where id = i; if i % 3 = 0 then raise 'undo'; end if; exception when raise_exception then null; end; end loop; end $$;

-- Prepared transactions: with subtransactions, dropped and created relations,
-- statistics, invalidations; committed and rolled back.
create table doomed (a int);
create table spared (a int);
begin; savepoint s; insert into acct values (1001, 1); release s; drop table doomed; create table born (a int); prepare transaction 'to commit';
begin; savepoint s; insert into acct values (1002, 1); release s; drop table spared; create table unborn (a int); create index on unborn (a); prepare transaction 'to abort, "quoted" and '' so';
begin; do $$ begin for i in 1..100 loop begin insert into acct values (2000 + i, i); exception when raise_exception then null; end; end loop; end $$; prepare transaction 'many';
checkpoint;
commit prepared 'to commit';
rollback prepared 'to abort, "quoted" and '' so';
begin; insert into acct values (3000, 0); prepare transaction 'plain';
checkpoint;
rollback prepared 'plain';
commit prepared 'many';

-- Multixacts of every status, held by prepared transactions; and a row version that
-- is locked by way of the version before it.
create table shared (id int primary key, v int);
insert into shared select i, 0 from generate_series(1, 10) i;
create table child (id int references shared);
begin; select * from shared where id = 1 for key share; prepare transaction 'm1';
begin; select * from shared where id = 1 for share; prepare transaction 'm2';
begin; select * from shared where id = 1 for key share; commit;
begin; select * from shared where id = 2 for key share; prepare transaction 'm3';
begin; update shared set v = 1 where id = 2; prepare transaction 'm4';
begin; insert into child values (2); commit;
begin; update shared set v = 1 where id = 3; prepare transaction 'm5';
begin; select * from shared where id = 3 for key share; prepare transaction 'm6';
begin; select * from shared where id = 4 for key share; prepare transaction 'm7';
begin; select * from shared where id = 4 for no key update; prepare transaction 'm8';
begin; select * from shared where id = 5 for share; savepoint s; select * from shared where id = 5 for update; rollback to s; prepare transaction 'm9';
begin; select * from shared where id = 6 for key share; savepoint s; update shared set v = 9 where id = 6; savepoint t; delete from shared where id = 6; commit;
begin; select * from shared where id = 7 for key share; prepare transaction 'm10';
begin; select * from shared where id = 7 for key share; savepoint s; update shared set v = 2 where id = 7; prepare transaction 'm11';
select format('commit prepared %L', gid) from pg_prepared_xacts order by gid \gexec
do $$ begin for i in 1..60 loop begin perform 1 from shared where id = 8 for key share; begin update shared set v = i where id = 8; exception when raise_exception then null; end; exception when raise_exception then null; end; end loop; end $$;

-- A replication origin: progress told, committed with, dropped.
select pg_replication_origin_create('elsewhere') > 0;
select pg_replication_origin_advance('elsewhere', '0/1234');
select pg_replication_origin_session_setup('elsewhere');
begin; select pg_replication_origin_xact_setup('1/ABCDEF', '2020-02-02 20:20:20.020202+00'); insert into acct values (5000, 0); commit;
begin; select pg_replication_origin_xact_setup('1/ABCDFF', '1999-12-31 23:59:58.5+00'); insert into acct values (5001, 0); prepare transaction 'from elsewhere';
begin; select pg_replication_origin_xact_setup('1/ABCE00', '2020-02-02 20:20:21+00'); insert into acct values (5002, 0); rollback;
commit prepared 'from elsewhere';
begin; insert into acct values (5003, 0); prepare transaction 'from elsewhere too';
rollback prepared 'from elsewhere too';
select pg_replication_origin_session_reset();
select pg_replication_origin_drop('elsewhere');

-- Messages, asynchronous commits, commits that must be flushed.
select pg_logical_emit_message(false, 'prefix', 'outside') is not null;
begin; select pg_logical_emit_message(true, 'in it', E'\\x00ff7f'::bytea) is not null; commit;
select pg_logical_emit_message(false, '', '') is not null;
set synchronous_commit = off;
update acct set v = 9 where id = 9;
set synchronous_commit = remote_apply;
update acct set v = 10 where id = 10;
reset synchronous_commit;
