package workspace_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/service/catalog"
	"github.com/databricks/databricks-sdk-go/service/files"
	"github.com/databricks/databricks-sdk-go/service/iam"
	"github.com/databricks/databricks-sdk-go/service/jobs"
	"github.com/databricks/databricks-sdk-go/service/settings"
	"github.com/databricks/databricks-sdk-go/service/workspace"

	"github.com/wherry-ml/wherry/server/servertest"
)

const home = "/Users/admin@localhost"

func start(t *testing.T) (*databricks.WorkspaceClient, *servertest.Server) {
	t.Helper()
	s := servertest.Start(t, nil)
	w, err := databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token, HTTPTimeoutSeconds: 120})
	if err != nil {
		t.Fatal(err)
	}
	return w, s
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

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, status int, code string) {
	t.Helper()
	e, isAPI := errors.AsType[*apierr.APIError](err)
	if !isAPI || e.StatusCode != status || e.ErrorCode != code {
		t.Errorf("got %v (%#v), want %d %s", err, e, status, code)
	}
}

func TestNotebooksAndFiles(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, s := start(t)
	ok(t, w.Workspace.MkdirsByPath(ctx, home+"/p/deep"))
	put := func(path string, format workspace.ImportFormat, language workspace.Language, content string) error {
		return w.Workspace.Import(ctx, workspace.Import{Path: path, Format: format, Language: language, Content: base64.StdEncoding.EncodeToString([]byte(content))})
	}
	ok(t, put(home+"/p/nb", workspace.ImportFormatSource, workspace.LanguagePython, "print(1)"))
	ok(t, put(home+"/p/q.sql", workspace.ImportFormatSource, workspace.LanguageSql, "-- Databricks notebook source\nSELECT 1"))
	ok(t, put(home+"/p/j", workspace.ImportFormatJupyter, "", `{"cells":[],"nbformat":4,"nbformat_minor":5,"metadata":{}}`))
	ok(t, put(home+"/p/auto.py", workspace.ImportFormatAuto, "", "# Databricks notebook source\nx = 1"))
	ok(t, put(home+"/p/module.py", workspace.ImportFormatAuto, "", "x = 1"))
	ok(t, put(home+"/p/data.bin", workspace.ImportFormatRaw, "", "\x00\x01"))

	all := must(w.Workspace.ListAll(ctx, workspace.ListWorkspaceRequest{Path: home + "/p"}))(t)
	var got []string
	ids := map[int64]bool{}
	for _, o := range all {
		got = append(got, fmt.Sprintf("%s %s %s", strings.TrimPrefix(o.Path, home+"/p/"), o.ObjectType, o.Language))
		ids[o.ObjectId] = true
	}
	want := []string{"auto NOTEBOOK PYTHON", "data.bin FILE ", "deep DIRECTORY ", "j NOTEBOOK PYTHON", "module.py FILE ", "nb NOTEBOOK PYTHON", "q NOTEBOOK SQL"}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q\nwant   %q", got, want)
	}
	if len(ids) != len(want) || ids[0] {
		t.Errorf("ids are not unique: %v", ids)
	}
	nb := must(w.Workspace.GetStatusByPath(ctx, home+"/p/nb"))(t)
	again := must(w.Workspace.GetStatusByPath(ctx, "/Workspace"+home+"/p/nb"))(t)
	if nb.ObjectId != again.ObjectId || nb.CreatedAt == 0 || nb.ModifiedAt == 0 {
		t.Errorf("status %+v, by /Workspace %+v", nb, again)
	}
	exported := must(w.Workspace.Export(ctx, workspace.ExportRequest{Path: home + "/p/nb"}))(t)
	source, _ := base64.StdEncoding.DecodeString(exported.Content)
	if string(source) != "# Databricks notebook source\nprint(1)" || exported.FileType != "py" {
		t.Errorf("exported %q as %s", source, exported.FileType)
	}

	wantCode(t, put(home+"/p/nb", workspace.ImportFormatSource, workspace.LanguagePython, "2"), 400, "RESOURCE_ALREADY_EXISTS")
	wantCode(t, put(home+"/p/nb", workspace.ImportFormatJupyter, "", `{"cells":[]}`), 400, "RESOURCE_ALREADY_EXISTS")
	wantCode(t, put(home+"/nowhere/nb", workspace.ImportFormatSource, workspace.LanguagePython, "2"), 404, "RESOURCE_DOES_NOT_EXIST")
	wantCode(t, put(home+"/p/bad", workspace.ImportFormatJupyter, "", "not json"), 400, "INVALID_PARAMETER_VALUE")
	wantCode(t, put(home+"/p/bad", workspace.ImportFormatSource, "", "x"), 400, "INVALID_PARAMETER_VALUE")
	wantCode(t, put(home+"/p/bad", workspace.ImportFormatHtml, "", "x"), 501, "NOT_IMPLEMENTED")
	_, err := w.Workspace.GetStatusByPath(ctx, home+"/p/none")
	wantCode(t, err, 404, "RESOURCE_DOES_NOT_EXIST")

	// The same notebook in another format keeps its id and leaves no second file.
	ok(t, w.Workspace.Import(ctx, workspace.Import{
		Path: home + "/p/nb", Format: workspace.ImportFormatJupyter, Overwrite: true,
		Content: base64.StdEncoding.EncodeToString([]byte(`{"cells":[],"nbformat":4}`)),
	}))
	if o := must(w.Workspace.GetStatusByPath(ctx, home+"/p/nb"))(t); o.ObjectId != nb.ObjectId {
		t.Errorf("the notebook's id went from %d to %d", nb.ObjectId, o.ObjectId)
	}
	if _, err := os.Stat(s.State.Workspace(1) + home + "/p/nb.py"); !os.IsNotExist(err) {
		t.Errorf("nb.py is still there: %v", err)
	}

	wantCode(t, w.Workspace.Delete(ctx, workspace.Delete{Path: home + "/p"}), 400, "DIRECTORY_NOT_EMPTY")
	ok(t, w.Workspace.Delete(ctx, workspace.Delete{Path: home + "/p/nb"}))
	ok(t, w.Workspace.Delete(ctx, workspace.Delete{Path: home + "/p", Recursive: true}))
	wantCode(t, w.Workspace.Delete(ctx, workspace.Delete{Path: home + "/p"}), 404, "RESOURCE_DOES_NOT_EXIST")
	wantCode(t, w.Workspace.Delete(ctx, workspace.Delete{Path: "/Users", Recursive: true}), 400, "INVALID_PARAMETER_VALUE")
}

func TestExportConverts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, _ := start(t)
	source := "# Databricks notebook source\n# MAGIC %md\n# MAGIC # Title\n\n# COMMAND ----------\n\nx = 1\n\n# COMMAND ----------\n\n# MAGIC %sql\n# MAGIC SELECT 1"
	ok(t, w.Workspace.Upload(ctx, "/Shared/n", strings.NewReader(source), workspace.UploadLanguage(workspace.LanguagePython)))
	export := func(path string, format workspace.ExportFormat) string {
		t.Helper()
		out := must(w.Workspace.Export(ctx, workspace.ExportRequest{Path: path, Format: format}))(t)
		return string(must(base64.StdEncoding.DecodeString(out.Content))(t))
	}
	ipynb := export("/Shared/n", workspace.ExportFormatJupyter)
	if !strings.Contains(ipynb, `"nbformat"`) || !strings.Contains(ipynb, "x = 1") {
		t.Errorf("as Jupyter: %s", ipynb)
	}
	ok(t, w.Workspace.Import(ctx, workspace.Import{Path: "/Shared/back", Format: workspace.ImportFormatJupyter, Content: base64.StdEncoding.EncodeToString([]byte(ipynb))}))
	if back := export("/Shared/back", workspace.ExportFormatSource); strings.TrimSpace(back) != source {
		t.Errorf("there and back:\n%s\nwant\n%s", back, source)
	}
	if raw := export("/Shared/back", workspace.ExportFormatAuto); raw != ipynb {
		t.Errorf("AUTO changed the file: %s", raw)
	}
}

func TestUploadAndDownload(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, _ := start(t)
	large := bytes.Repeat([]byte("0123456789abcdef"), 20<<16) // 20 MB: more than a JSON body may have
	ok(t, w.Workspace.Upload(ctx, "/Shared/large.bin", bytes.NewReader(large), workspace.UploadFormat(workspace.ImportFormatAuto)))
	ok(t, w.Workspace.Upload(ctx, "/Shared/large.bin", bytes.NewReader(large), workspace.UploadFormat(workspace.ImportFormatAuto), workspace.UploadOverwrite()))
	body := must(w.Workspace.Download(ctx, "/Shared/large.bin"))(t)
	defer body.Close()
	got := must(io.ReadAll(body))(t)
	if sha256.Sum256(got) != sha256.Sum256(large) {
		t.Errorf("downloaded %d bytes, not those %d", len(got), len(large))
	}
	ok(t, w.Workspace.Upload(ctx, "/Shared/n.py", strings.NewReader("print(1)"))) // SOURCE, by its extension
	if o := must(w.Workspace.GetStatusByPath(ctx, "/Shared/n.py"))(t); o.ObjectType != workspace.ObjectTypeNotebook {
		t.Errorf("imported as %s", o.ObjectType)
	}
}

func TestDBFS(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, s := start(t)
	large := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	h := must(w.Dbfs.Open(ctx, "/a/b/large", files.FileModeWrite))(t)
	must(io.Copy(h, bytes.NewReader(large)))(t)
	if _, err := os.Stat(s.State.DBFS(1) + "/a/b/large"); !os.IsNotExist(err) {
		t.Errorf("a file that is not closed is seen: %v", err)
	}
	ok(t, h.Close())
	if got := must(w.Dbfs.ReadFile(ctx, "dbfs:/a/b/large"))(t); !bytes.Equal(got, large) {
		t.Errorf("read %d bytes, want %d", len(got), len(large))
	}
	_, err := w.Dbfs.Open(ctx, "/a/b/large", files.FileModeWrite)
	wantCode(t, err, 400, "RESOURCE_ALREADY_EXISTS")
	ok(t, w.Dbfs.Put(ctx, files.Put{Path: "/a/small", Contents: base64.StdEncoding.EncodeToString([]byte("hi"))}))
	st := must(w.Dbfs.GetStatusByPath(ctx, "/a/small"))(t)
	if st.FileSize != 2 || st.IsDir || st.Path != "/a/small" || st.ModificationTime == 0 {
		t.Errorf("status %+v", st)
	}
	list := must(w.Dbfs.ListAll(ctx, files.ListDbfsRequest{Path: "/a"}))(t)
	if len(list) != 2 || list[0].Path != "/a/b" || !list[0].IsDir {
		t.Errorf("list %+v", list)
	}
	ok(t, w.Dbfs.Move(ctx, files.Move{SourcePath: "/a/small", DestinationPath: "/c/moved"}))
	_, err = w.Dbfs.GetStatusByPath(ctx, "/a/small")
	wantCode(t, err, 404, "RESOURCE_DOES_NOT_EXIST")
	wantCode(t, w.Dbfs.Delete(ctx, files.Delete{Path: "/a"}), 400, "DIRECTORY_NOT_EMPTY")
	ok(t, w.Dbfs.Delete(ctx, files.Delete{Path: "/a", Recursive: true}))
	_, err = w.Dbfs.Read(ctx, files.ReadDbfsRequest{Path: "/c/moved", Length: 2 << 20})
	wantCode(t, err, 400, "MAX_READ_SIZE_EXCEEDED")
}

func TestVolumeFiles(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, s := start(t)
	for _, name := range []string{"vol", "other"} {
		must(w.Volumes.Create(ctx, catalog.CreateVolumeRequestContent{CatalogName: "workspace", SchemaName: "default", Name: name, VolumeType: catalog.VolumeTypeManaged}))(t)
	}
	const vol = "/Volumes/workspace/default/vol"
	upload := func(path, content string, overwrite bool) error {
		return w.Files.Upload(ctx, files.UploadRequest{FilePath: path, Contents: io.NopCloser(strings.NewReader(content)), Overwrite: overwrite})
	}
	ok(t, upload(vol+"/d ir/ü%20+x.txt", "one", false))
	err := upload(vol+"/d ir/ü%20+x.txt", "two", false)
	wantCode(t, err, 409, "ALREADY_EXISTS")
	ok(t, upload(vol+"/d ir/ü%20+x.txt", "three", true))
	down := must(w.Files.DownloadByFilePath(ctx, "/Volumes/Workspace/DEFAULT/vol/d ir/ü%20+x.txt"))(t)
	got := must(io.ReadAll(down.Contents))(t)
	if string(got) != "three" || down.ContentLength != 5 || down.LastModified == "" {
		t.Errorf("downloaded %q, %+v", got, down)
	}
	if b, err := os.ReadFile(s.State.Volumes() + "/workspace/default/vol/d ir/ü%20+x.txt"); string(b) != "three" {
		t.Errorf("on disk %q, %v", b, err)
	}
	meta := must(w.Files.GetMetadata(ctx, files.GetMetadataRequest{FilePath: vol + "/d ir/ü%20+x.txt"}))(t)
	if meta.ContentLength != 5 || meta.LastModified == "" {
		t.Errorf("metadata %+v", meta)
	}
	ok(t, w.Files.CreateDirectory(ctx, files.CreateDirectoryRequest{DirectoryPath: vol + "/x/y"}))
	ok(t, w.Files.GetDirectoryMetadata(ctx, files.GetDirectoryMetadataRequest{DirectoryPath: vol + "/x/y"}))
	for i := range 5 {
		ok(t, upload(fmt.Sprintf("%s/x/f%d", vol, i), "x", false))
	}
	list := must(w.Files.ListDirectoryContentsAll(ctx, files.ListDirectoryContentsRequest{DirectoryPath: vol + "/x", PageSize: 2}))(t)
	if len(list) != 6 || list[0].Name != "f0" || list[0].FileSize != 1 || !list[5].IsDirectory || list[5].Path != vol+"/x/y" {
		t.Errorf("list %+v", list)
	}
	err = w.Files.DeleteDirectory(ctx, files.DeleteDirectoryRequest{DirectoryPath: vol + "/x"})
	wantCode(t, err, 400, "DIRECTORY_NOT_EMPTY")
	ok(t, w.Files.Delete(ctx, files.DeleteFileRequest{FilePath: vol + "/x/f0"}))
	_, err = w.Files.DownloadByFilePath(ctx, vol+"/x/f0")
	wantCode(t, err, 404, "NOT_FOUND")
	_, err = w.Files.DownloadByFilePath(ctx, "/Volumes/workspace/default/none/f0")
	wantCode(t, err, 404, "NOT_FOUND")

	// The same files by dbfs:/Volumes.
	if got := must(w.Dbfs.ReadFile(ctx, "dbfs:"+vol+"/x/f1"))(t); string(got) != "x" {
		t.Errorf("by DBFS %q", got)
	}
	// An external volume in our own lake, whose container is there.
	must(w.Volumes.Create(ctx, catalog.CreateVolumeRequestContent{
		CatalogName: "workspace", SchemaName: "default", Name: "near", VolumeType: catalog.VolumeTypeExternal, StorageLocation: "abfss://raw@acct.dfs.core.windows.net/in",
	}))(t)
	wantCode(t, upload("/Volumes/workspace/default/near/d/f", "x", false), 404, "NOT_FOUND")
	ok(t, os.MkdirAll(s.State.Lake()+"/acct/raw", 0o777))
	ok(t, upload("/Volumes/workspace/default/near/d/f", "lake", false))
	if b, err := os.ReadFile(s.State.Lake() + "/acct/raw/in/d/f"); string(b) != "lake" {
		t.Errorf("in the lake %q, %v", b, err)
	}

	// An external volume that lies elsewhere.
	must(w.Volumes.Create(ctx, catalog.CreateVolumeRequestContent{CatalogName: "workspace", SchemaName: "default", Name: "far", VolumeType: catalog.VolumeTypeExternal, StorageLocation: "s3://bucket/x"}))(t)
	wantCode(t, upload("/Volumes/workspace/default/far/f", "x", false), 501, "NOT_IMPLEMENTED")
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, s := start(t)
	ok(t, w.Secrets.CreateScope(ctx, workspace.CreateScope{Scope: "prod"}))
	wantCode(t, w.Secrets.CreateScope(ctx, workspace.CreateScope{Scope: "prod"}), 400, "RESOURCE_ALREADY_EXISTS")
	ok(t, w.Secrets.PutSecret(ctx, workspace.PutSecret{Scope: "prod", Key: "password", StringValue: "correct horse battery"}))
	ok(t, w.Secrets.PutSecret(ctx, workspace.PutSecret{Scope: "prod", Key: "bytes", BytesValue: base64.StdEncoding.EncodeToString([]byte{0, 1})}))
	got := must(w.Secrets.GetSecret(ctx, workspace.GetSecretRequest{Scope: "prod", Key: "password"}))(t)
	if v, _ := base64.StdEncoding.DecodeString(got.Value); string(v) != "correct horse battery" {
		t.Errorf("secret %q", v)
	}
	list := must(w.Secrets.ListSecretsAll(ctx, workspace.ListSecretsRequest{Scope: "prod"}))(t)
	if len(list) != 2 || list[0].Key != "bytes" || list[0].LastUpdatedTimestamp == 0 {
		t.Errorf("listed %+v", list)
	}
	acls := must(w.Secrets.ListAclsAll(ctx, workspace.ListAclsRequest{Scope: "prod"}))(t)
	if len(acls) != 1 || acls[0].Permission != workspace.AclPermissionManage {
		t.Errorf("ACLs %+v", acls)
	}
	ok(t, w.Secrets.PutAcl(ctx, workspace.PutAcl{Scope: "prod", Principal: "eva", Permission: workspace.AclPermissionRead}))
	must(w.Secrets.GetAcl(ctx, workspace.GetAclRequest{Scope: "prod", Principal: "eva"}))(t)
	ok(t, w.Secrets.DeleteAcl(ctx, workspace.DeleteAcl{Scope: "prod", Principal: "eva"}))
	_, err := w.Secrets.GetSecret(ctx, workspace.GetSecretRequest{Scope: "prod", Key: "none"})
	wantCode(t, err, 404, "RESOURCE_DOES_NOT_EXIST")
	wantCode(t, w.Secrets.PutSecret(ctx, workspace.PutSecret{Scope: "none", Key: "x", StringValue: "y"}), 404, "RESOURCE_DOES_NOT_EXIST")
	for _, name := range []string{"wherry.db", "wherry.db-wal"} {
		if b, _ := os.ReadFile(s.State.Path(name)); bytes.Contains(b, []byte("correct horse")) {
			t.Errorf("%s holds the secret in the clear", name)
		}
	}
	ok(t, w.Secrets.DeleteScope(ctx, workspace.DeleteScope{Scope: "prod"}))
	if scopes := must(w.Secrets.ListScopesAll(ctx))(t); len(scopes) != 0 {
		t.Errorf("scopes %+v", scopes)
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, _ := start(t)
	set := func(list ...iam.AccessControlRequest) (*iam.ObjectPermissions, error) {
		return w.Permissions.Set(ctx, iam.SetObjectPermissions{RequestObjectType: "pipelines", RequestObjectId: "77", AccessControlList: list})
	}
	got := must(set(iam.AccessControlRequest{UserName: "eva", PermissionLevel: "IS_OWNER"}, iam.AccessControlRequest{GroupName: "users", PermissionLevel: "CAN_VIEW"}))(t)
	if got.ObjectId != "/pipelines/77" || len(got.AccessControlList) != 3 || got.AccessControlList[0].AllPermissions[0].PermissionLevel != "IS_OWNER" {
		t.Errorf("set %+v", got)
	}
	// Without an owner in the list the present one stays; a new one replaces it.
	got = must(set(iam.AccessControlRequest{GroupName: "users", PermissionLevel: "CAN_RUN"}))(t)
	if owner(got) != "eva" || len(got.AccessControlList) != 3 {
		t.Errorf("set %+v", got)
	}
	got = must(w.Permissions.Update(ctx, iam.UpdateObjectPermissions{
		RequestObjectType: "pipelines", RequestObjectId: "77",
		AccessControlList: []iam.AccessControlRequest{{ServicePrincipalName: "sp", PermissionLevel: "IS_OWNER"}},
	}))(t)
	if owner(got) != "sp" || len(got.AccessControlList) != 3 {
		t.Errorf("updated %+v", got)
	}
	_, err := set(iam.AccessControlRequest{UserName: "a", PermissionLevel: "IS_OWNER"}, iam.AccessControlRequest{UserName: "b", PermissionLevel: "IS_OWNER"})
	wantCode(t, err, 400, "INVALID_PARAMETER_VALUE")
	_, err = set(iam.AccessControlRequest{UserName: "a", PermissionLevel: "CAN_FLY"})
	wantCode(t, err, 400, "INVALID_PARAMETER_VALUE")
	levels := must(w.Permissions.GetPermissionLevels(ctx, iam.GetPermissionLevelsRequest{RequestObjectType: "clusters", RequestObjectId: "x"}))(t)
	if len(levels.PermissionLevels) != 3 {
		t.Errorf("levels %+v", levels)
	}
	_, err = w.Permissions.Get(ctx, iam.GetPermissionRequest{RequestObjectType: "directories", RequestObjectId: "99999"})
	wantCode(t, err, 404, "RESOURCE_DOES_NOT_EXIST")
	shared := must(w.Workspace.GetStatusByPath(ctx, "/Shared"))(t)
	must(w.Permissions.Get(ctx, iam.GetPermissionRequest{RequestObjectType: "directories", RequestObjectId: fmt.Sprint(shared.ObjectId)}))(t)

	ok(t, w.WorkspaceConf.SetStatus(ctx, settings.WorkspaceConf{"enableIpAccessLists": "true"}))
	conf := must(w.WorkspaceConf.GetStatus(ctx, settings.GetStatusRequest{Keys: "enableIpAccessLists"}))(t)
	if (*conf)["enableIpAccessLists"] != "true" {
		t.Errorf("conf %v", conf)
	}
}

func TestPermissionsOfJobs(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, _ := start(t)
	job := must(w.Jobs.Create(ctx, jobs.CreateJob{Name: "j"}))(t)
	id := fmt.Sprint(job.JobId)
	got := must(w.Permissions.Get(ctx, iam.GetPermissionRequest{RequestObjectType: "jobs", RequestObjectId: id}))(t)
	if owner(got) != "admin@localhost" || got.ObjectType != "job" {
		t.Errorf("a new job has %+v", got)
	}
	got = must(w.Permissions.Set(ctx, iam.SetObjectPermissions{
		RequestObjectType: "jobs", RequestObjectId: id,
		AccessControlList: []iam.AccessControlRequest{{GroupName: "users", PermissionLevel: "CAN_MANAGE_RUN"}},
	}))(t)
	if owner(got) != "admin@localhost" || len(got.AccessControlList) != 3 {
		t.Errorf("after a list without an owner %+v", got)
	}
	_, err := w.Permissions.Get(ctx, iam.GetPermissionRequest{RequestObjectType: "jobs", RequestObjectId: "424242"})
	if !errors.Is(err, apierr.ErrNotFound) {
		t.Errorf("a job that is not there: %v", err)
	}
}

func owner(p *iam.ObjectPermissions) string {
	for _, a := range p.AccessControlList {
		if a.AllPermissions[0].PermissionLevel == "IS_OWNER" {
			return a.UserName + a.ServicePrincipalName
		}
	}
	return ""
}

// send makes a request by hand, for paths that clients would not send.
func send(t *testing.T, s *servertest.Server, method, path, body string) int {
	t.Helper()
	req := must(http.NewRequest(method, s.URL, strings.NewReader(body)))(t)
	req.URL.Opaque = "//" + req.URL.Host + path // as it is, not cleaned
	req.Header.Set("Authorization", "Bearer "+s.Token)
	res := must((&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req))(t)
	defer res.Body.Close()
	return res.StatusCode
}

func TestHostilePaths(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, s := start(t)
	must(w.Volumes.Create(ctx, catalog.CreateVolumeRequestContent{CatalogName: "workspace", SchemaName: "default", Name: "v", VolumeType: catalog.VolumeTypeManaged}))(t)
	outside := t.TempDir()
	ok(t, os.WriteFile(outside+"/secret", []byte("s"), 0o600))
	for _, dir := range []string{s.State.Volumes() + "/workspace/default/v", s.State.DBFS(1), s.State.Workspace(1) + "/Shared"} {
		ok(t, os.Symlink(outside, dir+"/link"))
		ok(t, os.Symlink(outside+"/secret", dir+"/file"))
	}
	const vol = "/api/2.0/fs/files/Volumes/workspace/default/v/"
	var paths []struct{ method, path, body string }
	add := func(method, path, body string) {
		paths = append(paths, struct{ method, path, body string }{method, path, body})
	}
	for _, p := range []string{"../x", "%2e%2e/x", "..%2fx", "%2e%2e%2f%2e%2e%2fx", "a/../../../../../admin-token", "x%00y", "link/x", "link/secret", "file"} {
		add("PUT", vol+p+"?overwrite=true", "evil")
		add("GET", vol+p, "")
		add("DELETE", vol+strings.Replace(p, "file", "link/secret", 1), "")
		add("PUT", strings.Replace(vol, "/files/", "/directories/", 1)+strings.Replace(p, "file", "link/d", 1), "")
		add("POST", "/api/2.0/workspace-files/import-file/Shared/"+strings.Replace(p, "file", "link/f", 1)+"?overwrite=true", "evil")
	}
	for _, p := range []string{"/../x", "/a/../../x", "/x\\u0000y", "/link/x", "/link/secret", "relative"} {
		in := fmt.Sprintf(`{"path":"%s","overwrite":true,"contents":"ZXZpbA==","recursive":true}`, p)
		add("POST", "/api/2.0/dbfs/put", in)
		add("POST", "/api/2.0/dbfs/create", in)
		add("POST", "/api/2.0/dbfs/mkdirs", strings.Replace(in, "secret", "d", 1))
		add("POST", "/api/2.0/dbfs/delete", in)
		q := strings.ReplaceAll(p, `\u0000`, "%00")
		add("GET", "/api/2.0/dbfs/read?path="+q, "")
		shared := p
		if p != "relative" {
			shared, q = "/Shared"+p, "/Shared"+q
		}
		in = fmt.Sprintf(`{"path":"%s","overwrite":true,"content":"ZXZpbA==","recursive":true,"format":"RAW"}`, shared)
		add("POST", "/api/2.0/workspace/import", in)
		add("POST", "/api/2.0/workspace/mkdirs", strings.Replace(in, "secret", "d", 1))
		add("POST", "/api/2.0/workspace/delete", in)
		add("GET", "/api/2.0/workspace/export?path="+q, "")
		add("GET", "/api/2.0/workspace/list?path="+q, "")
	}
	for _, c := range paths {
		if status := send(t, s, c.method, c.path, c.body); status != http.StatusBadRequest {
			t.Errorf("%s %s %s: %d, want 400", c.method, c.path, c.body, status)
		}
	}
	left := must(os.ReadDir(outside))(t)
	b, err := os.ReadFile(outside + "/secret")
	if len(left) != 1 || err != nil || string(b) != "s" {
		t.Errorf("outside there is now %v, secret %q %v", left, b, err)
	}
	// A link itself can be deleted; what it leads to stays.
	if status := send(t, s, "DELETE", vol+"file", ""); status != http.StatusNoContent {
		t.Errorf("deleting a link: %d", status)
	}
	if _, err := os.Stat(outside + "/secret"); err != nil {
		t.Error(err)
	}
}
