package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// services of azurerm that are kept: those whose resources wherry's Azure has.
var services = []string{"authorization", "databricks", "keyvault", "managedidentity", "resource", "storage", "subscription"}

// clients are the fields of azurerm's Client that the code of these services
// needs: their own, and those of the packages that they import.
var clients = []string{"Authorization", "DataBricks", "KeyVault", "LoadBalancers", "ManagedIdentity", "Network", "Resource", "Storage", "Subscription"}

// trimAzurerm leaves out of azurerm's lists of services, and of its clients,
// what is not kept. Nothing else is changed: the kept resources are the real ones.
func trimAzurerm(source string) error {
	for _, name := range []string{"internal/provider/services.go", "internal/provider/services_gen.go", "internal/clients/client.go", "internal/clients/client_gen.go"} {
		file := filepath.Join(source, filepath.FromSlash(name))
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if text, err = trim(name, text, services, clients); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// trim cuts out of a Go file the registrations of services, the fields of
// clients and the statements that set them which are not kept, and the imports
// that nothing uses then.
func trim(name string, text []byte, services, clients []string) ([]byte, error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	t := &trimmer{file: f, services: services, clients: clients, imports: map[string]string{}, dropped: map[string]bool{}}
	for _, spec := range f.Imports {
		where, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.Position(spec.Pos()), err)
		}
		t.imports[localName(spec, where)] = where
	}
	ast.Inspect(f, t.fields)
	ast.Inspect(f, t.statements)
	used := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if n != nil && t.isCut(n) {
			return false
		}
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				used[x.Name] = true
			}
		}
		return true
	})
	for _, spec := range f.Imports {
		if where, _ := strconv.Unquote(spec.Path.Value); !used[localName(spec, where)] {
			t.cuts = append(t.cuts, spec)
		}
	}
	return t.without(set, text), nil
}

type trimmer struct {
	file              *ast.File
	services, clients []string
	imports           map[string]string // local name → path
	dropped           map[string]bool   // fields of clients
	cuts              []ast.Node
}

func localName(spec *ast.ImportSpec, where string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	return path.Base(where)
}

// fields cuts out the clients of services, and remembers their names.
func (t *trimmer) fields(n ast.Node) bool {
	s, ok := n.(*ast.StructType)
	if !ok {
		return true
	}
	for _, field := range s.Fields.List {
		star, ok := field.Type.(*ast.StarExpr)
		if !ok || len(field.Names) != 1 {
			continue
		}
		where := t.imports[qualifier(star.X)]
		ofService := strings.Contains(where, "/internal/services/") || strings.Contains(where, "/go-azure-sdk/resource-manager/")
		if name := field.Names[0].Name; ofService && !slices.Contains(t.clients, name) {
			t.dropped[name] = true
			t.cuts = append(t.cuts, field)
		}
	}
	return false
}

// statements cuts out registrations of services, and what sets dropped clients.
func (t *trimmer) statements(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CompositeLit:
		for _, e := range n.Elts {
			lit, ok := e.(*ast.CompositeLit)
			if !ok {
				continue
			}
			if name := qualifier(lit.Type); name != "" && !slices.Contains(t.services, path.Base(t.imports[name])) {
				t.cuts = append(t.cuts, e)
			}
		}
	case *ast.IfStmt: // if client.Advisor, err = advisor.NewClient(o); err != nil { … }
		if set, ok := n.Init.(*ast.AssignStmt); ok && t.setsDropped(set) {
			t.cuts = append(t.cuts, n)
			return false
		}
	case *ast.AssignStmt:
		if t.setsDropped(n) {
			t.cuts = append(t.cuts, n)
		}
	}
	return true
}

func (t *trimmer) setsDropped(set *ast.AssignStmt) bool {
	to, ok := set.Lhs[0].(*ast.SelectorExpr)
	return ok && t.dropped[to.Sel.Name]
}

// qualifier is the package of a name: "storage" of storage.Client.
func qualifier(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name
		}
	}
	return ""
}

func (t *trimmer) isCut(n ast.Node) bool { return slices.Contains(t.cuts, n) }

// without is the text less what is cut, each with the comma behind it.
func (t *trimmer) without(set *token.FileSet, text []byte) []byte {
	slices.SortFunc(t.cuts, func(a, b ast.Node) int { return cmp.Compare(a.Pos(), b.Pos()) })
	var out []byte
	at := 0
	for _, n := range t.cuts {
		start, end := set.Position(n.Pos()).Offset, set.Position(n.End()).Offset
		out = append(out, text[at:start]...)
		if end < len(text) && text[end] == ',' {
			end++
		}
		at = end
	}
	return append(out, text[at:]...)
}
