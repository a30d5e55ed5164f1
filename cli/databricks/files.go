package databricks

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"time"

	"github.com/wherry-ml/wherry/client"
)

// local are the files of this machine.
type local struct{}

func (local) show(name string) string { return name }

func (local) list(_ context.Context, name string) (list []entry, err error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		list = append(list, entry{IsDir: e.IsDir(), Size: info.Size(), Modified: info.ModTime(), path: path.Join(name, e.Name())})
	}
	return list, nil
}

func (local) isDir(_ context.Context, name string) (bool, error) {
	info, err := os.Stat(name)
	return err == nil && info.IsDir(), err
}

func (local) open(_ context.Context, name string) (io.ReadCloser, error) { return os.Open(name) }

func (local) write(_ context.Context, name string, r io.Reader, overwrite bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if !overwrite {
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(name, flags, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already: replace it with --overwrite", name)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

func (local) mkdir(_ context.Context, name string) error { return os.MkdirAll(name, 0o755) }

func (local) remove(_ context.Context, name string, _ bool) error { return os.Remove(name) }

// volumes are the files of volumes, by the Files API.
type volumes struct{ *client.Client }

func (volumes) show(name string) string { return "dbfs:" + name }

func filesAPI(kind, name string) string {
	return "/api/2.0/fs/" + kind + (&url.URL{Path: name}).EscapedPath()
}

func (v volumes) list(ctx context.Context, name string) (list []entry, err error) {
	for token := ""; ; {
		var page struct {
			Contents []struct {
				Path     string `json:"path"`
				IsDir    bool   `json:"is_directory"`
				Size     int64  `json:"file_size"`
				Modified int64  `json:"last_modified"` // ms
			} `json:"contents"`
			Next string `json:"next_page_token"`
		}
		if err := v.Do(ctx, "GET", filesAPI("directories", name)+"?page_token="+url.QueryEscape(token), nil, &page); err != nil {
			return nil, err
		}
		for _, e := range page.Contents {
			list = append(list, entry{IsDir: e.IsDir, Size: e.Size, Modified: time.UnixMilli(e.Modified).UTC(), path: path.Clean(e.Path)})
		}
		if token = page.Next; token == "" {
			return list, nil
		}
	}
}

func (v volumes) isDir(ctx context.Context, name string) (bool, error) {
	resp, err := v.Send(ctx, http.MethodHead, filesAPI("directories", name), nil, -1)
	if err == nil {
		return true, resp.Body.Close()
	}
	r, err := v.open(ctx, name) // its refusal says what is missing
	if err != nil {
		return false, err
	}
	return false, r.Close()
}

func (v volumes) open(ctx context.Context, name string) (io.ReadCloser, error) {
	resp, err := v.Send(ctx, "GET", filesAPI("files", name), nil, -1)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (v volumes) write(ctx context.Context, name string, r io.Reader, overwrite bool) error {
	resp, err := v.Send(ctx, "PUT", fmt.Sprintf("%s?overwrite=%t", filesAPI("files", name), overwrite), io.NopCloser(r), -1)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (v volumes) mkdir(ctx context.Context, name string) error {
	return v.Do(ctx, "PUT", filesAPI("directories", name), nil, nil)
}

func (v volumes) remove(ctx context.Context, name string, dir bool) error {
	kind := "files"
	if dir {
		kind = "directories"
	}
	return v.Do(ctx, "DELETE", filesAPI(kind, name), nil, nil)
}

// dbfs are the files of DBFS.
type dbfs struct{ *client.Client }

const dbfsAPI = "/api/2.0/dbfs/"

func (dbfs) show(name string) string { return "dbfs:" + name }

func at(name string) string { return "?path=" + url.QueryEscape(name) }

func (d dbfs) list(ctx context.Context, name string) (list []entry, err error) {
	var out struct {
		Files []dbfsFile `json:"files"`
	}
	err = d.Do(ctx, "GET", dbfsAPI+"list"+at(name), nil, &out)
	for _, f := range out.Files {
		list = append(list, entry{IsDir: f.IsDir, Size: f.Size, Modified: time.UnixMilli(f.Modified).UTC(), path: f.Path})
	}
	return list, err
}

type dbfsFile struct {
	Path     string `json:"path"`
	IsDir    bool   `json:"is_dir"`
	Size     int64  `json:"file_size"`
	Modified int64  `json:"modification_time"` // ms
}

func (d dbfs) isDir(ctx context.Context, name string) (bool, error) {
	var f dbfsFile
	err := d.Do(ctx, "GET", dbfsAPI+"get-status"+at(name), nil, &f)
	return f.IsDir, err
}

// block is how much DBFS reads or writes in one call, in bytes.
const block = 1 << 20

func (d dbfs) open(ctx context.Context, name string) (io.ReadCloser, error) {
	dir, err := d.isDir(ctx, name)
	if err != nil {
		return nil, err
	}
	if dir {
		return nil, fmt.Errorf("%s is a folder", d.show(name))
	}
	offset := int64(0)
	return io.NopCloser(&blocks{next: func() ([]byte, error) {
		var out struct {
			Data []byte `json:"data"`
		}
		err := d.Do(ctx, "GET", fmt.Sprintf("%sread%s&offset=%d&length=%d", dbfsAPI, at(name), offset, block), nil, &out)
		offset += int64(len(out.Data))
		return out.Data, err
	}}), nil
}

// blocks is a reader of what next gives, to an empty block.
type blocks struct {
	next func() ([]byte, error)
	rest bytes.Reader
}

func (r *blocks) Read(p []byte) (int, error) {
	if r.rest.Len() == 0 {
		b, err := r.next()
		if err != nil {
			return 0, err
		}
		if len(b) == 0 {
			return 0, io.EOF
		}
		r.rest.Reset(b)
	}
	return r.rest.Read(p)
}

func (d dbfs) write(ctx context.Context, name string, r io.Reader, overwrite bool) error {
	var out struct {
		Handle int64 `json:"handle"`
	}
	if err := d.Do(ctx, "POST", dbfsAPI+"create", map[string]any{"path": name, "overwrite": overwrite}, &out); err != nil {
		return err
	}
	buf := make([]byte, block)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := d.Do(ctx, "POST", dbfsAPI+"add-block", map[string]any{"handle": out.Handle, "data": base64.StdEncoding.EncodeToString(buf[:n])}, nil); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return d.Do(ctx, "POST", dbfsAPI+"close", map[string]any{"handle": out.Handle}, nil)
		}
		if err != nil {
			return err
		}
	}
}

func (d dbfs) mkdir(ctx context.Context, name string) error {
	return d.Do(ctx, "POST", dbfsAPI+"mkdirs", map[string]any{"path": name}, nil)
}

func (d dbfs) remove(ctx context.Context, name string, _ bool) error {
	return d.Do(ctx, "POST", dbfsAPI+"delete", map[string]any{"path": name}, nil)
}
