package assert_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/assert"
)

func TestThatIsSilentWhenTrue(t *testing.T) {
	require.NotPanics(t, func() { assert.That(true, "1 is at most %d", 2) })
}

func TestThatPanicsWithTheText(t *testing.T) {
	require.PanicsWithError(t, "assertion failed: flushed 3 is at most appended 2", func() {
		assert.That(3 <= 2, "flushed %d is at most appended %d", 3, 2)
	})
}
