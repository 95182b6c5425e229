package pgtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Statements makes random DDL and DML: tables, partitions, indexes of every access
// method, views, changes of all of them, and rows that come, change and go. What it makes
// is a function of its seed, each statement is valid after those before it, and the rows
// that there are afterwards depend on nothing but the statements. Each is a transaction
// of its own unless it says otherwise. Make it with [NewStatements].
type Statements struct {
	rng    *rand.Rand
	tables []*table
	named  int  // names given out
	lasts  bool // no relation that a crash empties, or a session's end
}

// NewStatements begins. If lasts, there are only relations that a restart keeps.
func NewStatements(seed uint64, lasts bool) *Statements {
	return &Statements{rng: rand.New(rand.NewPCG(seed, 1)), lasts: lasts}
}

// table is what there is now.
type table struct {
	name    string
	columns []column
	indexes []index
	parts   bool // it is partitioned
	temp    bool // nothing that lasts may look at it
}

type column struct {
	name string
	kind *kind
}

// index is on columns, the first of which is the one that says how.
type index struct {
	name    string
	columns []string
	cluster bool // the table can be put in its order
}

// kind is a type of column: what row n has there, and how it can be indexed.
type kind struct {
	name, value string
	methods     []string
}

var kinds = []kind{
	{"int", "(n * 7919 % 1000)::int", []string{"btree", "hash", "brin"}},
	{"bigint", "n * 1000003::bigint", []string{"btree", "hash", "brin"}},
	{"numeric", "n / 7.0", []string{"btree", "hash", "brin"}},
	{"text", "repeat(md5(n::text), n % 5)", []string{"btree", "hash", "spgist", "brin"}},
	{"text", "(SELECT string_agg(md5((n * m)::text), '') FROM generate_series(1, n % 90) m)", []string{"hash"}},
	{"int[]", "ARRAY[n % 10, n % 7, n % 3]", []string{"gin", "btree"}},
	{"point", "point(n % 100, n * 31 % 77)", []string{"gist", "spgist"}},
	{"int4range", "int4range((n % 50)::int, (n % 50 + n % 9)::int)", []string{"gist", "spgist", "btree"}},
	{"jsonb", "jsonb_build_object('a', n % 5, 'b', md5(n::text))", []string{"gin", "hash"}},
	{"boolean", "n % 3 = 0", []string{"btree"}},
}

// Next returns the next statement, or some that belong together.
func (s *Statements) Next() string {
	if len(s.tables) < 3 || len(s.tables) < 9 && s.one(12) {
		return s.create()
	}
	t := s.tables[s.rng.IntN(len(s.tables))]
	of := []func(*table) string{
		s.insert, s.insert, s.insert, s.update, s.update, s.update, s.remove, s.remove, s.index, s.index,
		s.addColumn, s.dropColumn, s.widen, s.tune, s.vacuum, s.vacuum, s.rewrite, s.view, s.subtransactions, s.abort, s.rename, s.dropIndex, s.drop,
	}
	return of[s.rng.IntN(len(of))](t)
}

// Take returns so many statements as a script.
func (s *Statements) Take(n int) string {
	var script strings.Builder
	for range n {
		script.WriteString(s.Next() + ";\n")
	}
	return script.String()
}

func (s *Statements) one(in int) bool { return s.rng.IntN(in) == 0 }

func (s *Statements) name(prefix string) string {
	s.named++
	return fmt.Sprintf("%s%d", prefix, s.named)
}

func (s *Statements) kind() *kind { return &kinds[s.rng.IntN(len(kinds))] }

func (s *Statements) create() string {
	t := &table{name: s.name("t"), parts: s.one(5)}
	text := "CREATE TABLE "
	if !s.lasts && !t.parts && s.one(4) {
		text = "CREATE UNLOGGED TABLE "
		if t.temp = s.one(2); t.temp {
			text = "CREATE TEMP TABLE "
		}
	}
	text += t.name + " (id int NOT NULL"
	for range 1 + s.rng.IntN(5) {
		c := column{s.name("c"), s.kind()}
		t.columns = append(t.columns, c)
		text += ", " + c.name + " " + c.kind.name
	}
	s.tables = append(s.tables, t)
	switch {
	case t.parts:
		text += ") PARTITION BY HASH (id)"
		for part := range 3 {
			text += fmt.Sprintf(";\nCREATE TABLE %s_%d PARTITION OF %s FOR VALUES WITH (MODULUS 3, REMAINDER %d)", t.name, part, t.name, part)
		}
	default:
		text += fmt.Sprintf(") WITH (fillfactor = %d)", 30+s.rng.IntN(71))
	}
	return text + ";\n" + s.insert(t)
}

func (s *Statements) insert(t *table) string {
	names, values := "id", "n"
	for _, c := range t.columns {
		names, values = names+", "+c.name, values+", "+c.kind.value
	}
	first := s.rng.IntN(5000)
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM generate_series(%d, %d) n", t.name, names, values, first, first+s.rng.IntN(300))
}

// where picks a part of the rows.
func (s *Statements) where() string {
	m := 2 + s.rng.IntN(20)
	return fmt.Sprintf("WHERE id %% %d = %d", m, s.rng.IntN(m))
}

func (s *Statements) update(t *table) string {
	c := t.columns[s.rng.IntN(len(t.columns))]
	return fmt.Sprintf("UPDATE %s SET %s = (SELECT %s FROM (SELECT id + 1) AS next (n)) %s", t.name, c.name, c.kind.value, s.where())
}

func (s *Statements) remove(t *table) string {
	if s.one(12) {
		return "TRUNCATE " + t.name
	}
	return fmt.Sprintf("DELETE FROM %s %s", t.name, s.where())
}

func (s *Statements) index(t *table) string {
	c := t.columns[s.rng.IntN(len(t.columns))]
	method := c.kind.methods[s.rng.IntN(len(c.kind.methods))]
	x := index{name: s.name("i"), columns: []string{c.name}}
	on := c.name
	if method == "btree" && s.one(3) {
		on += ", id"
	}
	text := fmt.Sprintf("CREATE INDEX %s ON %s USING %s (%s)", x.name, t.name, method, on)
	switch {
	case s.one(6):
		text += fmt.Sprintf(" WHERE id %% 2 = %d", s.rng.IntN(2))
	case s.one(6):
		text = fmt.Sprintf("CREATE INDEX %s ON %s ((id %% 13), id)", x.name, t.name)
		x.columns = nil
	default:
		x.cluster = method == "btree" && !t.parts
	}
	t.indexes = append(t.indexes, x)
	return text
}

func (s *Statements) dropIndex(t *table) string {
	if len(t.indexes) == 0 {
		return s.index(t)
	}
	at := s.rng.IntN(len(t.indexes))
	name := t.indexes[at].name
	t.indexes = slices.Delete(t.indexes, at, at+1)
	return "DROP INDEX " + name
}

func (s *Statements) addColumn(t *table) string {
	if len(t.columns) > 8 {
		return s.dropColumn(t)
	}
	c := column{s.name("c"), s.kind()}
	t.columns = append(t.columns, c)
	text := fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", t.name, c.name, c.kind.name)
	if c.kind.name == "int" && s.one(2) {
		text += " DEFAULT 7"
	}
	return text
}

func (s *Statements) dropColumn(t *table) string {
	if len(t.columns) < 2 {
		return s.addColumn(t)
	}
	at := s.rng.IntN(len(t.columns))
	name := t.columns[at].name
	t.columns = slices.Delete(t.columns, at, at+1)
	t.indexes = slices.DeleteFunc(t.indexes, func(x index) bool { return slices.Contains(x.columns, name) })
	return fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s", t.name, name)
}

// widen writes the table anew.
func (s *Statements) widen(t *table) string {
	for i := range t.columns {
		if c := &t.columns[i]; c.kind.name == "int" {
			c.kind = &kinds[1]
			return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE bigint", t.name, c.name)
		}
	}
	return s.tune(t)
}

func (s *Statements) tune(t *table) string {
	for _, c := range t.columns {
		if c.kind.name == "text" && s.one(2) {
			return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET STORAGE %s", t.name, c.name, []string{"EXTERNAL", "EXTENDED", "MAIN"}[s.rng.IntN(3)])
		}
	}
	if t.parts {
		return fmt.Sprintf("COMMENT ON TABLE %s IS 'it has %d columns'", t.name, len(t.columns))
	}
	return fmt.Sprintf("ALTER TABLE %s SET (fillfactor = %d)", t.name, 20+s.rng.IntN(81))
}

func (s *Statements) vacuum(t *table) string {
	return []string{"VACUUM ", "VACUUM (INDEX_CLEANUP ON) ", "VACUUM (FREEZE) "}[s.rng.IntN(3)] + t.name
}

// rewrite makes the table's files anew, or those of its indexes.
func (s *Statements) rewrite(t *table) string {
	for _, x := range t.indexes {
		if x.cluster && s.one(2) {
			return fmt.Sprintf("CLUSTER %s USING %s", t.name, x.name)
		}
	}
	return []string{"VACUUM (FULL) ", "REINDEX TABLE "}[s.rng.IntN(2)] + t.name
}

// view makes a materialized view, and fills it again.
func (s *Statements) view(t *table) string {
	if t.temp {
		return s.insert(t)
	}
	name := s.name("v")
	return fmt.Sprintf("CREATE MATERIALIZED VIEW %s AS SELECT id %% 10 AS digit, count(*) FROM %s GROUP BY 1;\n%s;\nREFRESH MATERIALIZED VIEW %s;\nDROP MATERIALIZED VIEW %s",
		name, t.name, s.insert(t), name, name)
}

func (s *Statements) subtransactions(t *table) string {
	return fmt.Sprintf("BEGIN;\n%s;\nSAVEPOINT a;\n%s;\nROLLBACK TO a;\n%s;\nSAVEPOINT b;\n%s;\nRELEASE b;\nCOMMIT",
		s.insert(t), s.update(t), s.update(t), s.insert(t))
}

// abort undoes what it does, files included.
func (s *Statements) abort(t *table) string {
	return fmt.Sprintf("BEGIN;\n%s;\nCREATE TABLE undone AS SELECT * FROM %s;\nCREATE INDEX ON undone (id);\nTRUNCATE %s;\n%s;\nROLLBACK", s.insert(t), t.name, t.name, s.insert(t))
}

func (s *Statements) rename(t *table) string {
	old := t.name
	t.name = s.name("t")
	return fmt.Sprintf("ALTER TABLE %s RENAME TO %s", old, t.name)
}

func (s *Statements) drop(t *table) string {
	s.tables = slices.DeleteFunc(s.tables, func(other *table) bool { return other == t })
	return "DROP TABLE " + t.name
}

// Fork returns statements that go on from here by another seed.
func (s *Statements) Fork(seed uint64) *Statements {
	other := NewStatements(seed, s.lasts)
	other.named = s.named
	for _, t := range s.tables {
		c := *t
		c.columns, c.indexes = slices.Clone(t.columns), slices.Clone(t.indexes)
		other.tables = append(other.tables, &c)
	}
	return other
}
