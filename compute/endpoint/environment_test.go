package endpoint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPostgresDoesNotGetTheCredentialsOfTheBucket: its users could read them there.
func TestPostgresDoesNotGetTheCredentialsOfTheBucket(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("PGOPTIONS", "-c fsync=on")
	t.Setenv("OTHER", "kept")
	kept := serverEnvironment()
	require.Contains(t, kept, "OTHER=kept")
	require.NotContains(t, kept, "AWS_SECRET_ACCESS_KEY=secret")
	require.NotContains(t, kept, "PGOPTIONS=-c fsync=on")
}
