// Package provider is the engine of wherry's stand-in Terraform providers: from
// a table of resource types it answers Terraform's plugin protocol, and calls a
// handler for what a resource's API needs.
package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Handler is what the API of a resource type needs; C is the provider's client.
type Handler[C any] struct {
	// Create makes the resource and sets its id.
	Create func(ctx context.Context, c C, s *State) error
	// Read takes the resource's values from the API, or fails with ErrGone.
	Read func(ctx context.Context, c C, s *State) error
	// Update is nil for a type of which each change needs another resource.
	Update func(ctx context.Context, c C, s *State) error
	Delete func(ctx context.Context, c C, s *State) error
	// Import sets what Read needs from the id; nil if that is the id alone.
	Import func(s *State) error
	// Plan adjusts planned values; may be nil.
	Plan func(s *State) error
}

// Provider answers for one provider of Terraform's registry.
type Provider[C any] struct {
	Source    string // hashicorp/azurerm
	Tables    map[string]*Table
	Connect   func(ctx context.Context, config Values) (C, error)
	Resources map[string]Handler[C]
	Data      map[string]func(ctx context.Context, c C, s *State) error
}

// Serve answers Terraform on the standard streams of this process.
func (p *Provider[C]) Serve() error {
	address := "registry.terraform.io/" + p.Source
	return tf6server.Serve(address, func() tfprotov6.ProviderServer { return &server[C]{Provider: p} })
}

// server is one configured provider. What it does not say comes from the
// embedded interface, which is nil: Terraform asks only for what GetMetadata
// and the schema name.
type server[C any] struct {
	*Provider[C]
	tfprotov6.ProviderServer
	connect func() (C, error)
}

var _ tfprotov6.ProviderServer = &server[struct{}]{}

// settings is the table of the provider's own configuration.
func (s *server[C]) settings() *Table {
	_, name, _ := strings.Cut(s.Source, "/")
	return s.Tables[name]
}

// GetMetadata implements tfprotov6.ProviderServer.
func (s *server[C]) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	out := &tfprotov6.GetMetadataResponse{ServerCapabilities: &tfprotov6.ServerCapabilities{PlanDestroy: false}}
	for _, name := range slices.Sorted(maps.Keys(s.Resources)) {
		out.Resources = append(out.Resources, tfprotov6.ResourceMetadata{TypeName: name})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Data)) {
		out.DataSources = append(out.DataSources, tfprotov6.DataSourceMetadata{TypeName: name})
	}
	return out, nil
}

// GetProviderSchema implements tfprotov6.ProviderServer.
func (s *server[C]) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	out := &tfprotov6.GetProviderSchemaResponse{
		Provider: schemaOf(s.settings().Fields, ""), ResourceSchemas: map[string]*tfprotov6.Schema{}, DataSourceSchemas: map[string]*tfprotov6.Schema{},
	}
	for name := range s.Resources {
		out.ResourceSchemas[name] = schemaOf(s.Tables[name].Fields, "")
	}
	for name := range s.Data {
		out.DataSourceSchemas[name] = schemaOf(s.Tables["data."+name].Fields, "")
	}
	return out, nil
}

// GetResourceIdentitySchemas implements tfprotov6.ProviderServer: there are none.
func (s *server[C]) GetResourceIdentitySchemas(context.Context, *tfprotov6.GetResourceIdentitySchemasRequest) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

// GetFunctions implements tfprotov6.FunctionServer: there are none.
func (s *server[C]) GetFunctions(context.Context, *tfprotov6.GetFunctionsRequest) (*tfprotov6.GetFunctionsResponse, error) {
	return &tfprotov6.GetFunctionsResponse{}, nil
}

// ValidateProviderConfig implements tfprotov6.ProviderServer.
func (s *server[C]) ValidateProviderConfig(_ context.Context, r *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: r.Config, Diagnostics: s.validate(s.settings(), r.Config)}, nil
}

// ConfigureProvider implements tfprotov6.ProviderServer. Nothing is called yet:
// at the first plan the host may be of a workspace that is yet to be made.
func (s *server[C]) ConfigureProvider(ctx context.Context, r *tfprotov6.ConfigureProviderRequest) (*tfprotov6.ConfigureProviderResponse, error) {
	out := &tfprotov6.ConfigureProviderResponse{}
	config, err := read(r.Config, objectType(s.settings().Fields))
	if err != nil {
		out.Diagnostics = failed("provider configuration", err)
		return out, nil
	}
	maps.DeleteFunc(config, func(_ string, v any) bool { return v == Unknown{} })
	ctx = context.WithoutCancel(ctx)
	s.connect = sync.OnceValues(func() (C, error) { return s.Connect(ctx, config) })
	out.Diagnostics = []*tfprotov6.Diagnostic{{
		Severity: tfprotov6.DiagnosticSeverityWarning, Summary: "wherry stands in for the provider " + s.Source,
		Detail: "Resources are made by wherry's own client of the same API, not by the provider's binary.",
	}}
	return out, nil
}

// StopProvider implements tfprotov6.ProviderServer; contexts of calls end.
func (s *server[C]) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

func failed(what string, err error) []*tfprotov6.Diagnostic {
	d := &tfprotov6.Diagnostic{Severity: tfprotov6.DiagnosticSeverityError, Summary: what, Detail: err.Error()}
	if e, ok := errors.AsType[*FieldError](err); ok {
		d.Attribute, d.Detail = tftypes.NewAttributePath().WithAttributeName(e.Field), e.Err.Error()
	}
	return []*tfprotov6.Diagnostic{d}
}

// There says how what is there already comes into the state: err is the API's
// refusal to make it, id what `terraform import` wants, "" where it is not known.
func There(err error, id string) error {
	if id == "" {
		id = "ID"
	}
	return fmt.Errorf("%w: `terraform import ADDRESS %s` takes it into the state", err, id)
}

// FieldError is an error about one field: Terraform shows the line.
type FieldError struct {
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap is the error without the field.
func (e *FieldError) Unwrap() error { return e.Err }

// ValidateResourceConfig implements tfprotov6.ResourceServer.
func (s *server[C]) ValidateResourceConfig(_ context.Context, r *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{Diagnostics: s.validate(s.Tables[r.TypeName], r.Config)}, nil
}

// ValidateDataResourceConfig implements tfprotov6.DataSourceServer.
func (s *server[C]) ValidateDataResourceConfig(_ context.Context, r *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{Diagnostics: s.validate(s.Tables["data."+r.TypeName], r.Config)}, nil
}

func (s *server[C]) validate(t *Table, config *tfprotov6.DynamicValue) []*tfprotov6.Diagnostic {
	v, err := read(config, objectType(t.Fields))
	if err != nil {
		return failed(t.Name, err)
	}
	return append(validateFields(t.Fields, v, tftypes.NewAttributePath()), validateRules(t, v)...)
}

// validateFields checks the words that a field may have.
func validateFields(fields []*Field, v Values, at *tftypes.AttributePath) (out []*tfprotov6.Diagnostic) {
	for _, f := range fields {
		path := at.WithAttributeName(f.Name)
		switch x := v[f.Name].(type) {
		case string:
			if len(f.OneOf) > 0 && !slices.Contains(f.OneOf, x) {
				out = append(out, &tfprotov6.Diagnostic{
					Severity: tfprotov6.DiagnosticSeverityError, Summary: fmt.Sprintf("%s cannot be %q", f.Name, x),
					Detail: "It must be one of: " + strings.Join(f.OneOf, ", "), Attribute: path,
				})
			}
		case []any:
			for i, item := range x {
				b, ok := item.(Values)
				if !ok {
					continue
				}
				inner := path.WithElementKeyInt(i)
				if f.Kind == BlockSet { // elements of sets have no index
					inner = path
				}
				for _, d := range validateFields(f.Fields, b, inner) {
					if f.Kind == BlockSet {
						d.Attribute = path
					}
					out = append(out, d)
				}
			}
		}
	}
	return out
}

// validateRules checks "!exactly a b" and "!most a b": one of them must, or
// at most one may, be written.
func validateRules(t *Table, v Values) (out []*tfprotov6.Diagnostic) {
	for _, kind := range []string{"exactly", "most"} {
		for _, names := range Lines(t.Directives[kind]) {
			var written []string
			unknown := false
			for _, name := range names {
				_, u := v[name].(Unknown)
				unknown = unknown || u
				if items, isList := v[name].([]any); v[name] != nil && (!isList || len(items) > 0) {
					written = append(written, name)
				}
			}
			all := strings.Join(names, ", ")
			switch {
			case len(written) > 1:
				out = append(out, &tfprotov6.Diagnostic{
					Severity: tfprotov6.DiagnosticSeverityError, Summary: "Arguments that exclude each other",
					Detail: "Only one of these may be written: " + all, Attribute: tftypes.NewAttributePath().WithAttributeName(written[1]),
				})
			case kind == "exactly" && len(written) == 0 && !unknown:
				out = append(out, &tfprotov6.Diagnostic{Severity: tfprotov6.DiagnosticSeverityError, Summary: "Missing argument", Detail: "One of these must be written: " + all})
			}
		}
	}
	return out
}

// Lines splits a directive's words into its lines.
func Lines(words []string) (lines [][]string) {
	for len(words) > 0 {
		i := slices.Index(words, "\n")
		if i < 0 {
			return append(lines, words)
		}
		lines, words = append(lines, words[:i]), words[i+1:]
	}
	return lines
}
