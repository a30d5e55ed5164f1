package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
)

// maxBody bounds a JSON request (the Jobs API documents 10 MB; imports of
// notebooks in base64 are larger).
const maxBody = 16 << 20

// Empty is the input or output of a call that has none; it is written as {}.
type Empty struct{}

// JSON makes a handler of a plain function. In is filled from the JSON body,
// from the query (dotted keys nest, a repeated key makes a list) and from path
// values, by the names of its json tags, later ones winning. If In implements
// json.Unmarshaler (or is json.RawMessage inside), it sees the document as
// received. Out is written as JSON.
func JSON[In, Out any](fn func(context.Context, *In) (*Out, error)) Handler {
	return jsonHandler[In, Out]{fn}
}

type jsonHandler[In, Out any] struct {
	fn func(context.Context, *In) (*Out, error)
}

func (h jsonHandler[In, Out]) types() (in, out any) { return new(In), new(Out) }

func (h jsonHandler[In, Out]) serve(w http.ResponseWriter, r *http.Request) error {
	in := new(In)
	if err := Decode(r, in); err != nil {
		return err
	}
	out, err := h.fn(r.Context(), in)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, out)
}

// WriteJSON writes v with its length set: some clients refuse chunked answers.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, err = w.Write(b)
	return err
}

// Raw makes a handler of a function that reads and writes by itself: streams,
// uploads, protocols that are not JSON.
func Raw(fn func(w http.ResponseWriter, r *http.Request) error) Handler { return rawHandler(fn) }

type rawHandler func(w http.ResponseWriter, r *http.Request) error

func (h rawHandler) types() (in, out any) { return nil, nil }

func (h rawHandler) serve(w http.ResponseWriter, r *http.Request) error { return h(w, r) }

// As tells OpenAPI what a Raw handler takes and answers, both JSON.
func As[In, Out any](h Handler) Handler { return described{h, new(In), new(Out)} }

type described struct {
	Handler
	in, out any
}

func (h described) types() (in, out any) { return h.in, h.out }

// Decode fills in from the request as JSON describes.
func Decode(r *http.Request, in any) error {
	if r.Body != nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
		body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
		if err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return wherry.Errorf(wherry.CodeInvalidParameter, "the request is larger than %d bytes", maxBody)
			}
			return err
		}
		if len(strings.TrimSpace(string(body))) > 0 {
			if err := json.Unmarshal(body, in); err != nil {
				return badJSON(err)
			}
		}
	}
	doc := map[string]any{}
	for key, values := range r.URL.Query() {
		setDotted(doc, reflect.TypeOf(in).Elem(), strings.Split(key, "."), values)
	}
	for _, name := range pathNames(r.Pattern) {
		setDotted(doc, reflect.TypeOf(in).Elem(), []string{name}, []string{r.PathValue(name)})
	}
	if len(doc) == 0 {
		return nil
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return badJSON(json.Unmarshal(b, in))
}

func badJSON(err error) error {
	if err == nil || wherry.CodeOf(err) != wherry.CodeInternal {
		return err
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s: got %s where a value of type %s is expected", t.Field, t.Value, t.Type)
	}
	return wherry.Errorf(wherry.CodeInvalidParameter, "the request is not valid JSON: %v", err)
}

func pathNames(pattern string) (names []string) {
	for part := range strings.SplitSeq(pattern, "{") {
		if name, _, ok := strings.Cut(part, "}"); ok {
			names = append(names, strings.TrimSuffix(name, "..."))
		}
	}
	return names
}

// setDotted puts a query value at its place in doc, as the JSON type that the
// field of t with that name has. Unknown names are left out.
func setDotted(doc map[string]any, t reflect.Type, path []string, values []string) {
	f, ok := fieldByTag(t, path[0])
	if !ok {
		return
	}
	if len(path) > 1 {
		sub, _ := doc[path[0]].(map[string]any)
		if sub == nil {
			sub = map[string]any{}
			doc[path[0]] = sub
		}
		setDotted(sub, f, path[1:], values)
		return
	}
	if f.Kind() == reflect.Slice && f != reflect.TypeFor[json.RawMessage]() {
		list := []any{}
		for _, v := range values {
			list = append(list, scalar(f.Elem(), v))
		}
		doc[path[0]] = list
		return
	}
	doc[path[0]] = scalar(f, values[len(values)-1])
}

func scalar(t reflect.Type, v string) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return v == "true" || v == "True" || v == "1"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
		if v == "" {
			return nil
		}
		if json.Valid([]byte(v)) {
			return json.RawMessage(v)
		}
		return v
	default:
		return v
	}
}

func fieldByTag(t reflect.Type, name string) (reflect.Type, bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, false
	}
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == name && f.IsExported() {
			ft := f.Type
			for ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			return ft, true
		}
	}
	return nil, false
}
