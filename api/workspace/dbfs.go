package workspace

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/blob"
)

// maxBlock bounds a block of DBFS in either direction, in bytes, as the
// platform documents; clients cut their files by it.
const maxBlock = 1 << 20

func (s *Service) dbfsRoutes() []api.Route {
	return []api.Route{
		{Method: "POST", Path: "/api/2.0/dbfs/create", Permission: api.Write, Summary: "Begin a file", Handler: api.JSON(s.dbfsCreate)},
		{Method: "POST", Path: "/api/2.0/dbfs/add-block", Permission: api.Write, Summary: "Add a block to a file", Handler: api.JSON(s.dbfsAddBlock)},
		{Method: "POST", Path: "/api/2.0/dbfs/close", Permission: api.Write, Summary: "End a file", Handler: api.JSON(s.dbfsClose)},
		{Method: "POST", Path: "/api/2.0/dbfs/put", Permission: api.Write, Summary: "Write a file", Handler: api.Raw(s.dbfsPut)},
		{Method: "GET", Path: "/api/2.0/dbfs/read", Permission: api.Read, Summary: "Read a block of a file", Handler: api.JSON(s.dbfsRead)},
		{Method: "GET", Path: "/api/2.0/dbfs/get-status", Permission: api.Read, Summary: "Describe a file", Handler: api.JSON(s.dbfsGetStatus)},
		{Method: "GET", Path: "/api/2.0/dbfs/list", Permission: api.Read, Summary: "List a folder", Handler: api.JSON(s.dbfsList)},
		{Method: "POST", Path: "/api/2.0/dbfs/mkdirs", Permission: api.Write, Summary: "Make a folder and its parents", Handler: api.JSON(s.dbfsMkdirs)},
		{Method: "POST", Path: "/api/2.0/dbfs/move", Permission: api.Write, Summary: "Move a file or folder", Handler: api.JSON(s.dbfsMove)},
		{Method: "POST", Path: "/api/2.0/dbfs/delete", Permission: api.Write, Summary: "Delete a file or folder", Handler: api.JSON(s.dbfsDelete)},
	}
}

type dbfsInput struct {
	Path            string       `json:"path"`
	Overwrite       bool         `json:"overwrite"`
	Recursive       bool         `json:"recursive"`
	Handle          wherry.Int64 `json:"handle"`
	Data            string       `json:"data"` // base64
	Offset          wherry.Int64 `json:"offset"`
	Length          wherry.Int64 `json:"length"`
	SourcePath      string       `json:"source_path"`
	DestinationPath string       `json:"destination_path"`
}

type dbfsFile struct {
	Path             string `json:"path"`
	IsDir            bool   `json:"is_dir"`
	FileSize         int64  `json:"file_size"`
	ModificationTime int64  `json:"modification_time"` // ms
}

func dbfsInfo(p string, info fs.FileInfo) dbfsFile {
	f := dbfsFile{Path: p, IsDir: info.IsDir(), ModificationTime: info.ModTime().UnixMilli()}
	if !f.IsDir {
		f.FileSize = info.Size()
	}
	return f
}

type handleOutput struct {
	Handle int64 `json:"handle"`
}

func (s *Service) dbfsCreate(ctx context.Context, in *dbfsInput) (*handleOutput, error) {
	p, err := s.dbfs(ctx, in.Path)
	if err != nil {
		return nil, err
	}
	if err := p.mayWrite(in.Path, in.Overwrite); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	staged, err := p.Stage()
	if err != nil {
		return nil, errors.Join(blob.Error(err, in.Path), p.Close())
	}
	id := s.handles.add(&handle{staged: staged, at: p, path: in.Path, overwrite: in.Overwrite, owner: wherry.IdentityFrom(ctx).Principal.ID})
	return &handleOutput{id}, nil
}

// mayWrite fails if a file may not be written here, and makes its parents.
func (p *place) mayWrite(asked string, overwrite bool) error {
	info, err := p.Stat(p.name)
	switch {
	case err == nil && info.IsDir():
		return wherry.Errorf(wherry.CodeAlreadyExists, "A directory already exists at the input path %s.", asked)
	case err == nil && !overwrite:
		return wherry.Errorf(wherry.CodeAlreadyExists, "A file already exists at the input path %s.", asked)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return blob.Error(err, asked)
	}
	return blob.Error(p.MakeAll(path.Dir(p.name)), asked)
}

func (s *Service) dbfsAddBlock(ctx context.Context, in *dbfsInput) (*api.Empty, error) {
	block, err := decodeBlock(in.Data)
	if err != nil {
		return nil, err
	}
	h, err := s.handles.get(int64(in.Handle), wherry.IdentityFrom(ctx).Principal.ID)
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, h.write(block)
}

func decodeBlock(data string) ([]byte, error) {
	block, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the data is not base64: %v", err)
	}
	if len(block) > maxBlock {
		return nil, wherry.Errorf(wherry.CodeMaxBlockExceeded, "a block of %d bytes is larger than %d bytes", len(block), maxBlock)
	}
	return block, nil
}

func (s *Service) dbfsClose(ctx context.Context, in *dbfsInput) (*api.Empty, error) {
	h, err := s.handles.take(int64(in.Handle), wherry.IdentityFrom(ctx).Principal.ID)
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, h.commit()
}

// dbfsPut takes JSON with up to 1 MB, or a form with a file of any size.
func (s *Service) dbfsPut(w http.ResponseWriter, r *http.Request) error {
	var target string
	var content io.Reader
	var overwrite bool
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "multipart/form-data" {
		r.Body = http.MaxBytesReader(w, r.Body, maxImport)
		if err := r.ParseMultipartForm(1 << 20); err != nil {
			return wherry.Errorf(wherry.CodeInvalidParameter, "the form cannot be read: %v", err)
		}
		defer func() { _ = r.MultipartForm.RemoveAll() }()
		target, overwrite = r.FormValue("path"), r.FormValue("overwrite") == "true"
		f, _, err := r.FormFile("contents")
		if err != nil {
			return wherry.Errorf(wherry.CodeInvalidParameter, "the form has no file named contents")
		}
		defer f.Close()
		content = f
	} else {
		var in struct {
			Path      string `json:"path"`
			Contents  string `json:"contents"`
			Overwrite bool   `json:"overwrite"`
		}
		if err := api.Decode(r, &in); err != nil {
			return err
		}
		block, err := decodeBlock(in.Contents)
		if err != nil {
			return err
		}
		target, overwrite, content = in.Path, in.Overwrite, bytes.NewReader(block)
	}
	p, err := s.dbfs(r.Context(), target)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.mayWrite(target, overwrite); err != nil {
		return err
	}
	if err := p.Put(p.name, content, overwrite); err != nil {
		return readError(err, target)
	}
	return api.WriteJSON(w, http.StatusOK, api.Empty{})
}

type readOutput struct {
	BytesRead int64  `json:"bytes_read"`
	Data      string `json:"data"` // base64
}

func (s *Service) dbfsRead(ctx context.Context, in *dbfsInput) (*readOutput, error) {
	length := int64(in.Length)
	if length == 0 {
		length = maxBlock / 2 // the platform's default
	}
	if in.Offset < 0 || length < 0 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "offset and length must not be negative")
	}
	if length > maxBlock {
		return nil, wherry.Errorf(wherry.CodeMaxReadExceeded, "at most %d bytes can be read at once, not %d", maxBlock, length)
	}
	p, err := s.dbfs(ctx, in.Path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	f, err := p.openFile(in.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, int64(in.Offset), length))
	if err != nil {
		return nil, blob.Error(err, in.Path)
	}
	return &readOutput{BytesRead: int64(len(b)), Data: base64.StdEncoding.EncodeToString(b)}, nil
}

func (s *Service) dbfsGetStatus(ctx context.Context, in *dbfsInput) (*dbfsFile, error) {
	p, err := s.dbfs(ctx, in.Path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	info, err := p.Stat(p.name)
	if err != nil {
		return nil, blob.Error(err, in.Path)
	}
	out := dbfsInfo(strings.TrimPrefix(in.Path, "dbfs:"), info)
	return &out, nil
}

type dbfsListOutput struct {
	Files []dbfsFile `json:"files,omitempty"`
}

func (s *Service) dbfsList(ctx context.Context, in *dbfsInput) (*dbfsListOutput, error) {
	p, err := s.dbfs(ctx, in.Path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	asked := strings.TrimPrefix(in.Path, "dbfs:")
	info, err := p.Stat(p.name)
	if err != nil {
		return nil, blob.Error(err, in.Path)
	}
	if !info.IsDir() {
		return &dbfsListOutput{[]dbfsFile{dbfsInfo(asked, info)}}, nil
	}
	infos, err := p.List(p.name)
	if err != nil {
		return nil, blob.Error(err, in.Path)
	}
	out := &dbfsListOutput{}
	for _, i := range infos {
		out.Files = append(out.Files, dbfsInfo(path.Join(asked, i.Name()), i))
	}
	return out, nil
}

func (s *Service) dbfsMkdirs(ctx context.Context, in *dbfsInput) (*api.Empty, error) {
	p, err := s.dbfs(ctx, in.Path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if info, err := p.Stat(p.name); err == nil && !info.IsDir() {
		return nil, wherry.Errorf(wherry.CodeAlreadyExists, "A file already exists at the input path %s.", in.Path)
	}
	return &api.Empty{}, blob.Error(p.MakeAll(p.name), in.Path)
}

func (s *Service) dbfsMove(ctx context.Context, in *dbfsInput) (*api.Empty, error) {
	from, err := s.dbfs(ctx, in.SourcePath)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	to, err := s.dbfs(ctx, in.DestinationPath)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	if from.Root.Name() != to.Root.Name() {
		return nil, wherry.NotImplemented("moving between DBFS and volumes: copy and delete instead")
	}
	if from.name == from.top {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s cannot be moved", in.SourcePath)
	}
	if _, err := from.Stat(from.name); err != nil {
		return nil, blob.Error(err, in.SourcePath)
	}
	if info, err := to.Stat(to.name); err == nil {
		if !info.IsDir() {
			return nil, wherry.Errorf(wherry.CodeAlreadyExists, "A file already exists at the input path %s.", in.DestinationPath)
		}
		to.name = path.Join(to.name, path.Base(from.name)) // into the folder, as mv does
		if _, err := to.Stat(to.name); err == nil {
			return nil, wherry.Errorf(wherry.CodeAlreadyExists, "%s already has a %s.", in.DestinationPath, path.Base(from.name))
		}
	}
	if err := to.MakeAll(path.Dir(to.name)); err != nil {
		return nil, blob.Error(err, in.DestinationPath)
	}
	return &api.Empty{}, blob.Error(from.Root.Rename(from.name, to.name), in.DestinationPath)
}

func (s *Service) dbfsDelete(ctx context.Context, in *dbfsInput) (*api.Empty, error) {
	p, err := s.dbfs(ctx, in.Path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if p.name == p.top {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s is the top: it cannot be deleted this way", in.Path)
	}
	err = remove(p.Dir, p.name, in.Recursive)
	if errors.Is(err, fs.ErrNotExist) {
		return &api.Empty{}, nil // as the platform: nothing to delete is no error
	}
	return &api.Empty{}, blob.Error(err, in.Path)
}
