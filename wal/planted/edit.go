package planted

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Edit replaces lines of a file.
type Edit struct {
	File          string // below the module's root
	Find, Replace string // whole lines; Replace may be empty
}

// check says what is wrong with an edit, whatever the file holds.
func (e *Edit) check() error {
	if !filepath.IsLocal(e.File) || !strings.HasSuffix(e.File, ".go") || strings.HasSuffix(e.File, "_test.go") {
		return fmt.Errorf("edits %q: want a Go file of the module that is no test", e.File)
	}
	if e.Find == e.Replace {
		return fmt.Errorf("edits %s and changes nothing", e.File)
	}
	return nil
}

// Apply returns the files of the module at root that the edits change, by their names
// below root, as they then are.
func Apply(root string, edits []Edit) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, e := range edits {
		text, edited := files[e.File]
		if !edited {
			var err error
			if text, err = os.ReadFile(filepath.Join(root, e.File)); err != nil {
				return nil, err
			}
		}
		if n := count(text, e.Find); n != 1 {
			return nil, fmt.Errorf("the text to find is %d times in %s, not once:\n%s", n, e.File, e.Find)
		}
		at := index(text, e.Find)
		files[e.File] = slices.Concat(text[:at], []byte(e.Replace), text[at+len(e.Find):])
	}
	return files, nil
}

// count is how often lines are in a text.
func count(text []byte, lines string) (n int) {
	for {
		at := index(text, lines)
		if at < 0 {
			return n
		}
		n++
		text = text[at+len(lines):]
	}
}

// index is where lines are in a text, at the beginning of a line; -1 if nowhere.
func index(text []byte, lines string) int {
	for from := 0; ; {
		at := bytes.Index(text[from:], []byte(lines))
		if at < 0 {
			return -1
		}
		if at += from; at == 0 || text[at-1] == '\n' {
			return at
		}
		from = at + 1
	}
}

// Overlay writes the files that the edits change into dir, and a list of them beside
// them, whose path it returns: the compiler takes it as its flag -overlay.
func Overlay(root, dir string, edits []Edit) (string, error) {
	files, err := Apply(root, edits)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	//varve:unordered each file is written by itself
	for file, text := range files {
		changed := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(changed, text, 0o644); err != nil {
			return "", err
		}
		replace[filepath.Join(root, file)] = changed
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o644)
}

// Insert puts a table between two marks of a document.
func Insert(document []byte, begin, end, table string) ([]byte, error) {
	before, rest, begins := bytes.Cut(document, []byte(begin))
	_, after, ends := bytes.Cut(rest, []byte(end))
	if !begins || !ends {
		return nil, errors.New("the document has no place for the table: want the lines " + begin + " and " + end)
	}
	return fmt.Appendf(nil, "%s%s\n%s%s%s", before, begin, table, end, after), nil
}
