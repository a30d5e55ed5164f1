package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
)

// OpenAPI returns the route that describes the given routes, and itself, as an
// OpenAPI 3.0 document. All of it comes from the table and the types of its
// handlers. It is made when it is first asked for.
func OpenAPI(routes []Route) Route {
	var document func() ([]byte, error)
	rt := Route{
		Method: "GET", Path: "/api/openapi.json", Permission: SignedIn, Summary: "This API as an OpenAPI document",
		Handler: Raw(func(w http.ResponseWriter, _ *http.Request) error {
			b, err := document()
			if err != nil {
				return err
			}
			return WriteJSON(w, http.StatusOK, json.RawMessage(b))
		}),
	}
	all := append(slices.Clone(routes), rt)
	document = sync.OnceValues(func() ([]byte, error) { return json.Marshal(describe(all)) })
	return rt
}

type document struct {
	OpenAPI    string                           `json:"openapi"`
	Info       map[string]string                `json:"info"`
	Tags       []map[string]string              `json:"tags"`
	Security   []map[string][]string            `json:"security"`
	Paths      map[string]map[string]*operation `json:"paths"`
	Components components                       `json:"components"`
}

type components struct {
	Schemas         map[string]*schema        `json:"schemas"`
	Responses       map[string]*response      `json:"responses"`
	SecuritySchemes map[string]map[string]any `json:"securitySchemes"`
}

type operation struct {
	ID         string                 `json:"operationId"`
	Summary    string                 `json:"summary,omitempty"`
	Tags       []string               `json:"tags"`
	Parameters []parameter            `json:"parameters,omitempty"`
	Body       *body                  `json:"requestBody,omitempty"`
	Responses  map[string]*response   `json:"responses"`
	Security   *[]map[string][]string `json:"security,omitempty"` // an empty list: no sign-in
	Permission Permission             `json:"x-wherry-permission"`
}

type parameter struct {
	Name        string  `json:"name"`
	In          string  `json:"in"`
	Required    bool    `json:"required,omitempty"`
	Description string  `json:"description,omitempty"`
	Schema      *schema `json:"schema"`
}

type body struct {
	Content map[string]media `json:"content"`
}

type media struct {
	Schema *schema `json:"schema"`
}

type response struct {
	Ref         string           `json:"$ref,omitempty"`
	Description string           `json:"description,omitempty"`
	Content     map[string]media `json:"content,omitempty"`
}

// anyMethod are the methods of a route that names none.
var anyMethod = []string{"GET", "PUT", "POST", "DELETE", "PATCH"}

func describe(routes []Route) *document {
	d := &document{
		OpenAPI: "3.0.3",
		Info: map[string]string{
			"title": "wherry", "version": "2.2",
			"description": "Made from the server's route table. x-wherry-permission is what a route asks of the caller: public needs no sign-in, " +
				"signed in any principal, own shows and changes only what is the caller's own; until grants are enforced the others are for admins.",
		},
		Paths: map[string]map[string]*operation{},
		Components: components{Schemas: map[string]*schema{}, Responses: map[string]*response{}, SecuritySchemes: map[string]map[string]any{
			"bearer": {"type": "http", "scheme": "bearer", "description": "a personal token, the admin's token, or one of the issuer below /oidc"},
			"basic":  {"type": "http", "scheme": "basic", "description": "any user name, a token as password"},
			"cookie": {"type": "apiKey", "in": "cookie", "name": auth.CookieName, "description": "a browser's session"},
			"oauth": {"type": "oauth2", "flows": map[string]any{
				"clientCredentials": map[string]any{"tokenUrl": "/oidc/v1/token", "scopes": map[string]string{"all-apis": "everything that the service principal may"}},
			}},
		}},
		Security: []map[string][]string{{"bearer": {}}, {"basic": {}}, {"cookie": {}}, {"oauth": {"all-apis"}}},
	}
	tags := map[string]bool{}
	for _, rt := range routes {
		tags[rt.tag()] = true
		methods := []string{rt.Method}
		if rt.Method == "" {
			methods = anyMethod
		}
		for _, method := range methods {
			path, op := d.operation(rt, method)
			if d.Paths[path] == nil {
				d.Paths[path] = map[string]*operation{}
			}
			d.Paths[path][strings.ToLower(method)] = op
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		d.Tags = append(d.Tags, map[string]string{"name": name})
	}
	return d
}

func (d *document) operation(rt Route, method string) (path string, op *operation) {
	path, parameters := template(rt.Path)
	op = &operation{
		ID: operationID(method, path), Summary: rt.Summary, Tags: []string{rt.tag()}, Parameters: parameters, Permission: rt.Permission,
		Responses: map[string]*response{"default": {Ref: "#/components/responses/" + d.failure(rt.Family)}},
	}
	if rt.Permission == Public || rt.Permission == Storage {
		op.Security = &[]map[string][]string{}
	}
	in, out := rt.Handler.types()
	if in == nil { // it reads and writes by itself
		if method != "GET" && method != "DELETE" {
			op.Body = &body{map[string]media{"*/*": {&schema{}}}}
		}
		op.Responses["2XX"] = &response{Description: "the content, in the protocol of its own"}
		return path, op
	}
	t := reflect.TypeOf(in).Elem()
	if method == "GET" || method == "DELETE" {
		op.Parameters = append(op.Parameters, d.query(t, parameters)...)
	} else if t != reflect.TypeFor[Empty]() {
		op.Body = &body{map[string]media{"application/json": {d.schema(t)}}}
	}
	status := "200"
	if _, ok := rt.Handler.(described); ok {
		status = "2XX"
	}
	op.Responses[status] = &response{Description: "done", Content: map[string]media{"application/json": {d.schema(reflect.TypeOf(out).Elem())}}}
	return path, op
}

// tag groups routes: by their family where it has a name, else by the part of
// the workspace API, such as jobs.
func (rt Route) tag() string {
	if rt.Family.Name != "" {
		return rt.Family.Name
	}
	rest, ok := strings.CutPrefix(rt.Path, "/api/")
	if !ok {
		return "server"
	}
	for part := range strings.SplitSeq(rest, "/") {
		if _, err := strconv.ParseFloat(part, 64); err != nil && part != "preview" && part != "openapi.json" {
			return part
		}
	}
	return "server"
}

// template turns a pattern of net/http into OpenAPI's.
func template(pattern string) (path string, parameters []parameter) {
	path = strings.TrimSuffix(pattern, "{$}")
	if path == pattern && strings.HasSuffix(path, "/") { // everything below it
		path += "{path...}"
	}
	for _, name := range pathNames(path) {
		p := parameter{Name: name, In: "path", Required: true, Schema: &schema{Type: "string"}}
		if strings.Contains(path, "{"+name+"...}") {
			p.Description = "the rest of the path, with its slashes"
		}
		parameters = append(parameters, p)
	}
	return strings.ReplaceAll(path, "...}", "}"), parameters
}

var notWord = regexp.MustCompile(`[^A-Za-z0-9]+`)

func operationID(method, path string) string {
	if strings.HasSuffix(path, "/") {
		path += "index"
	}
	return strings.ToLower(method) + "_" + strings.Trim(notWord.ReplaceAllString(path, "_"), "_")
}

// query gives the fields of t that a query string can fill, nested ones with
// dots, without those that the path has.
func (d *document) query(t reflect.Type, path []parameter) (parameters []parameter) {
	taken := map[string]bool{}
	for _, p := range path {
		taken[p.Name] = true
	}
	var walk func(t reflect.Type, prefix string, within []reflect.Type)
	walk = func(t reflect.Type, prefix string, within []reflect.Type) {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if slices.Contains(within, t) {
			return
		}
		for _, f := range fields(t) {
			name, inner := prefix+f.name, f.typ
			for inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			switch {
			case taken[name]:
			case inner.Kind() == reflect.Struct:
				walk(inner, name+".", append(within, t))
			default:
				taken[name] = true
				s := d.schema(inner)
				s.Nullable = false
				parameters = append(parameters, parameter{Name: name, In: "query", Schema: s})
			}
		}
	}
	walk(t, "", nil)
	return parameters
}

// failure names the family's error response, which it makes of an error of the
// family itself.
func (d *document) failure(f Family) string {
	name := "workspace"
	if f.Name != "" {
		name = f.Name
	}
	if d.Components.Responses[name] != nil {
		return name
	}
	r := &response{Description: "what went wrong"}
	sample := wherry.Errorf(wherry.CodeInvalidParameter, "…")
	switch {
	case f.Page != nil:
		r.Content = map[string]media{"text/html": {&schema{Type: "string"}}}
	case f.Body != nil:
		r.Content = map[string]media{"application/json": {d.example(f.Body(discard{}, http.StatusBadRequest, sample))}}
	default:
		r.Content = map[string]media{"application/json": {d.schema(reflect.TypeFor[wherry.Error]())}}
	}
	d.Components.Responses[name] = r
	return name
}

// discard is where the sample of an error goes.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
