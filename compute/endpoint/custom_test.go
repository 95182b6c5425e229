package endpoint

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// TestNoCustomResourceManagerIsLoaded: PostgreSQL takes a resource manager from a library
// only while it preloads, and here it preloads nothing, whatever an imported directory or
// ALTER SYSTEM says. So it refuses the library, and names the manager, before a record
// is written that nobody can redo.
func TestNoCustomResourceManagerIsLoaded(t *testing.T) {
	const custom = "SELECT rm_id, rm_name FROM pg_get_wal_resource_managers() WHERE NOT rm_builtin"
	w := newWorld(t, 3)
	library := filepath.Join(w.dir, "custom.so")
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", library, "testdata/custom.c").CombinedOutput()
	require.NoError(t, err, string(out))

	s := pgtest.Init(t, pgtest.Options{Conf: map[string]string{"shared_preload_libraries": library}})
	s.Up(t)
	require.Equal(t, "128|varve_custom", s.SQL(t, custom), "a stock server has it")
	s.Stop(t, pgtest.Fast)

	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.SQL(t, "ALTER SYSTEM SET shared_preload_libraries = '"+library+"'")
	for range 2 {
		require.Empty(t, s.SQL(t, custom))
		require.Equal(t, "|command line", s.SQL(t, "SELECT setting, source FROM pg_settings WHERE name = 'shared_preload_libraries'"))
		_, err = connect(t, s.ConnString()).Exec(t.Context(), "LOAD '"+library+"'")
		require.ErrorContains(t, err, `failed to register custom resource manager "varve_custom" with ID 128`)
		r.end(t)
		r = b.start(t, s, "main", 0)
	}
	r.end(t)
}
