package lint_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/varvedb/varve"

// house lists the folders of the product in the order of the import arrows: a
// folder imports only itself and folders to its left.
var house = []string{"wal", "lsm", "pageserver", "compute", "sim", "bench", "cmd"}

// edges are the packages that touch the real world on purpose; they are tested
// against the real thing. Everything below a listed path is an edge too.
var edges = map[string]string{
	"wal/env/osenv":         "is the real world",
	"wal/env/s3":            "speaks to a real S3 server through a library that owns its sockets",
	"wal/proposer/pgsource": "speaks to a real PostgreSQL through a driver that owns its socket",
	"compute/endpoint":      "runs a real PostgreSQL",
	"compute/pgdata":        "writes the directory that a real PostgreSQL starts on",
	"compute/control":       "runs processes, keeps a bbolt file and serves HTTP on a socket",
	"wal/pgwal/pgtest":      "runs a real PostgreSQL for tests",
	"wal/planted":           "reads banks of bugs, and writes files for the compiler",
	"sim/mutant":            "builds programs with bugs in them, and runs them",
	"cmd":                   "is the operating system's side of the program",
	"bench":                 "measures the real world",
}

// bannedImports maps an import path to what to use in its stead.
var bannedImports = map[string]string{
	"os":           "env.FS",
	"os/exec":      "an edge package",
	"net":          "env.Net",
	"net/http":     "an edge package",
	"syscall":      "env.FS",
	"math/rand":    "env.Rand",
	"math/rand/v2": "env.Rand",
	"crypto/rand":  "env.Rand",
}

// bannedCalls maps a package's functions to what to use in their stead.
var bannedCalls = map[string]map[string]string{
	"time": {
		"Now": "env.Clock", "Since": "env.Clock", "Until": "env.Clock", "Sleep": "env.Clock.Sleep", "After": "env.Clock.Sleep",
		"AfterFunc": "env.Clock.Sleep", "Tick": "env.Clock.Sleep", "NewTimer": "env.Clock.Sleep", "NewTicker": "env.Clock.Sleep",
	},
	"context": {
		"WithCancel": "env.Tasks.WithCancel", "WithCancelCause": "env.Tasks.WithCancel", "WithTimeout": "env.Tasks.WithTimeout",
		"WithDeadline": "env.Tasks.WithTimeout", "AfterFunc": "env.Group.Go",
	},
}

// unordered is the mark that a range over a map needs, on the line above it,
// followed by the reason why the map's order cannot leak.
const unordered = "//varve:unordered "

type pkg struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	Imports      []string
	Export       string
	Module       *struct{ Path string }
	DepOnly      bool
	TestGoFiles  []string
	XTestGoFiles []string
	TestImports  []string
	XTestImports []string
}

// load lists the product's packages, and the export data of all that they import.
func load(t *testing.T) (product []pkg, exports map[string]string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,Export,Module,DepOnly,TestGoFiles,XTestGoFiles,TestImports,XTestImports", "-export", "-deps", "./...")
	cmd.Dir = root(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	exports = map[string]string{}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return product, exports
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Path == module && !p.DepOnly {
			product = append(product, p)
		}
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// rel is a package's path inside the module: wal/env.
func (p pkg) rel() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

func (p pkg) isEdge() bool {
	for edge := range edges {
		if p.rel() == edge || strings.HasPrefix(p.rel(), edge+"/") {
			return true
		}
	}
	return false
}

func folder(rel string) int {
	top, _, _ := strings.Cut(rel, "/")
	return slices.Index(house, top)
}

// TestImportArrows: a folder imports only folders to its left, tests included.
func TestImportArrows(t *testing.T) {
	product, _ := load(t)
	for _, p := range product {
		if folder(p.rel()) < 0 {
			t.Errorf("%s: is in no folder of the house %v", p.rel(), house)
		}
		for _, bad := range rightward(p) {
			t.Error(bad)
		}
	}
}

func rightward(p pkg) (bad []string) {
	for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
		rel, ours := strings.CutPrefix(imported, module+"/")
		if ours && folder(rel) > folder(p.rel()) {
			bad = append(bad, fmt.Sprintf("%s imports %s, which is to its right: move what it needs to the left, or itself to the right", p.rel(), rel))
		}
	}
	return bad
}

// TestShellsReachTheWorldThroughEnv: no banned import, call or statement outside
// the edges.
func TestShellsReachTheWorldThroughEnv(t *testing.T) {
	product, exports := load(t)
	for _, p := range product {
		if p.isEdge() || strings.HasSuffix(p.rel(), "test") {
			continue
		}
		for _, bad := range violations(t, p, exports) {
			t.Error(bad)
		}
	}
}

func violations(t *testing.T, p pkg, exports map[string]string) (bad []string) {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	if _, err := config.Check(p.ImportPath, fset, files, info); err != nil {
		t.Fatalf("type-check %s: %v", p.rel(), err)
	}
	for _, file := range files {
		w := &walker{fset: fset, info: info, excused: excusedLines(fset, file)}
		w.imports(file)
		ast.Inspect(file, w.node)
		bad = append(bad, w.bad...)
	}
	return bad
}

// excusedLines are the lines below an unordered mark that gives a reason.
func excusedLines(fset *token.FileSet, file *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if reason, ok := strings.CutPrefix(comment.Text, unordered); ok && strings.TrimSpace(reason) != "" {
				lines[fset.Position(comment.End()).Line+1] = true
			}
		}
	}
	return lines
}

type walker struct {
	fset    *token.FileSet
	info    *types.Info
	excused map[int]bool
	bad     []string
}

func (w *walker) report(n ast.Node, format string, args ...any) {
	w.bad = append(w.bad, fmt.Sprintf("%s: %s", w.fset.Position(n.Pos()), fmt.Sprintf(format, args...)))
}

func (w *walker) imports(file *ast.File) {
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if instead, banned := bannedImports[path]; banned {
			w.report(spec, "imports %s: use %s", path, instead)
		}
	}
}

func (w *walker) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		w.report(n, "go statement: use env.Group.Go")
	case *ast.SelectStmt:
		w.report(n, "select: wait through env.Cond or env.Mailbox")
	case *ast.ChanType:
		w.report(n, "channel: use env.Mailbox")
	case *ast.SelectorExpr:
		w.call(n)
	case *ast.RangeStmt:
		w.mapRange(n)
	}
	return true
}

func (w *walker) call(n *ast.SelectorExpr) {
	object := w.info.Uses[n.Sel]
	if object == nil || object.Pkg() == nil {
		return
	}
	if _, isFunc := object.(*types.Func); !isFunc || object.Parent() != object.Pkg().Scope() {
		return
	}
	if instead, banned := bannedCalls[object.Pkg().Path()][object.Name()]; banned {
		w.report(n, "calls %s.%s: use %s", object.Pkg().Name(), object.Name(), instead)
	}
}

func (w *walker) mapRange(n *ast.RangeStmt) {
	if _, isMap := w.info.Types[n.X].Type.Underlying().(*types.Map); !isMap {
		return
	}
	if !w.excused[w.fset.Position(n.Pos()).Line] {
		w.report(n, "ranges over a map: order the keys, or write %q and why the order cannot leak on the line above", strings.TrimSpace(unordered))
	}
}

// TestTheBanBites: the rules above find each thing they ban, and only that.
func TestTheBanBites(t *testing.T) {
	source := `package p

import (
	"os"
	"time"
)

func f(m map[int]int, t time.Time) {
	_ = os.Args
	time.Sleep(t.Sub(t))
	go f(nil, t)
	var c chan int
	select {
	case <-c:
	}
	for range m {
	}
	//varve:unordered counted only
	for range m {
	}
	//varve:unordered
	for range m {
	}
}
`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	exports := map[string]string{}
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "os", "time").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		path, export, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = export
	}
	var lines []int
	for _, bad := range violations(t, pkg{Dir: dir, GoFiles: []string{"p.go"}, ImportPath: "p"}, exports) {
		parts := strings.Split(bad, ":")
		line, err := strconv.Atoi(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	if want := []int{4, 10, 11, 12, 13, 16, 22}; !slices.Equal(lines, want) {
		t.Errorf("banned lines: want %v, got %v", want, lines)
	}
	p := pkg{ImportPath: module + "/lsm", Imports: []string{module + "/wal", module + "/sim/world", "os"}}
	if got := rightward(p); len(got) != 1 {
		t.Errorf("rightward imports of %v: want one, got %v", p.Imports, got)
	}
}
