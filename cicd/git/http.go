package git

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/git"
)

// forGit writes errors as git shows them: text, each line behind "remote:". A
// client that sent no sign-in is asked for one.
var forGit = api.Family{Name: "git", Page: func(w http.ResponseWriter, _ *http.Request, status int, e *wherry.Error) error {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="wherry: any user name, a token as password"`)
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	_, err := io.WriteString(w, e.Message+"\n")
	return err
}}

// lfsErrors is the JSON that git-lfs shows.
var lfsErrors = api.Family{Name: "git-lfs", Page: func(w http.ResponseWriter, _ *http.Request, status int, e *wherry.Error) error {
	if status == http.StatusUnauthorized {
		w.Header().Set("LFS-Authenticate", `Basic realm="wherry: any user name, a token as password"`)
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(map[string]string{"message": e.Message})
}}

// Routes returns the routes of git's own protocol and of our API.
func (s *Service) Routes() []api.Route {
	return append(append(s.pullRoutes(), s.githubRoutes()...), []api.Route{
		{Method: "GET", Path: "/git/{repo}/info/refs", Permission: api.SignedIn, Family: forGit, Summary: "Git: the refs of a repository", Handler: api.Raw(s.advertise)},
		{Method: "POST", Path: "/git/{repo}/git-upload-pack", Permission: api.SignedIn, Family: forGit, Summary: "Git: fetch", Handler: api.Raw(s.fetch)},
		{Method: "POST", Path: "/git/{repo}/git-receive-pack", Permission: api.SignedIn, Family: forGit, Summary: "Git: push", Handler: api.Raw(s.push)},
		{Path: "/git/{repo}/info/lfs/{path...}", Permission: api.SignedIn, Family: lfsErrors, Summary: "Not supported: Git LFS", Handler: api.Raw(noLFS)},

		{Method: "GET", Path: "/api/wherry/repos", Permission: api.Read, Summary: "List Git repositories", Handler: api.JSON(s.list)},
		{Method: "POST", Path: "/api/wherry/repos", Permission: api.Write, Summary: "Make a Git repository", Handler: api.JSON(s.make)},
		{Method: "GET", Path: "/api/wherry/repos/{name}", Permission: api.Read, Summary: "Show a Git repository", Handler: api.JSON(s.show)},
		{Method: "GET", Path: "/api/wherry/repos/{name}/pushes", Permission: api.Read, Summary: "List the last pushes to a Git repository", Handler: api.JSON(s.pushes)},
		{Method: "PUT", Path: "/api/wherry/repos/{name}/mirror", Permission: api.Admin, Summary: "Follow a Git repository that is elsewhere", Handler: api.JSON(s.setMirror)},
		{Method: "POST", Path: "/api/wherry/repos/{name}/deployments", Permission: api.Write, Summary: "Tell the forge of a mirror of a deployment", Handler: api.JSON(s.reportDeployed)},
		{Method: "POST", Path: "/api/wherry/repos/{name}/mirror/fetch", Permission: api.Write, Summary: "Look at a mirror's original now", Handler: api.JSON(s.lookNow)},
		{Method: "PUT", Path: "/api/wherry/repos/{name}/hooks/{forge}", Permission: api.Admin, Summary: "Take the webhooks of a forge", Handler: api.JSON(s.setHook)},
		{Method: "POST", Path: "/api/wherry/hooks/{repo}/{forge}", Permission: api.Public, Summary: "A forge's webhook, which proves itself", Handler: api.Raw(s.receiveHook)},
		{Method: "GET", Path: "/api/wherry/repos/{name}/protections", Permission: api.Read, Summary: "List the protected branches of a Git repository", Handler: api.JSON(s.protections)},
		{Method: "PUT", Path: "/api/wherry/repos/{name}/protections", Permission: api.Write, Summary: "Protect branches of a Git repository", Handler: api.JSON(s.protect)},
		{Method: "DELETE", Path: "/api/wherry/repos/{name}/protections", Permission: api.Write, Summary: "End a protection of branches", Handler: api.JSON(s.unprotect)},
		{Method: "GET", Path: "/api/wherry/repos/{name}/notify", Permission: api.Read, Summary: "Who is told of the outcomes of a repository's workflows", Handler: api.JSON(s.notify)},
		{Method: "PUT", Path: "/api/wherry/repos/{name}/notify", Permission: api.Admin, Summary: "Say who is told of the outcomes of a repository's workflows", Handler: api.JSON(s.setNotify)},
		{Method: "GET", Path: "/api/wherry/repos/{name}/commits/{sha}/statuses", Permission: api.Read, Summary: "List what checks say of a commit", Handler: api.JSON(s.statuses)},
		{Method: "POST", Path: "/api/wherry/repos/{name}/commits/{sha}/statuses", Permission: api.Write, Summary: "Say what a check found of a commit", Handler: api.JSON(s.setStatus)},
	}...)
}

func noLFS(http.ResponseWriter, *http.Request) error {
	return wherry.Errorf(wherry.CodeNotImplemented, "Git LFS is not supported by wherry: put large files into a volume or the lake, or commit them as they are (git lfs migrate export)")
}

// protocol is what the client asks for; git takes nothing else from it.
func protocol(r *http.Request) string {
	p := r.Header.Get("Git-Protocol")
	if len(p) > 100 || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789=:-") != "" {
		return ""
	}
	return p
}

// repo finds the repository of a request for a caller who may use it.
func (s *Service) repo(r *http.Request, write bool) (git.Repo, error) {
	if s.git == "" {
		return git.Repo{}, errNoGit()
	}
	if err := git.CheckName(repoName(r)); err != nil {
		return git.Repo{}, err
	}
	id := wherry.IdentityFrom(r.Context())
	repo, err := s.store.Repo(r.Context(), repoName(r))
	if err != nil {
		return repo, err
	}
	if write {
		if err := s.notMirror(r.Context(), repo); err != nil {
			return repo, err
		}
	}
	if !id.Admin || id.RunID != 0 {
		if err := s.Permit(r.Context(), id, repo, write); err != nil {
			return repo, err
		}
	}
	return repo, nil
}

func repoName(r *http.Request) string { return strings.TrimSuffix(r.PathValue("repo"), ".git") }

// mayMake says whether a push to a repository that does not exist makes it.
func (s *Service) mayMake(r *http.Request, err error) bool {
	id := wherry.IdentityFrom(r.Context())
	return wherry.CodeOf(err) == wherry.CodeDoesNotExist && id.Admin && id.RunID == 0
}

// advertise answers the first request of every clone, fetch and push.
func (s *Service) advertise(w http.ResponseWriter, r *http.Request) error {
	service := r.URL.Query().Get("service")
	program, ok := strings.CutPrefix(service, "git-")
	if !ok || program != "upload-pack" && program != "receive-pack" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "only git's smart HTTP protocol is spoken here")
	}
	repo, err := s.repo(r, program == "receive-pack")
	dir := ""
	switch {
	case err == nil:
		dir = s.dir(repo)
		err = s.settle(r.Context(), repo)
	case program == "receive-pack" && s.mayMake(r, err):
		dir, err = s.nowhere(), nil // the push itself makes it
	}
	if err != nil {
		return err
	}
	done, err := s.slot(r.Context())
	if err != nil {
		return err
	}
	defer done()
	c := s.command(r.Context(), dir, program, "--stateless-rpc", "--advertise-refs", dir)
	c.Env = append(c.Env, "GIT_PROTOCOL="+protocol(r))
	header(w, "application/x-"+service+"-advertisement")
	if program == "receive-pack" || !strings.Contains(protocol(r), "version=2") {
		banner := "# service=" + service + "\n"
		fmt.Fprintf(w, "%04x%s0000", len(banner)+4, banner)
	}
	complaint := &limited{max: 64 << 10}
	c.Stdout, c.Stderr = w, complaint
	if err := c.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, complaint)
	}
	return nil
}

func header(w http.ResponseWriter, kind string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
}

// slot waits until one more program of git may run.
func (s *Service) slot(ctx context.Context) (done func(), err error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Service) fetch(w http.ResponseWriter, r *http.Request) error {
	repo, err := s.repo(r, false)
	if err != nil {
		return err
	}
	body, err := s.body(w, r, "git-upload-pack", maxFetch)
	if err != nil {
		return err
	}
	done, err := s.slot(r.Context())
	if err != nil {
		return err
	}
	defer done()
	header(w, "application/x-git-upload-pack-result")
	return s.upload(r.Context(), flushed{w}, r, s.dir(repo), body)
}

func (s *Service) push(w http.ResponseWriter, r *http.Request) error {
	id := wherry.IdentityFrom(r.Context())
	repo, err := s.repo(r, true)
	created := false
	if s.mayMake(r, err) {
		repo, err = s.create(r.Context(), git.Repo{WorkspaceID: id.WorkspaceID, Name: repoName(r), Creator: id.UserName})
		created = err == nil
		if wherry.CodeOf(err) == wherry.CodeAlreadyExists { // another push was first
			repo, err = s.repo(r, true)
		}
	}
	if err != nil {
		return err
	}
	body, err := s.body(w, r, "git-receive-pack", maxRead)
	if err != nil {
		return err
	}
	done, err := s.slot(r.Context())
	if err != nil {
		return err
	}
	defer done()
	header(w, "application/x-git-receive-pack-result")
	// A push that was accepted is carried out though its client is gone; until
	// then git itself ends with the body.
	p := &push{s: s, ctx: context.WithoutCancel(r.Context()), repo: repo, id: id, created: created}
	return p.receive(flushed{w}, r, body)
}

// maxFetch bounds what a fetch may ask for: it lists commits, fifty bytes each.
const maxFetch = 64 << 20

// maxRead is how much of a push is read, only to be thrown away where it is too
// large to be kept: git clients hear why only after they have sent all.
const maxRead = 64 << 30

// idle is how long a client may keep us waiting for the next bytes.
const idle = 5 * time.Minute

// body returns the request's body, unpacked. Both sides may speak at once: git
// reports its progress while it still reads.
func (s *Service) body(w http.ResponseWriter, r *http.Request, service string, limit int64) (io.Reader, error) {
	if r.Header.Get("Content-Type") != "application/x-"+service+"-request" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "only git's smart HTTP protocol is spoken here")
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex() // HTTP/2 always is
	var body io.Reader = patient{control, r.Body}
	switch r.Header.Get("Content-Encoding") {
	case "":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the body is not gzip, as its Content-Encoding says")
		}
		body = z
	default:
		return nil, wherry.NotImplemented("the Content-Encoding " + r.Header.Get("Content-Encoding"))
	}
	return io.LimitReader(body, limit), nil
}

// patient ends a request whose client sends nothing for long.
type patient struct {
	control *http.ResponseController
	io.Reader
}

func (p patient) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(idle)) // not every connection has one
	return p.Reader.Read(b)
}

// flushed sends at once what is written: git's progress is to be seen.
type flushed struct{ http.ResponseWriter }

func (f flushed) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return n, err
}
