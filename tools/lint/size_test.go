package lint_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	fileLinesMax = 700
	funcLinesMax = 70
)

// longFiles and longFuncs excuse what is longer for a reason. An entry that is no
// longer needed fails the test, so that neither list outlives its cause.
var (
	longFiles = map[string]string{}
	longFuncs = map[string]string{}
)

// TestSizes: files of at most 700 lines, functions of at most 70, tests apart.
func TestSizes(t *testing.T) {
	product, _ := load(t)
	unusedFiles, unusedFuncs := keys(longFiles), keys(longFuncs)
	for _, p := range product {
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			rel := p.rel() + "/" + name
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if lines := bytes.Count(source, []byte("\n")); lines > fileLinesMax && !excused(unusedFiles, longFiles, rel) {
				t.Errorf("%s has %d lines, over %d: split it by nouns", rel, lines, fileLinesMax)
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, source, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok {
					continue
				}
				lines := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
				if name := rel + ":" + f.Name.Name; lines > funcLinesMax && !excused(unusedFuncs, longFuncs, name) {
					t.Errorf("%s has %d lines, over %d: give its parts names", name, lines, funcLinesMax)
				}
			}
		}
	}
	for name := range unusedFiles {
		t.Errorf("%s is excused in longFiles and need not be", name)
	}
	for name := range unusedFuncs {
		t.Errorf("%s is excused in longFuncs and need not be", name)
	}
}

func keys(m map[string]string) map[string]bool {
	set := map[string]bool{}
	for name := range m {
		set[name] = true
	}
	return set
}

func excused(unused map[string]bool, reasons map[string]string, name string) bool {
	delete(unused, name)
	return reasons[name] != ""
}

// TestExportedNamesAreDocumented: every exported type, function and value has a
// comment. Methods that only implement an interface of the standard library are
// known by their names.
func TestExportedNamesAreDocumented(t *testing.T) {
	product, _ := load(t)
	for _, p := range product {
		for _, name := range p.GoFiles {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				for _, missing := range undocumented(decl) {
					t.Errorf("%s: %s is exported and has no comment", fset.Position(decl.Pos()), missing)
				}
			}
		}
		if p.rel() != "cmd" && !hasPackageDoc(t, p) {
			t.Errorf("%s: no package comment says what it is", p.rel())
		}
	}
}

// wellKnown methods need no comment: their interface documents them.
var wellKnown = map[string]bool{"String": true, "Error": true, "Unwrap": true, "Is": true, "Len": true, "Less": true, "Swap": true, "Close": true}

func undocumented(decl ast.Decl) (names []string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && !wellKnown[d.Name.Name] && receiverExported(d) {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	ident, ok := typ.(*ast.Ident)
	return ok && ident.IsExported()
}

func hasPackageDoc(t *testing.T, p pkg) bool {
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		if file.Doc != nil && strings.HasPrefix(file.Doc.Text(), "Package ") || file.Doc != nil && strings.HasPrefix(file.Doc.Text(), "Command ") {
			return true
		}
	}
	return false
}
