package catalog_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/client"
	"github.com/databricks/databricks-sdk-go/config"
	sdk "github.com/databricks/databricks-sdk-go/service/catalog"

	"github.com/wherry-ml/wherry/server/servertest"
)

// workspaceClient is the real client, told nothing but where and who.
func workspaceClient(t *testing.T, s *servertest.Server) *databricks.WorkspaceClient {
	t.Helper()
	w, err := databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token, HTTPTimeoutSeconds: 120})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// call is for requests that the client has no method for.
func call(t *testing.T, s *servertest.Server, method, path string, in, out any) error {
	t.Helper()
	c, err := client.New(&config.Config{Host: s.URL, Token: s.Token})
	if err != nil {
		t.Fatal(err)
	}
	return c.Do(context.Background(), method, path, nil, nil, in, out)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t *testing.T, err error, status int, code string) {
	t.Helper()
	e, ok := errors.AsType[*apierr.APIError](err)
	if !ok || e.StatusCode != status || e.ErrorCode != code {
		t.Errorf("got %v (%#v), want %d %s", err, e, status, code)
	}
}

func TestCatalogsAndSchemas(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), servertest.Start(t, nil)
	w := workspaceClient(t, s)

	all := must(w.Catalogs.ListAll(ctx, sdk.ListCatalogsRequest{}))(t)
	if len(all) != 1 || all[0].Name != "workspace" {
		t.Errorf("a new installation has catalogs %v, want workspace alone", all)
	}
	must(w.Schemas.GetByFullName(ctx, "workspace.default"))(t)
	_, err := w.Catalogs.GetByName(ctx, "samples")
	wantCode(t, err, 404, "CATALOG_DOES_NOT_EXIST")

	c := must(w.Catalogs.Create(ctx, sdk.CreateCatalog{Name: "Prod", Comment: "live", Properties: map[string]string{"wherry.stand_in": "true"}}))(t)
	if c.Name != "prod" || c.Comment != "live" || c.Properties["wherry.stand_in"] != "true" || c.Owner != "admin@localhost" || c.CreatedAt == 0 || c.MetastoreId == "" {
		t.Errorf("created %+v", c)
	}
	_, err = w.Catalogs.Create(ctx, sdk.CreateCatalog{Name: "PROD"})
	wantCode(t, err, 400, "CATALOG_ALREADY_EXISTS")
	_, err = w.Schemas.Create(ctx, sdk.CreateSchema{CatalogName: "nope", Name: "s"})
	wantCode(t, err, 404, "CATALOG_DOES_NOT_EXIST")
	_, err = w.Schemas.Create(ctx, sdk.CreateSchema{CatalogName: "prod", Name: "a/../b"})
	wantCode(t, err, 400, "INVALID_PARAMETER_VALUE")

	sc := must(w.Schemas.Create(ctx, sdk.CreateSchema{CatalogName: "prod", Name: "ml"}))(t)
	if sc.FullName != "prod.ml" || sc.SchemaId == "" {
		t.Errorf("created %+v", sc)
	}
	sc = must(w.Schemas.Update(ctx, sdk.UpdateSchema{FullName: "prod.ml", NewName: "ML2", Comment: "c", Owner: "someone"}))(t)
	if sc.FullName != "prod.ml2" || sc.Comment != "c" || sc.Owner != "someone" {
		t.Errorf("updated %+v", sc)
	}
	err = w.Catalogs.DeleteByName(ctx, "prod")
	wantCode(t, err, 400, "INVALID_STATE")
	if err := w.Schemas.DeleteByFullName(ctx, "prod.ml2"); err != nil {
		t.Error(err)
	}
	if err := w.Catalogs.DeleteByName(ctx, "prod"); err != nil {
		t.Errorf("a catalog with nothing but an empty default schema: %v", err)
	}
	a := must(w.Metastores.Current(ctx))(t)
	m := must(w.Metastores.Summary(ctx))(t)
	if a.MetastoreId == "" || a.MetastoreId != m.MetastoreId || a.DefaultCatalogName != "workspace" {
		t.Errorf("assignment %+v, summary %+v", a, m)
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), servertest.Start(t, nil)
	w := workspaceClient(t, s)

	// As our Spark catalog makes a managed table: a place first, the table once it was written.
	var staged struct {
		TableID         string `json:"table_id"`
		StorageLocation string `json:"storage_location"`
	}
	if err := call(t, s, http.MethodPost, "/api/wherry/catalog/tables/create", map[string]string{"catalog": "workspace", "schema": "Default", "name": "Trips"}, &staged); err != nil {
		t.Fatal(err)
	}
	if staged.StorageLocation != "dbfs:/__unitystorage/tables/"+staged.TableID {
		t.Errorf("staged %+v", staged)
	}
	folder := s.State.Path("managed", "tables", staged.TableID)
	if err := os.MkdirAll(folder+"/_delta_log", 0o777); err != nil {
		t.Fatal(err)
	}
	exists := must(w.Tables.ExistsByFullName(ctx, "workspace.default.trips"))(t)
	if exists.TableExists {
		t.Error("a staged table exists already")
	}
	columns := []map[string]any{
		{"name": "Id", "type_text": "bigint", "type_json": `{"name":"Id","type":"long"}`, "type_name": "LONG", "position": 0, "nullable": false},
		{"name": "fare", "type_text": "decimal(10,2)", "type_name": "DECIMAL", "comment": "in dollars", "partition_index": 0},
	}
	create := map[string]any{
		"catalog_name": "workspace", "schema_name": "default", "name": "Trips", "table_type": "MANAGED", "data_source_format": "DELTA",
		"storage_location": staged.StorageLocation, "columns": columns, "properties": map[string]string{"delta.minReaderVersion": "1"},
	}
	var made sdk.TableInfo
	if err := call(t, s, http.MethodPost, "/api/2.1/unity-catalog/tables", create, &made); err != nil {
		t.Fatal(err)
	}
	if made.TableId != staged.TableID || made.FullName != "workspace.default.trips" {
		t.Errorf("made %+v", made)
	}
	wantCode(t, call(t, s, http.MethodPost, "/api/2.1/unity-catalog/tables", create, nil), 400, "TABLE_ALREADY_EXISTS")
	create["name"] = "thief"
	wantCode(t, call(t, s, http.MethodPost, "/api/2.1/unity-catalog/tables", create, nil), 400, "INVALID_PARAMETER_VALUE")

	got := must(w.Tables.GetByFullName(ctx, "WORKSPACE.default.TRIPS"))(t)
	if len(got.Columns) != 2 || got.Columns[0].Nullable || !got.Columns[1].Nullable || got.Columns[1].Position != 1 || got.Columns[0].Name != "Id" || got.Columns[1].Comment != "in dollars" {
		t.Errorf("columns %+v", got.Columns)
	}

	for _, bad := range []string{"file:/etc/passwd", "dbfs:/__unitystorage/tables/" + staged.TableID, "dbfs:/a/../../b", "relative", ""} {
		err := call(t, s, http.MethodPost, "/api/2.1/unity-catalog/tables", map[string]any{
			"catalog_name": "workspace", "schema_name": "default", "name": "ext",
			"table_type": "EXTERNAL", "data_source_format": "DELTA", "storage_location": bad,
		}, nil)
		wantCode(t, err, 400, "INVALID_PARAMETER_VALUE")
	}
	ext := must(w.Tables.Create(ctx, sdk.CreateTableRequest{
		CatalogName: "workspace", SchemaName: "default", Name: "ext", TableType: sdk.TableTypeExternal,
		DataSourceFormat: sdk.DataSourceFormatParquet, StorageLocation: "abfss://raw@acct.dfs.core.windows.net/x/",
	}))(t)
	if ext.StorageLocation != "abfss://raw@acct.dfs.core.windows.net/x" {
		t.Errorf("external at %q", ext.StorageLocation)
	}
	view := map[string]any{"catalog_name": "workspace", "schema_name": "default", "name": "v", "table_type": "VIEW", "view_definition": "SELECT 1"}
	if err := call(t, s, http.MethodPost, "/api/2.1/unity-catalog/tables", view, nil); err != nil {
		t.Fatal(err)
	}

	var raw map[string]any
	if err := call(t, s, http.MethodGet, "/api/2.1/unity-catalog/tables/workspace.default.v", nil, &raw); err != nil {
		t.Fatal(err)
	}
	if raw["columns"] == nil || raw["properties"] == nil {
		t.Errorf("columns and properties may not be null: %v", raw)
	}

	// Paging, one at a time.
	var names []string
	it := w.Tables.List(ctx, sdk.ListTablesRequest{CatalogName: "workspace", SchemaName: "default", MaxResults: 1})
	for it.HasNext(ctx) {
		one, err := it.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, one.Name)
	}
	if strings.Join(names, " ") != "ext trips v" {
		t.Errorf("listed %v", names)
	}
	sums := must(w.Tables.ListSummariesAll(ctx, sdk.ListSummariesRequest{CatalogName: "workspace", TableNamePattern: "t%", MaxResults: 1}))(t)
	if len(sums) != 1 || sums[0].FullName != "workspace.default.trips" || sums[0].TableType != sdk.TableTypeManaged {
		t.Errorf("summaries %+v", sums)
	}

	patch := map[string]any{"new_name": "workspace.default.rides", "comment": "c", "properties": map[string]string{"k": "v"}, "columns": columns[:1]}
	if err := call(t, s, http.MethodPatch, "/api/2.1/unity-catalog/tables/workspace.default.trips", patch, nil); err != nil {
		t.Fatal(err)
	}
	got = must(w.Tables.GetByFullName(ctx, "workspace.default.rides"))(t)
	if got.TableId != staged.TableID || len(got.Columns) != 1 || got.Properties["k"] != "v" || len(got.Properties) != 1 || got.Comment != "c" {
		t.Errorf("after PATCH %+v", got)
	}

	must(w.TableConstraints.Create(ctx, sdk.CreateTableConstraint{FullNameArg: "workspace.default.rides", Constraint: sdk.TableConstraint{
		PrimaryKeyConstraint: &sdk.PrimaryKeyConstraint{Name: "pk", ChildColumns: []string{"Id"}},
	}}))(t)
	got = must(w.Tables.GetByFullName(ctx, "workspace.default.rides"))(t)
	if len(got.TableConstraints) != 1 || got.TableConstraints[0].PrimaryKeyConstraint.Name != "pk" {
		t.Errorf("constraints %+v", got.TableConstraints)
	}
	if err := w.TableConstraints.Delete(ctx, sdk.DeleteTableConstraintRequest{FullName: "workspace.default.rides", ConstraintName: "pk"}); err != nil {
		t.Error(err)
	}

	if err := w.Tables.DeleteByFullName(ctx, "workspace.default.rides"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("the files of a dropped managed table: %v", err)
	}
	_, err := w.Tables.GetByFullName(ctx, "workspace.default.rides")
	wantCode(t, err, 404, "TABLE_DOES_NOT_EXIST")
}

func TestVolumesFoldersFollowNames(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), servertest.Start(t, nil)
	w := workspaceClient(t, s)
	must(w.Schemas.Create(ctx, sdk.CreateSchema{CatalogName: "workspace", Name: "raw"}))(t)
	v := must(w.Volumes.Create(ctx, sdk.CreateVolumeRequestContent{CatalogName: "workspace", SchemaName: "raw", Name: "Landing", VolumeType: sdk.VolumeTypeManaged}))(t)
	if v.FullName != "workspace.raw.landing" || v.StorageLocation != "dbfs:/Volumes/workspace/raw/landing" || v.VolumeId == "" {
		t.Errorf("created %+v", v)
	}
	file := s.State.Volumes() + "/workspace/raw/landing/x.txt"
	if err := os.WriteFile(file, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	must(w.Volumes.Update(ctx, sdk.UpdateVolumeRequestContent{Name: "workspace.raw.landing", NewName: "landed"}))(t)
	must(w.Schemas.Update(ctx, sdk.UpdateSchema{FullName: "workspace.raw", NewName: "bronze"}))(t)
	if _, err := os.Stat(s.State.Volumes() + "/workspace/bronze/landed/x.txt"); err != nil {
		t.Errorf("after two renames: %v", err)
	}
	err := w.Schemas.DeleteByFullName(ctx, "workspace.bronze")
	wantCode(t, err, 400, "INVALID_STATE")
	if err := w.Schemas.Delete(ctx, sdk.DeleteSchemaRequest{FullName: "workspace.bronze", Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.State.Volumes() + "/workspace/bronze"); !os.IsNotExist(err) {
		t.Errorf("after the drop: %v", err)
	}
	// A new one of the same name begins empty.
	must(w.Schemas.Create(ctx, sdk.CreateSchema{CatalogName: "workspace", Name: "bronze"}))(t)
	must(w.Volumes.Create(ctx, sdk.CreateVolumeRequestContent{CatalogName: "workspace", SchemaName: "bronze", Name: "landed", VolumeType: sdk.VolumeTypeManaged}))(t)
	entries, err := os.ReadDir(s.State.Volumes() + "/workspace/bronze/landed")
	if err != nil || len(entries) != 0 {
		t.Errorf("a new volume has %v, %v", entries, err)
	}
	info, err := os.Stat(s.State.Volumes() + "/workspace/bronze/landed")
	if err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("tasks of another uid must be able to write: %v %v", info.Mode(), err)
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), servertest.Start(t, nil)
	w := workspaceClient(t, s)
	update := func(kind, name, principal string, add ...sdk.Privilege) {
		t.Helper()
		must(w.Grants.Update(ctx, sdk.UpdatePermissions{SecurableType: kind, FullName: name, Changes: []sdk.PermissionsChange{{Principal: principal, Add: add}}}))(t)
	}
	update("catalog", "workspace", "eva", sdk.PrivilegeUseCatalog)
	update("schema", "workspace.default", "eva", sdk.PrivilegeUseSchema, sdk.PrivilegeSelect)
	update("schema", "workspace.default", "bob", "USE SCHEMA")
	got := must(w.Grants.GetBySecurableTypeAndFullName(ctx, "schema", "workspace.default"))(t)
	if len(got.PrivilegeAssignments) != 2 || got.PrivilegeAssignments[0].Principal != "bob" || got.PrivilegeAssignments[0].Privileges[0] != sdk.PrivilegeUseSchema {
		t.Errorf("grants %+v", got)
	}
	eff := must(w.Grants.GetEffective(ctx, sdk.GetEffectiveRequest{SecurableType: "schema", FullName: "workspace.default", Principal: "eva"}))(t)
	if len(eff.PrivilegeAssignments) != 1 || len(eff.PrivilegeAssignments[0].Privileges) != 3 || eff.PrivilegeAssignments[0].Privileges[2].InheritedFromName != "workspace" {
		t.Errorf("effective %+v", eff)
	}
	_, err := w.Grants.Update(ctx, sdk.UpdatePermissions{SecurableType: "schema", FullName: "workspace.default", Changes: []sdk.PermissionsChange{{Principal: "eva", Add: []sdk.Privilege{"FLY"}}}})
	wantCode(t, err, 400, "INVALID_PARAMETER_VALUE")
	must(w.Grants.Update(ctx, sdk.UpdatePermissions{SecurableType: "function", FullName: "workspace.default.model", Changes: []sdk.PermissionsChange{{Principal: "eva", Add: []sdk.Privilege{sdk.PrivilegeExecute}}}}))(t)
	must(w.EntityTagAssignments.Create(ctx, sdk.CreateEntityTagAssignmentRequest{TagAssignment: sdk.EntityTagAssignment{EntityType: "schemas", EntityName: "workspace.default", TagKey: "team", TagValue: "ml"}}))(t)
	tag := must(w.EntityTagAssignments.Get(ctx, sdk.GetEntityTagAssignmentRequest{EntityType: "schemas", EntityName: "workspace.default", TagKey: "team"}))(t)
	if tag.TagValue != "ml" {
		t.Errorf("tag %+v", tag)
	}
}

func TestStoredKinds(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), servertest.Start(t, nil)
	w := workspaceClient(t, s)
	cred := must(w.StorageCredentials.Create(ctx, sdk.CreateStorageCredential{Name: "lake-cred", AzureServicePrincipal: &sdk.AzureServicePrincipal{DirectoryId: "d", ApplicationId: "a", ClientSecret: "hush"}}))(t)
	if cred.AzureServicePrincipal.ClientSecret != "" {
		t.Error("the client secret came back")
	}
	must(w.ExternalLocations.Create(ctx, sdk.CreateExternalLocation{Name: "lake", CredentialName: "lake-cred", Url: "abfss://raw@acct.dfs.core.windows.net/"}))(t)
	loc := must(w.ExternalLocations.GetByName(ctx, "lake"))(t)
	if loc.Url != "abfss://raw@acct.dfs.core.windows.net/" || loc.CredentialName != "lake-cred" {
		t.Errorf("location %+v", loc)
	}
	_, err := w.ExternalLocations.Create(ctx, sdk.CreateExternalLocation{Name: "zone", CredentialName: "lake-cred", Url: "abfss://raw@acct.dfs.core.windows.net/zone", ReadOnly: true})
	wantCode(t, err, 400, "INVALID_PARAMETER_VALUE")
	fn := must(w.Functions.Create(ctx, sdk.CreateFunctionRequest{FunctionInfo: sdk.CreateFunction{
		CatalogName: "workspace", SchemaName: "default", Name: "twice", DataType: sdk.ColumnTypeNameInt, FullDataType: "int",
		RoutineBody: sdk.CreateFunctionRoutineBodySql, RoutineDefinition: "x * 2", ParameterStyle: sdk.CreateFunctionParameterStyleS, SecurityType: sdk.CreateFunctionSecurityTypeDefiner,
		SqlDataAccess: sdk.CreateFunctionSqlDataAccessContainsSql, SpecificName: "twice", InputParams: sdk.FunctionParameterInfos{},
	}}))(t)
	if fn.FullName != "workspace.default.twice" || fn.RoutineDefinition != "x * 2" {
		t.Errorf("function %+v", fn)
	}
	fns := must(w.Functions.ListAll(ctx, sdk.ListFunctionsRequest{CatalogName: "workspace", SchemaName: "default"}))(t)
	if len(fns) != 1 {
		t.Errorf("functions %+v", fns)
	}
	_, err = w.TemporaryTableCredentials.GenerateTemporaryTableCredentials(ctx, sdk.GenerateTemporaryTableCredentialRequest{TableId: "x", Operation: sdk.TableOperationRead})
	wantCode(t, err, 501, "NOT_IMPLEMENTED")
	_, err = w.Connections.ListAll(ctx, sdk.ListConnectionsRequest{})
	wantCode(t, err, 501, "NOT_IMPLEMENTED")
}

// Grants on a model end with it, go with it to a new name, and are not those of
// another that gets the name later.
func TestGrantsOfModels(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), servertest.Start(t, nil)
	w := workspaceClient(t, s)
	must(w.Schemas.Create(ctx, sdk.CreateSchema{CatalogName: "workspace", Name: "gone"}))(t)
	create := func(schema, name string) {
		must(w.RegisteredModels.Create(ctx, sdk.CreateRegisteredModelRequest{CatalogName: "workspace", SchemaName: schema, Name: name}))(t)
	}
	grant := func(name string) {
		must(w.Grants.Update(ctx, sdk.UpdatePermissions{SecurableType: "function", FullName: name, Changes: []sdk.PermissionsChange{{Principal: "eva", Add: []sdk.Privilege{sdk.PrivilegeExecute}}}}))(t)
	}
	want := func(name string, n int) {
		t.Helper()
		if got := must(w.Grants.GetBySecurableTypeAndFullName(ctx, "function", name))(t).PrivilegeAssignments; len(got) != n {
			t.Errorf("grants on %s: %v, want %d", name, got, n)
		}
	}
	create("default", "Churn")
	grant("workspace.default.Churn")
	must(w.RegisteredModels.Update(ctx, sdk.UpdateRegisteredModelRequest{FullName: "workspace.default.Churn", NewName: "leave"}))(t)
	want("workspace.default.leave", 1)
	want("workspace.default.churn", 0)
	if err := w.RegisteredModels.DeleteByFullName(ctx, "workspace.default.leave"); err != nil {
		t.Fatal(err)
	}
	create("default", "leave")
	want("workspace.default.leave", 0)
	create("gone", "m")
	grant("workspace.gone.m")
	if err := w.Schemas.Delete(ctx, sdk.DeleteSchemaRequest{FullName: "workspace.gone", Force: true}); err != nil {
		t.Fatal(err)
	}
	must(w.Schemas.Create(ctx, sdk.CreateSchema{CatalogName: "workspace", Name: "gone"}))(t)
	create("gone", "m")
	want("workspace.gone.m", 0)
}

func TestSchemaWithModels(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), servertest.Start(t, nil)
	w := workspaceClient(t, s)
	must(w.Schemas.Create(ctx, sdk.CreateSchema{CatalogName: "workspace", Name: "ml"}))(t)
	for _, schema := range []string{"ml", "default"} {
		must(w.RegisteredModels.Create(ctx, sdk.CreateRegisteredModelRequest{CatalogName: "workspace", SchemaName: schema, Name: "churn"}))(t)
	}
	err := w.Schemas.DeleteByFullName(ctx, "workspace.ml")
	wantCode(t, err, 400, "INVALID_STATE")
	_, err = w.Schemas.Update(ctx, sdk.UpdateSchema{FullName: "workspace.ml", NewName: "other"})
	wantCode(t, err, 501, "NOT_IMPLEMENTED")
	if err := w.Schemas.Delete(ctx, sdk.DeleteSchemaRequest{FullName: "workspace.ml", Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.RegisteredModels.GetByFullName(ctx, "workspace.ml.churn"); !errors.Is(err, apierr.ErrNotFound) {
		t.Errorf("the model of a dropped schema: %v", err)
	}
	must(w.RegisteredModels.GetByFullName(ctx, "workspace.default.churn"))(t)
}
