package mlflow

import (
	"context"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// catalogRoutes are Unity Catalog's own spelling of the registry, as
// databricks-sdk and the Terraform provider call it.
func (s *Service) catalogRoutes() []api.Route {
	const p = "/api/2.1/unity-catalog/models"
	return []api.Route{
		{Method: "POST", Path: p, Permission: api.Write, Handler: api.JSON(s.catCreate), Summary: "Create a registered model"},
		{Method: "GET", Path: p, Permission: api.Read, Handler: api.JSON(s.catList), Summary: "List registered models"},
		{Method: "GET", Path: p + "/{full_name}", Permission: api.Read, Handler: api.JSON(s.catGet), Summary: "Get a registered model"},
		{Method: "PATCH", Path: p + "/{full_name}", Permission: api.Write, Handler: api.JSON(s.catUpdate), Summary: "Update a registered model"},
		{Method: "DELETE", Path: p + "/{full_name}", Permission: api.Write, Handler: api.JSON(s.catDelete), Summary: "Delete a registered model"},
		{Method: "PUT", Path: p + "/{full_name}/aliases/{alias}", Permission: api.Write, Handler: api.JSON(s.catSetAlias), Summary: "Set an alias"},
		{Method: "DELETE", Path: p + "/{full_name}/aliases/{alias}", Permission: api.Write, Handler: api.JSON(s.catDeleteAlias), Summary: "Delete an alias"},
		{Method: "GET", Path: p + "/{full_name}/aliases/{alias}", Permission: api.Read, Handler: api.JSON(s.catByAlias), Summary: "Version of an alias"},
		{Method: "GET", Path: p + "/{full_name}/versions", Permission: api.Read, Handler: api.JSON(s.catVersions), Summary: "List a model's versions"},
		{Method: "GET", Path: p + "/{full_name}/versions/{version}", Permission: api.Read, Handler: api.JSON(s.catVersion), Summary: "Get a model version"},
		{Method: "PATCH", Path: p + "/{full_name}/versions/{version}", Permission: api.Write, Handler: api.JSON(s.catUpdateVersion), Summary: "Describe a model version"},
		{Method: "DELETE", Path: p + "/{full_name}/versions/{version}", Permission: api.Write, Handler: api.JSON(s.catDeleteVersion), Summary: "Delete a model version"},
	}
}

type catalogAlias struct {
	Name    string `json:"alias_name"`
	Version int64  `json:"version_num"`
}

// catalogModel is how Unity Catalog writes a registered model.
type catalogModel struct {
	ID              string         `json:"id"`
	FullName        string         `json:"full_name"`
	Name            string         `json:"name"`
	Catalog         string         `json:"catalog_name"`
	Schema          string         `json:"schema_name"`
	Comment         string         `json:"comment,omitempty"`
	Owner           string         `json:"owner"`
	CreatedAt       wherry.Int64   `json:"created_at"`
	CreatedBy       string         `json:"created_by"`
	UpdatedAt       wherry.Int64   `json:"updated_at"`
	UpdatedBy       string         `json:"updated_by"`
	StorageLocation string         `json:"storage_location"`
	Aliases         []catalogAlias `json:"aliases,omitempty"`
}

func catalogView(m *mlflow.RegisteredModel) *catalogModel {
	catalog, schema, name, _ := mlflow.Split(m.Name)
	out := &catalogModel{
		ID: m.Name, FullName: m.Name, Name: name, Catalog: catalog, Schema: schema, Comment: m.Description, Owner: m.UserID,
		CreatedAt: m.CreatedAt, CreatedBy: m.UserID, UpdatedAt: m.UpdatedAt, UpdatedBy: m.UserID, StorageLocation: "dbfs:/Models/" + modelPath(m.Name),
	}
	for _, a := range m.Aliases {
		out.Aliases = append(out.Aliases, catalogAlias{a.Alias, number(a.Version)})
	}
	return out
}

func number(version string) int64 {
	n, _ := strconv.ParseInt(version, 10, 64) // ours are numbers
	return n
}

// catalogVersion is how Unity Catalog writes a version.
type catalogVersion struct {
	ID              string         `json:"id"`
	Model           string         `json:"model_name"`
	Catalog         string         `json:"catalog_name"`
	Schema          string         `json:"schema_name"`
	Version         int64          `json:"version"`
	Source          string         `json:"source"`
	RunID           string         `json:"run_id,omitempty"`
	Status          string         `json:"status"`
	Comment         string         `json:"comment,omitempty"`
	CreatedAt       wherry.Int64   `json:"created_at"`
	CreatedBy       string         `json:"created_by"`
	UpdatedAt       wherry.Int64   `json:"updated_at"`
	StorageLocation string         `json:"storage_location"`
	Aliases         []catalogAlias `json:"aliases,omitempty"`
}

func catalogVersionView(ctx context.Context, v *mlflow.ModelVersion) *catalogVersion {
	catalog, schema, name, _ := mlflow.Split(v.Name)
	out := &catalogVersion{
		ID: v.Name + "/" + v.Version, Model: name, Catalog: catalog, Schema: schema, Version: number(v.Version), Source: render(ctx, v.Source),
		RunID: v.RunID, Status: v.Status, Comment: v.Description, CreatedAt: v.CreatedAt, CreatedBy: v.UserID, UpdatedAt: v.UpdatedAt, StorageLocation: storageLocation(v),
	}
	for _, a := range v.Aliases {
		out.Aliases = append(out.Aliases, catalogAlias{a, out.Version})
	}
	return out
}

type catalogIn struct {
	FullName   string       `json:"full_name"`
	Catalog    string       `json:"catalog_name"`
	Schema     string       `json:"schema_name"`
	Name       string       `json:"name"`
	NewName    string       `json:"new_name"`
	Comment    *string      `json:"comment"`
	Alias      string       `json:"alias"`
	VersionNum wherry.Int64 `json:"version_num"`
	Version    looseString  `json:"version"`
	Max        wherry.Int64 `json:"max_results"`
	PageToken  string       `json:"page_token"`
}

func (s *Service) catCreate(ctx context.Context, in *catalogIn) (*catalogModel, error) {
	comment := ""
	if in.Comment != nil {
		comment = *in.Comment
	}
	m, err := s.store.CreateModel(ctx, mlflow.WhoFrom(ctx), mlflow.Account, in.Catalog+"."+in.Schema+"."+in.Name, comment, nil)
	if err != nil {
		return nil, err
	}
	return catalogView(m), nil
}

type catalogModels struct {
	Models []*catalogModel `json:"registered_models,omitempty"`
	Next   string          `json:"next_page_token,omitempty"`
}

func (s *Service) catList(ctx context.Context, in *catalogIn) (*catalogModels, error) {
	filter, prefix := "", ""
	if in.Catalog != "" {
		prefix = in.Catalog + "."
		if in.Schema != "" {
			prefix += in.Schema + "."
		}
		filter = "name LIKE '" + strings.ReplaceAll(prefix, "'", "''") + "%'"
	}
	n := int(in.Max)
	if n < 1 || n > 1000 {
		n = 1000
	}
	list, next, err := s.store.SearchModels(ctx, mlflow.Account, mlflow.Page{Filter: filter, Max: n, Token: in.PageToken})
	out := &catalogModels{Next: next}
	for _, m := range list {
		if strings.HasPrefix(m.Name, prefix) { // an _ in the pattern stands for any character
			out.Models = append(out.Models, catalogView(m))
		}
	}
	return out, err
}

func (s *Service) catGet(ctx context.Context, in *catalogIn) (*catalogModel, error) {
	m, err := s.store.Model(ctx, mlflow.Account, in.FullName)
	if err != nil {
		return nil, err
	}
	return catalogView(m), nil
}

func (s *Service) catUpdate(ctx context.Context, in *catalogIn) (*catalogModel, error) {
	renamed := ""
	if catalog, schema, _, ok := mlflow.Split(in.FullName); ok && in.NewName != "" {
		renamed = catalog + "." + schema + "." + in.NewName
	}
	m, err := s.store.UpdateModel(ctx, mlflow.Account, in.FullName, renamed, in.Comment)
	if err != nil {
		return nil, err
	}
	return catalogView(m), nil
}

func (s *Service) catDelete(ctx context.Context, in *catalogIn) (*api.Empty, error) {
	return s.ucDeleteModel(ctx, &registryIn{Name: in.FullName})
}

func (s *Service) catSetAlias(ctx context.Context, in *catalogIn) (*catalogAlias, error) {
	version := strconv.FormatInt(int64(in.VersionNum), 10)
	if err := s.store.SetAlias(ctx, mlflow.WhoFrom(ctx), mlflow.Account, in.FullName, in.Alias, version); err != nil {
		return nil, err
	}
	return &catalogAlias{in.Alias, int64(in.VersionNum)}, nil
}

func (s *Service) catDeleteAlias(ctx context.Context, in *catalogIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteAlias(ctx, mlflow.Account, in.FullName, in.Alias)
}

func (s *Service) catByAlias(ctx context.Context, in *catalogIn) (*catalogVersion, error) {
	v, err := s.store.VersionByAlias(ctx, mlflow.Account, in.FullName, in.Alias)
	if wherry.CodeOf(err) == wherry.CodeInvalidParameter { // MLflow's answer; here it is not found
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "Alias '%s' of model '%s' does not exist.", in.Alias, in.FullName)
	}
	if err != nil {
		return nil, err
	}
	return catalogVersionView(ctx, v), nil
}

type catalogVersions struct {
	Versions []*catalogVersion `json:"model_versions,omitempty"`
	Next     string            `json:"next_page_token,omitempty"`
}

func (s *Service) catVersions(ctx context.Context, in *catalogIn) (*catalogVersions, error) {
	if _, err := s.store.Model(ctx, mlflow.Account, in.FullName); err != nil {
		return nil, err
	}
	n := int(in.Max)
	if n < 1 || n > 1000 {
		n = 1000
	}
	list, next, err := s.store.SearchVersions(ctx, mlflow.Account, mlflow.Page{Filter: "name = '" + strings.ReplaceAll(in.FullName, "'", "''") + "'", Max: n, Token: in.PageToken})
	out := &catalogVersions{Next: next}
	for _, v := range list {
		out.Versions = append(out.Versions, catalogVersionView(ctx, v))
	}
	return out, err
}

func (s *Service) catVersion(ctx context.Context, in *catalogIn) (*catalogVersion, error) {
	v, err := s.store.Version(ctx, mlflow.Account, in.FullName, string(in.Version))
	if err != nil {
		return nil, err
	}
	return catalogVersionView(ctx, v), nil
}

func (s *Service) catUpdateVersion(ctx context.Context, in *catalogIn) (*catalogVersion, error) {
	comment := ""
	if in.Comment != nil {
		comment = *in.Comment
	}
	v, err := s.store.UpdateVersion(ctx, mlflow.Account, in.FullName, string(in.Version), comment)
	if err != nil {
		return nil, err
	}
	return catalogVersionView(ctx, v), nil
}

func (s *Service) catDeleteVersion(ctx context.Context, in *catalogIn) (*api.Empty, error) {
	return s.ucDeleteVersion(ctx, &registryIn{Name: in.FullName, Version: in.Version})
}
