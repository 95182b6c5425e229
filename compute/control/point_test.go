package control_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
)

func TestParsePoint(t *testing.T) {
	for text, want := range map[string]control.Point{
		"main":                          {Branch: "main"},
		"a":                             {Branch: "a"},
		"main@0/16B3748":                {Branch: "main", LSN: 0x16B3748},
		"fix-1@2026-11-22T10:00:00Z":    {Branch: "fix-1", Time: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)},
		"fix_1@2026-11-22T10:00:00.25Z": {Branch: "fix_1", Time: time.Date(2026, 11, 22, 10, 0, 0, 250e6, time.UTC)},
	} {
		got, err := control.ParsePoint(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
}

func TestParsePointRefuses(t *testing.T) {
	for _, text := range []string{
		"", "@", "@0/1", "Main", "main@", "main@0/0", "main@x/1", "main@yesterday", "-main", "main-",
		"../x", "a b", strings.Repeat("a", 64), "main@0/1@0/2",
	} {
		_, err := control.ParsePoint(text)
		require.Error(t, err, text)
		require.Equal(t, control.CodeUsage, control.CodeOf(err), text)
	}
}
