-- Time passes: transaction ids and multixacts enough that their oldest can be thrown
-- away, once every database is frozen. :xids is how many ids to burn.
set vacuum_freeze_min_age = 0; set vacuum_multixact_freeze_min_age = 0; set vacuum_freeze_table_age = 0; set vacuum_multixact_freeze_table_age = 0;
create table burnt (a int);
create procedure burn(n int) language plpgsql as $$ begin for i in 1..n loop perform pg_current_xact_id(); commit; end loop; end $$;
call burn(:xids);
create table locked (v int); insert into locked values (0);
create procedure burn_multis(n int) language plpgsql as $$ begin for i in 1..n loop perform 1 from locked for key share; begin update locked set v = i; exception when raise_exception then null; end; commit; end loop; end $$;
call burn_multis(2200);
update pg_database set datallowconn = true where datname = 'template0';
\c template0
vacuum (freeze);
\c template1
vacuum (freeze);
\c postgres
update pg_database set datallowconn = false where datname = 'template0';
vacuum (freeze);
vacuum (freeze) pg_database;
checkpoint;
