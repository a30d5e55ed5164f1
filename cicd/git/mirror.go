package git

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/git"
)

// holder names in sealed values what they are.
const (
	mirrorHolder = "git-mirror"
	hookHolder   = "git-hook"
)

// fetchLimit is how long one fetch of a mirror may take.
const fetchLimit = 30 * time.Minute

// credentials sign in to a forge.
type credentials struct {
	User  string `json:"user"`
	Token string `json:"token"`
}

// mirrorIn asks to follow a repository that is elsewhere.
type mirrorIn struct {
	Name string `json:"name"`
	git.Mirror
	credentials
}

// schemes are those that git may be asked to fetch by; ext:: would run a program.
var schemes = []string{"https", "http", "ssh", "git", "file"}

// checkMirror completes what is asked for, and says what is wrong with it.
func checkMirror(in *mirrorIn) error {
	u, err := url.Parse(in.URL)
	switch {
	case err != nil || !slices.Contains(schemes, u.Scheme) || u.Scheme != "file" && u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") || strings.ContainsAny(in.URL, " \n\x00"):
		return wherry.Errorf(wherry.CodeInvalidParameter, "%.300q is no address of a Git repository: https://…, http://…, ssh://…, git://… or file:///…", in.URL)
	case u.User != nil && (u.Scheme == "http" || u.Scheme == "https"):
		return wherry.Errorf(wherry.CodeInvalidParameter, "give the token apart from the address (--token-stdin): it is kept encrypted")
	case in.Seconds < 0 || in.Seconds > 0 && in.Seconds < 1:
		return wherry.Errorf(wherry.CodeInvalidParameter, "the interval is %d seconds", in.Seconds)
	}
	if in.Forge == "" {
		in.Forge = map[string]string{"github.com": git.GitHub, "gitlab.com": git.GitLab, "dev.azure.com": git.AzureDevOps}[u.Hostname()]
	}
	if in.Forge != "" && !slices.Contains(forges, in.Forge) {
		return wherry.NotImplemented("the forge " + in.Forge + " (github, gitlab and azure-devops are supported)")
	}
	if in.APIURL == "" && in.Forge != "" {
		in.APIURL = apiOf(in.Forge, u)
	}
	if in.Reports && (in.Forge == "" || in.Token == "") {
		return wherry.Errorf(wherry.CodeInvalidParameter, "reports need a forge (--forge) and a token that may write statuses (--token-stdin)")
	}
	in.User = cmp.Or(in.User, map[string]string{git.GitHub: "x-access-token", git.GitLab: "oauth2"}[in.Forge], "git")
	return nil
}

func (s *Service) setMirror(ctx context.Context, in *mirrorIn) (*repoOut, error) {
	id := wherry.IdentityFrom(ctx)
	if s.git == "" {
		return nil, errNoGit()
	}
	if err := checkMirror(in); err != nil {
		return nil, err
	}
	secret, err := json.Marshal(in.credentials)
	if err != nil {
		return nil, err
	}
	in.Sealed = s.cfg.Key.Seal(mirrorHolder, strings.ToLower(in.Name), secret)
	theirs, branch, err := s.lsRemote(ctx, in.Name, in.Mirror)
	if err != nil {
		return nil, err
	}
	r, err := s.store.Repo(ctx, in.Name)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		r, err = s.create(ctx, git.Repo{WorkspaceID: id.WorkspaceID, Name: in.Name, DefaultBranch: branch, OriginURL: in.URL, Creator: id.UserName})
	}
	if err != nil {
		return nil, err
	}
	if err := s.beginMirror(ctx, r, in.Mirror, theirs, id.UserName); err != nil {
		return nil, err
	}
	return s.show(ctx, &repoPath{Name: in.Name})
}

// beginMirror fetches all there is, which triggers nothing, and then follows.
func (s *Service) beginMirror(ctx context.Context, r git.Repo, m git.Mirror, theirs map[string]string, actor string) error {
	if err := s.settle(ctx, r); err != nil {
		return err
	}
	l := s.lock(r)
	l.Lock()
	defer l.Unlock()
	ours, err := s.store.Refs(ctx, r.ID)
	if err != nil {
		return err
	}
	if _, already, err := s.store.Mirror(ctx, r.ID); err != nil {
		return err
	} else if !already && len(ours) > 0 && !maps.Equal(ours, theirs) {
		return wherry.Errorf(wherry.CodeInvalidState, "%s has commits of its own: mirror into a new repository", r.Name)
	}
	if err := s.fetchMirror(ctx, r, m, "--prune", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
		return err
	}
	refs, err := s.refs(ctx, r)
	if err != nil {
		return err
	}
	return s.store.SetMirror(context.WithoutCancel(ctx), r, m, refs, actor)
}

// notMirror refuses what is to be done where the original is.
func (s *Service) notMirror(ctx context.Context, r git.Repo) error {
	m, mirror, err := s.store.Mirror(ctx, r.ID)
	if err == nil && mirror {
		err = wherry.Errorf(wherry.CodePermissionDenied, "%s is a mirror of %s: push there, and open and merge pull requests there", r.Name, m.URL)
	}
	return err
}

// lookNow looks at a mirror's original at once.
func (s *Service) lookNow(ctx context.Context, in *repoPath) (*repoOut, error) {
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	m, ok, err := s.store.Mirror(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "%s mirrors nothing: `wherry repo mirror` says what", r.Name)
	}
	if err := s.look(ctx, r, m, byItself); err != nil {
		return nil, err
	}
	if err := s.store.Looked(ctx, m, ""); err != nil {
		return nil, err
	}
	return s.show(ctx, in)
}

// remote prepares a program of git that talks to a mirror's original. The sign-in
// is in its environment, for that host alone, never in its arguments.
func (s *Service) remote(ctx context.Context, name string, m git.Mirror, dir string, args ...string) (*exec.Cmd, error) {
	allowed := []string{"-c", "protocol.allow=never", "-c", "credential.helper="}
	for _, scheme := range schemes {
		allowed = append(allowed, "-c", "protocol."+scheme+".allow=always")
	}
	c := s.command(ctx, dir, append(allowed, args...)...)
	c.Env = append(c.Env, "GIT_SSH_COMMAND=ssh -o BatchMode=yes")
	sign, err := s.credentials(name, m)
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(m.URL); err == nil && sign.Token != "" && (u.Scheme == "https" || u.Scheme == "http") {
		c.Env = append(c.Env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http."+u.Scheme+"://"+u.Host+"/.extraHeader",
			"GIT_CONFIG_VALUE_0=Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(sign.User+":"+sign.Token)))
	}
	return c, nil
}

func (s *Service) credentials(name string, m git.Mirror) (sign credentials, err error) {
	b, err := s.cfg.Key.Open(mirrorHolder, strings.ToLower(name), m.Sealed)
	if err != nil {
		return sign, err
	}
	return sign, json.Unmarshal(b, &sign)
}

// lsRemote asks a mirror's original where its branches and tags are, those that
// can be recorded, and which branch is its default.
func (s *Service) lsRemote(ctx context.Context, name string, m git.Mirror) (refs map[string]string, branch string, err error) {
	c, err := s.remote(ctx, name, m, s.nowhere(), "ls-remote", "--symref", "--", m.URL)
	if err != nil {
		return nil, "", err
	}
	text, err := run(c)
	if err != nil {
		return nil, "", unreachable(m, err)
	}
	refs = map[string]string{}
	for line := range strings.Lines(text) {
		sha, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if target, ok := strings.CutPrefix(sha, "ref: refs/heads/"); ok && ref == "HEAD" {
			branch = target
		}
		if len(sha) == 40 && !strings.HasSuffix(ref, "^{}") && (strings.HasPrefix(ref, "refs/heads/") || strings.HasPrefix(ref, "refs/tags/")) && git.CheckRef(ref) == nil {
			refs[ref] = sha
		}
	}
	return refs, branch, nil
}

func unreachable(m git.Mirror, err error) error {
	return wherry.Errorf(wherry.CodeInvalidState, "%s cannot be read: %v", m.URL, err)
}

func (s *Service) fetchMirror(ctx context.Context, r git.Repo, m git.Mirror, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	opts, specs := []string{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head"}, args
	for len(specs) > 0 && strings.HasPrefix(specs[0], "--") {
		opts, specs = append(opts, specs[0]), specs[1:]
	}
	c, err := s.remote(ctx, r.Name, m, s.dir(r), append(append(opts, "--", m.URL), specs...)...)
	if err != nil {
		return err
	}
	if _, err := run(c); err != nil {
		return unreachable(m, err)
	}
	return nil
}

// look brings a mirror to where its original is, and records what moved as the
// pushes of actor.
func (s *Service) look(ctx context.Context, r git.Repo, m git.Mirror, actor string) error {
	if err := s.settle(ctx, r); err != nil {
		return err
	}
	theirs, _, err := s.lsRemote(ctx, r.Name, m)
	if err != nil {
		return err
	}
	ours, err := s.store.Refs(ctx, r.ID)
	if err != nil || maps.Equal(ours, theirs) {
		return err
	}
	l := s.lock(r)
	l.Lock()
	defer l.Unlock()
	if err := s.note(r, pusher{Actor: actor}); err != nil {
		return err
	}
	fetched := s.fetchMirror(ctx, r, m, "--prune", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
	if _, err := s.reconcile(context.WithoutCancel(ctx), r, actor, 0); err != nil { // a fetch that failed may have moved some
		l.settled.Store(false)
		return err
	}
	s.forget(r)
	return fetched
}

// byItself is the actor of pushes that were found by looking: a forge tells
// others in its webhooks.
const byItself = "mirror"

// followMirrors does what forges told and looks at the mirrors that are due. It
// returns when there is more to do, 0 for never.
func (s *Service) followMirrors(ctx context.Context) (time.Duration, error) {
	again, err := s.deliveries(ctx)
	if err != nil {
		return 0, err
	}
	due, next, err := s.store.DueMirrors(ctx)
	if err != nil {
		return 0, err
	}
	for _, m := range due {
		r, err := s.store.RepoByID(ctx, m.RepoID)
		if err != nil {
			return 0, err
		}
		failure := ""
		if err := s.look(ctx, r, m, byItself); err != nil {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			failure = err.Error()
			slog.Warn("look at a mirror's original", "repo", r.Name, "err", err)
		}
		if err := s.store.Looked(ctx, m, failure); err != nil {
			return 0, err
		}
		next = sooner(next, m.Seconds*1000)
	}
	return sooner(again, time.Duration(next)*time.Millisecond), nil
}

// sooner is the smaller of two waits, of which 0 is never.
func sooner[T ~int64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
