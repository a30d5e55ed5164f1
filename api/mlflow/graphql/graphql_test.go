package graphql

import (
	"context"
	"encoding/json"
	"testing"
)

var echo = Executor{
	Schema: Schema{"Query": {"thing": "Thing"}, "Mutation": {}, "Thing": {"id": "Long", "value": "Float", "name": "String", "parts": "[Thing]", "extra": "String"}},
	Resolve: func(_ context.Context, _ string, args map[string]any) (any, error) {
		return map[string]any{"id": json.Number("9007199254740993"), "value": "NaN", "name": args["the_name"], "parts": []any{map[string]any{"name": "p"}}}, nil
	},
	Expand: func(_ context.Context, _, field string, _ map[string]any) (any, bool, error) {
		return "more", field == "extra", nil
	},
}

func TestDo(t *testing.T) {
	for query, want := range map[string]string{
		`query($n: String = "d") { thing(theName: $n) { id value name parts { name id } extra } }`:         `{"data":{"thing":{"id":"9007199254740993","value":null,"name":"v","parts":[{"name":"p","id":"0"}],"extra":"more"}},"errors":null}`,
		`{ a: thing(theName: "x") { ...f name @skip(if: true) } } fragment f on Thing { __typename name }`: `{"data":{"a":{"__typename":"Thing","name":"x"}},"errors":null}`,
		`{ thing { nope } }`: `{"data":null,"errors":["Cannot query field 'nope' on type 'Thing'."]}`,
		`{ thing`:            `{"data":null,"errors":["Syntax Error: Expected a name at character 7"]}`,
	} {
		b, err := json.Marshal(echo.Do(context.Background(), Request{Query: query, Variables: map[string]any{"n": "v"}}))
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != want {
			t.Errorf("%s:\ngot  %s\nwant %s", query, b, want)
		}
	}
}

func FuzzDo(f *testing.F) {
	for _, s := range []string{`{ thing(theName: "x\u00e9", a: [1, -2.5e3, {b: $c}]) { ...f } } fragment f on Thing { id ... on Thing { name } }`, `query A($a: [Int!]! = 3) @d(x: """y""") { thing { parts { parts { id } } } }`, "{", `{a:"`, "#x\n{thing{id}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := echo.Do(context.Background(), Request{Query: s})
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		if r.Data == nil && len(r.Errors) == 0 {
			t.Fatal("neither data nor errors")
		}
	})
}
