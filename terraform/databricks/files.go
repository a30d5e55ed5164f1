package databricks

import (
	"context"
	"crypto/md5" //nolint:gosec // the provider's attribute is an MD5, it protects nothing
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/wherry-ml/wherry/terraform/provider"
)

const files = "/api/2.0/workspace/"

// contentOf is what a notebook or file is to hold.
func contentOf(s *state) ([]byte, error) {
	if source := s.String("source"); source != "" {
		b, err := os.ReadFile(source)
		if err != nil {
			return nil, &provider.FieldError{Field: "source", Err: err}
		}
		return b, nil
	}
	b, err := base64.StdEncoding.DecodeString(s.String("content_base64"))
	if err != nil {
		return nil, &provider.FieldError{Field: "content_base64", Err: err}
	}
	return b, nil
}

// planFile makes a change of the local file a change of the resource.
func planFile(s *state) error {
	for _, name := range []string{"source", "content_base64"} {
		if _, unknown := s.Values[name].(provider.Unknown); unknown {
			s.Values["md5"] = provider.Unknown{}
			return nil
		}
	}
	b, err := contentOf(s)
	if err != nil {
		return err
	}
	sum := md5.Sum(b) //nolint:gosec // see the import
	s.Values["md5"] = hex.EncodeToString(sum[:])
	if s.Field("language") != nil && s.Values["language"] == (provider.Unknown{}) && s.String("source") != "" {
		if l := languages[path.Ext(s.String("source"))]; l != "" {
			s.Values["language"] = l
		}
	}
	return nil
}

var languages = map[string]string{".py": "PYTHON", ".sql": "SQL", ".scala": "SCALA", ".r": "R", ".R": "R", ".ipynb": "PYTHON"}

func importFile(ctx context.Context, c *Client, s *state) error {
	b, err := contentOf(s)
	if err != nil {
		return err
	}
	target := s.String("path")
	if dir := path.Dir(target); dir != "/" {
		if _, err := c.do(ctx, "POST", files+"mkdirs", map[string]any{"path": dir}); err != nil {
			return err
		}
	}
	body := map[string]any{"path": target, "content": base64.StdEncoding.EncodeToString(b), "overwrite": true}
	switch {
	case s.Field("language") == nil:
		body["format"] = "RAW"
	case strings.HasSuffix(s.String("source"), ".ipynb"):
		body["format"] = "JUPYTER"
	default:
		body["format"] = s.String("format")
	}
	if l := s.String("language"); l != "" && body["format"] == "SOURCE" {
		body["language"] = l
	}
	if _, err := c.do(ctx, "POST", files+"import", body); err != nil {
		return err
	}
	s.SetID(target)
	return nil
}

func readFile(ctx context.Context, c *Client, s *state) error {
	doc, err := c.do(ctx, "GET", files+"get-status?path="+url.QueryEscape(s.ID()), nil)
	if err != nil {
		return err
	}
	s.Decode(doc)
	s.Values["path"], s.Values["workspace_path"] = s.ID(), "/Workspace"+s.ID()
	s.Values["url"] = strings.TrimSuffix(c.sdk.Config.Host, "/") + "/#workspace" + s.ID()
	return nil
}

func deleteFile(ctx context.Context, c *Client, s *state) error {
	_, err := c.do(ctx, "POST", files+"delete", map[string]any{"path": s.ID()})
	return err
}

func importPath(s *state) error {
	s.Values["path"] = s.ID()
	return nil
}

// Settings of the workspace.

func setConf(ctx context.Context, c *Client, s *state) error {
	conf, _ := s.Values["custom_config"].(provider.Values)
	before, _ := s.Prior["custom_config"].(provider.Values)
	body := map[string]any{}
	for k := range before {
		body[k] = "false" // what a setting that was taken away becomes
	}
	for k, v := range conf {
		body[k] = v
	}
	s.SetID("_")
	if len(body) == 0 {
		return nil
	}
	_, err := c.do(ctx, "PATCH", "/api/2.0/workspace-conf", body)
	return err
}

func readConf(ctx context.Context, c *Client, s *state) error {
	conf, _ := s.Values["custom_config"].(provider.Values)
	if len(conf) == 0 {
		return nil
	}
	keys := make([]string, 0, len(conf))
	for k := range conf {
		keys = append(keys, k)
	}
	doc, err := c.do(ctx, "GET", "/api/2.0/workspace-conf?keys="+url.QueryEscape(strings.Join(keys, ",")), nil)
	if err != nil {
		return err
	}
	now := provider.Values{}
	for k := range conf {
		if doc[k] != nil {
			now[k] = fmt.Sprint(doc[k])
		}
	}
	s.Values["custom_config"] = now
	return nil
}

func dropConf(ctx context.Context, c *Client, s *state) error {
	s.Prior, s.Values = s.Values, provider.Values{}
	return setConf(ctx, c, s)
}

func createToken(ctx context.Context, c *Client, s *state) error {
	body := map[string]any{}
	for _, name := range []string{"comment", "lifetime_seconds"} {
		if v := s.Values[name]; v != nil {
			body[name] = v
		}
	}
	doc, err := c.do(ctx, "POST", "/api/2.0/token/create", body)
	if err != nil {
		return err
	}
	s.SetID(fmt.Sprint(provider.At(doc, "token_info", "token_id")))
	s.Values["token_value"] = doc["token_value"]
	return nil
}
