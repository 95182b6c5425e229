package bench

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyCommittedAncestorsAreOfRecord(t *testing.T) {
	t.Chdir(t.TempDir())
	git := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=x", "-c", "user.email=x@x"}, args...)...).CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.TrimSpace(string(out))
	}
	of := func(commit string) error {
		return OfRecord(t.Context(), []*Result{{Suite: "append", Commit: commit}})
	}
	t.Setenv("GIT_CEILING_DIRECTORIES", os.TempDir())
	require.NoError(t, of("0123456789ab"), "outside of a repository nobody can tell")
	git("init", "-q", "-b", "main")
	git("commit", "-q", "--allow-empty", "-m", "one")
	one := git("rev-parse", "--short=12", "HEAD")
	git("commit", "-q", "--allow-empty", "-m", "two")
	two := git("rev-parse", "--short=12", "HEAD")
	require.NoError(t, of(one))
	require.NoError(t, of(two))
	err := of(two + "+")
	require.ErrorIs(t, err, ErrNotOfRecord)
	require.ErrorContains(t, err, "commit them and measure it anew")
	err = of("0123456789ab")
	require.ErrorIs(t, err, ErrNotOfRecord, "nobody has such a commit")
	require.ErrorContains(t, err, "measure it anew here")
	git("checkout", "-q", "-b", "other", one)
	require.ErrorIs(t, of(two), ErrNotOfRecord, "it is on another branch")

	git("clone", "-q", "--depth", "1", "file://"+git("rev-parse", "--show-toplevel"), "shallow")
	t.Chdir("shallow")
	require.NoError(t, of("0123456789ab"), "a shallow one cannot tell")
}
