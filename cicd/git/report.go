package git

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/store/git"
)

// apiOf is where a forge that serves a repository has its API.
func apiOf(forge string, u *url.URL) string {
	base := "https://" + u.Host
	if u.Scheme == "http" {
		base = "http://" + u.Host
	}
	switch {
	case forge == git.GitHub && u.Hostname() == "github.com":
		return "https://api.github.com"
	case forge == git.GitHub:
		return base + "/api/v3" // GitHub Enterprise Server
	case forge == git.GitLab:
		return base + "/api/v4"
	}
	project, _, _ := strings.Cut(u.EscapedPath(), "/_git/") // /ORGANISATION/PROJECT
	return base + project
}

// projectOf is a repository's name at its forge: owner/name, a path of groups, or
// the name within an Azure DevOps project.
func projectOf(m git.Mirror) string {
	u, err := url.Parse(m.URL)
	if err != nil {
		return ""
	}
	path := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	if _, name, ok := strings.Cut(path, "_git/"); ok && m.Forge == git.AzureDevOps {
		return name
	}
	return path
}

// sendReports tells forges what waits to be told. It returns when there is more
// to do, 0 for never.
func (s *Service) sendReports(ctx context.Context) (time.Duration, error) {
	due, next, err := s.store.DueReports(ctx, 200)
	if err != nil {
		return 0, err
	}
	for _, o := range due {
		r, err := s.store.RepoByID(ctx, o.RepoID)
		if err != nil {
			return 0, err
		}
		m, ok, err := s.store.Mirror(ctx, o.RepoID)
		if err != nil {
			return 0, err
		}
		final := !ok || !m.Reports
		failure := errors.New("the repository reports no more")
		if !final {
			final, failure = s.send(ctx, r, m, o)
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if failure == nil {
			err = s.store.Reported(ctx, o)
		} else {
			slog.Warn("tell a forge", "repo", r.Name, "kind", o.Kind, "err", failure)
			err = s.store.NotReported(ctx, o, cut(failure.Error(), 500), final)
		}
		if err != nil {
			return 0, err
		}
	}
	if len(due) > 0 { // what failed is due again, and there may be more
		return time.Second, nil
	}
	return time.Duration(next) * time.Millisecond, nil
}

// call is one request to a forge's API.
type call struct {
	method, path string
	body         any
}

// send tells one report. final is a failure that no second try can change.
func (s *Service) send(ctx context.Context, r git.Repo, m git.Mirror, o git.Report) (final bool, err error) {
	sign, err := s.credentials(r.Name, m)
	if err != nil {
		return true, err
	}
	f := &forge{s: s, m: m, sign: sign, project: projectOf(m)}
	if o.Kind == git.ReportStatus {
		return f.do(ctx, f.status(o.Status), nil)
	}
	if m.Forge == git.AzureDevOps { // its repositories know no deployments
		d := o.Deployment
		return f.do(ctx, f.status(git.Status{SHA: d.SHA, Context: "deployment/" + d.Environment, State: asStatus(d.State), Description: d.Description, Path: d.Path}), nil)
	}
	if o.RemoteID == "" {
		var made struct {
			ID int64 `json:"id"`
		}
		if final, err = f.do(ctx, f.deploy(o.Deployment), &made); err != nil {
			return final, err
		}
		o.RemoteID = strconv.FormatInt(made.ID, 10)
		if err := s.store.KeepRemote(ctx, o, o.RemoteID); err != nil {
			return false, err
		}
		if m.Forge == git.GitLab {
			return false, nil // it was made in its state
		}
	}
	return f.do(ctx, f.deployed(o.RemoteID, o.Deployment), nil)
}

// forge speaks the API of one.
type forge struct {
	s       *Service
	m       git.Mirror
	sign    credentials
	project string
}

// link makes an address of a page here one that can be followed.
func (f *forge) link(path string) string {
	if strings.HasPrefix(path, "/") {
		return f.s.cfg.URL + path
	}
	return path
}

func (f *forge) status(st git.Status) call {
	doc := map[string]any{"state": st.State, "description": cut(st.Description, 140)}
	if st.Path != "" {
		doc["target_url"] = f.link(st.Path)
	}
	switch f.m.Forge {
	case git.GitLab:
		doc["name"] = st.Context
		doc["state"] = map[string]string{git.StatePending: "pending", git.StateSuccess: "success"}[st.State]
		if doc["state"] == "" {
			doc["state"] = "failed"
		}
		return call{"POST", "/projects/" + url.PathEscape(f.project) + "/statuses/" + st.SHA, doc}
	case git.AzureDevOps:
		state := map[string]string{git.StatePending: "pending", git.StateSuccess: "succeeded", git.StateFailure: "failed", git.StateError: "error"}[st.State]
		return call{"POST", "/_apis/git/repositories/" + url.PathEscape(f.project) + "/commits/" + st.SHA + "/statuses?api-version=7.1", map[string]any{
			"state": state, "description": st.Description, "targetUrl": f.link(st.Path), "context": map[string]string{"name": st.Context, "genre": "wherry"},
		}}
	}
	doc["context"] = st.Context
	return call{"POST", "/repos/" + f.project + "/statuses/" + st.SHA, doc}
}

func asStatus(state string) string {
	switch state {
	case "success", "inactive":
		return git.StateSuccess
	case "failure":
		return git.StateFailure
	case "error":
		return git.StateError
	}
	return git.StatePending
}

// gitlabState is GitLab's word for the state of a deployment.
func gitlabState(state string) string {
	switch state {
	case "success":
		return "success"
	case "failure", "error":
		return "failed"
	case "inactive":
		return "canceled"
	}
	return "running"
}

func (f *forge) deploy(d git.Deployment) call {
	if f.m.Forge == git.GitLab {
		return call{"POST", "/projects/" + url.PathEscape(f.project) + "/deployments", map[string]any{
			"environment": d.Environment, "sha": d.SHA, "ref": strings.TrimPrefix(strings.TrimPrefix(d.Ref, "refs/heads/"), "refs/tags/"),
			"tag": strings.HasPrefix(d.Ref, "refs/tags/"), "status": gitlabState(d.State),
		}}
	}
	// No merge of the default branch and no wait for checks: it is deployed.
	return call{"POST", "/repos/" + f.project + "/deployments", map[string]any{
		"ref": d.SHA, "environment": d.Environment, "description": cut(d.Description, 140), "auto_merge": false, "required_contexts": []string{},
	}}
}

func (f *forge) deployed(id string, d git.Deployment) call {
	if f.m.Forge == git.GitLab {
		return call{"PUT", "/projects/" + url.PathEscape(f.project) + "/deployments/" + id, map[string]any{"status": gitlabState(d.State)}}
	}
	doc := map[string]any{"state": d.State, "description": cut(d.Description, 140)}
	if d.Path != "" {
		doc["log_url"] = f.link(d.Path)
	}
	return call{"POST", "/repos/" + f.project + "/deployments/" + id + "/statuses", doc}
}

// do makes the request. A redirect is not followed, and an error's body is not
// shown: the address is someone's, the answer may be anything.
func (f *forge) do(ctx context.Context, c call, out any) (final bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	b, err := json.Marshal(c.body)
	if err != nil {
		return true, err
	}
	req, err := http.NewRequestWithContext(ctx, c.method, f.m.APIURL+c.path, bytes.NewReader(b))
	if err != nil {
		return true, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "wherry")
	switch f.m.Forge {
	case git.GitHub:
		req.Header.Set("Accept", "application/vnd.github+json")
		req.Header.Set("Authorization", "Bearer "+f.sign.Token)
	case git.GitLab:
		req.Header.Set("PRIVATE-TOKEN", f.sign.Token)
	default:
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(":"+f.sign.Token)))
	}
	resp, err := f.s.web.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	body := io.LimitReader(resp.Body, 1<<20)
	if resp.StatusCode/100 == 2 {
		if out == nil {
			return false, nil
		}
		return false, json.NewDecoder(body).Decode(out)
	}
	_, _ = io.Copy(io.Discard, body)
	// What the forge does not understand it will not understand later; sign-ins
	// are mended, and limits pass.
	final = resp.StatusCode == http.StatusUnprocessableEntity || resp.StatusCode == http.StatusBadRequest
	return final, fmt.Errorf("%s answered %s to %s %s", f.m.Forge, resp.Status, c.method, c.path)
}

// webClient follows nothing.
func webClient() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
