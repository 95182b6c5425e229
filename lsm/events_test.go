package lsm_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryEventIsListed holds the list of events in the package's documentation against
// those that the code has: names, and what each tells.
func TestEveryEventIsListed(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	_, list, found := strings.Cut(string(text), "// # Events\n")
	require.True(t, found)
	list, _, _ = strings.Cut(list, "// #")
	var told []string
	for _, m := range regexp.MustCompile(`(?m)^//\t(lsm\.[a-z.]+) +([a-z ]+[a-z])  +\S`).FindAllStringSubmatch(list, -1) {
		told = append(told, m[1]+": "+strings.Join(strings.Fields(m[2]), " "))
	}
	require.ElementsMatch(t, eventsOf(t), told)
}

// eventsOf lists the events in the package's code and that of the packages below it.
func eventsOf(t *testing.T) (events []string) {
	event := regexp.MustCompile(`Trace\.Event\("(lsm\.[^"]+)"([^\n]*(?:\n\t\t[^\n]*)*?)\)\n`)
	attribute := regexp.MustCompile(`"([a-z]+)"`)
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range event.FindAllStringSubmatch(string(code), -1) {
			var names []string
			for _, a := range attribute.FindAllStringSubmatch(m[2], -1) {
				names = append(names, a[1])
			}
			events = append(events, m[1]+": "+strings.Join(names, " "))
		}
		return err
	}))
	return events
}
