package planted

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestATextIsFoundOnceOrNotAtAll: lines count whole, and a second edit sees the first.
func TestATextIsFoundOnceOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte("x\n\tx\ny\nz\ny\n"), 0o600))
	apply := func(edits ...Edit) (string, error) {
		files, err := Apply(dir, edits)
		return string(files["a.go"]), err
	}
	text, err := apply(Edit{"a.go", "x\n", "w\n"}, Edit{"a.go", "w\n\tx\n", ""})
	require.NoError(t, err)
	require.Equal(t, "y\nz\ny\n", text)
	_, err = apply(Edit{"a.go", "y\n", ""})
	require.ErrorContains(t, err, "is 2 times in a.go")
	_, err = apply(Edit{"a.go", "v\n", ""})
	require.ErrorContains(t, err, "is 0 times in a.go")
	_, err = apply(Edit{"b.go", "v\n", ""})
	require.ErrorIs(t, err, os.ErrNotExist)
}
