-- A load of indexes: rows under an index of every access method, then updates, deletes,
-- vacuum and rows that come and are rolled back. %[1]d is the number of rows.
CREATE EXTENSION IF NOT EXISTS bloom;
CREATE TABLE indexed (id int, k int, x text, p point, a int[], r int4range, w tsvector, n inet) WITH (vacuum_truncate = off);
CREATE UNIQUE INDEX ON indexed (id);
CREATE INDEX ON indexed (k);
CREATE INDEX ON indexed (x);
CREATE INDEX ON indexed USING hash (k);
CREATE INDEX ON indexed USING gin (a);
CREATE INDEX ON indexed USING gin (w) WITH (fastupdate = off);
CREATE INDEX ON indexed USING gist (p);
CREATE INDEX ON indexed USING gist (r);
CREATE INDEX ON indexed USING spgist (x);
CREATE INDEX ON indexed USING spgist (n);
CREATE INDEX ON indexed USING brin (id) WITH (pages_per_range = 4);
CREATE INDEX ON indexed USING bloom (k, id);
CREATE FUNCTION fill(first int, last int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO indexed SELECT i, i %% 1009, md5(i::text), point(i %% 997, i * 7 %% 991), ARRAY[i %% 13, i %% 509, i], int4range(i, i + i %% 40),
		to_tsvector('simple', md5((i %% 700)::text) || ' ' || md5(i::text)), ('10.' || i %% 200 || '.' || i %% 251 || '.' || i %% 253)::inet
	FROM generate_series(first, last) i $$;
SELECT fill(1, %[1]d);
UPDATE indexed SET k = k + 1 WHERE id %% 7 = 0;
DELETE FROM indexed WHERE id %% 3 = 0;
VACUUM indexed;
BEGIN; SELECT fill(%[1]d + 1, %[1]d * 5 / 4); ROLLBACK;
SELECT fill(%[1]d * 5 / 4 + 1, %[1]d * 3 / 2);
VACUUM indexed;
