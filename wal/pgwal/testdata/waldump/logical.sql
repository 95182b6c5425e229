-- What only wal_level = logical logs: command ids of catalog rows, old keys and rows,
-- truncations, rewritten catalogs, while a slot wants them.
select slot_name from pg_create_logical_replication_slot('slot', 'test_decoding');
create table keyed (id int primary key, v text); create table whole (id int, v text); alter table whole replica identity full;
insert into keyed select i, repeat('v', i) from generate_series(1, 300) i;
insert into whole select * from keyed;
update keyed set id = id + 1000 where id % 3 = 0; update whole set v = 'w' where id % 3 = 0;
delete from keyed where id % 5 = 0; delete from whole where id % 5 = 0;
begin; alter table keyed add column w int; create table late (a int); drop table late; update keyed set w = 1 where id = 1; commit;
do $$ begin for i in 1..100 loop begin insert into keyed values (10000 + i, 'sub'); exception when raise_exception then null; end; end loop; end $$;
truncate whole; truncate keyed restart identity; create table depends (id int primary key); create table on_it (id int references depends); truncate depends cascade;
create temp table held (a int);
begin; create type reborn as (a int); alter table keyed add column x reborn; commit;
vacuum full pg_class; vacuum full pg_attribute; cluster pg_type using pg_type_oid_index;
select count(*) > 0 from pg_logical_slot_get_changes('slot', null, null);
select pg_drop_replication_slot('slot');
