package git

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/git"
)

// maxHook is how large a webhook's body may be, GitHub's own limit.
const maxHook = 25 << 20

// forges are those whose webhooks are understood.
var forges = []string{git.GitHub, git.GitLab, git.AzureDevOps}

// news is what a webhook says, as far as it means something here.
type news struct {
	Push   bool             `json:"push,omitempty"`
	Actor  string           `json:"actor"`
	Action string           `json:"action,omitempty"` // on a pull request
	Pull   *git.PullRequest `json:"pull,omitempty"`
}

// hookIn asks for the webhooks of a forge to be taken.
type hookIn struct {
	Name   string `json:"name"`
	Forge  string `json:"forge"`
	Secret string `json:"secret"` // "" makes one
}

// hookOut tells what to enter at the forge.
type hookOut struct {
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

func (s *Service) setHook(ctx context.Context, in *hookIn) (*hookOut, error) {
	id := wherry.IdentityFrom(ctx)
	r, err := s.store.Repo(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(forges, in.Forge) {
		return nil, wherry.NotImplemented("webhooks of " + in.Forge + " (github, gitlab and azure-devops are supported)")
	}
	if in.Secret == "" {
		in.Secret = newSecret()
	}
	if len(in.Secret) < 16 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the secret is shorter than 16 characters: leave it out, and one is made")
	}
	if err := s.store.SetHook(ctx, r, in.Forge, s.cfg.Key.Seal(hookHolder, strings.ToLower(r.Name)+"/"+in.Forge, []byte(in.Secret)), id.UserName); err != nil {
		return nil, err
	}
	return &hookOut{URL: id.BaseURL + "/api/wherry/hooks/" + r.Name + "/" + in.Forge, Secret: in.Secret}, nil
}

// errWrongSecret is told to whoever does not know the secret, of any repository.
var errWrongSecret = wherry.Errorf(wherry.CodeUnauthenticated, "the signature is wrong: enter the secret of `wherry repo hook` at the forge")

// receiveHook takes a webhook. What it asks for is done once it is stored: forges
// wait for an answer ten seconds or less. Anyone may send one, so its body is read
// only where a secret is set for it.
func (s *Service) receiveHook(w http.ResponseWriter, r *http.Request) error {
	forge := r.PathValue("forge")
	if !slices.Contains(forges, forge) {
		return errWrongSecret
	}
	repo, err := s.store.Repo(r.Context(), r.PathValue("repo"))
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return errWrongSecret
	}
	if err != nil {
		return err
	}
	sealed, err := s.store.Hook(r.Context(), repo.ID, forge)
	if err != nil {
		return err
	}
	if sealed == nil {
		return s.refuseHook(r, repo, forge, "", errors.New("no secret is set for it"))
	}
	secret, err := s.cfg.Key.Open(hookHolder, strings.ToLower(repo.Name)+"/"+forge, sealed)
	if err != nil {
		return s.refuseHook(r, repo, forge, "", err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHook))
	if err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the webhook's body cannot be read, or has more than %d bytes", maxHook)
	}
	delivery := deliveryOf(forge, r, body)
	if err := proven(r, forge, secret, body); err != nil {
		return s.refuseHook(r, repo, forge, delivery, err)
	}
	n, ignored, err := read(forge, r, body)
	if err != nil {
		return err
	}
	if ignored != "" {
		return api.WriteJSON(w, http.StatusAccepted, map[string]string{"status": "ignored", "reason": ignored})
	}
	doc, err := json.Marshal(n)
	if err != nil {
		return err
	}
	fresh, err := s.store.Deliver(r.Context(), git.Delivery{RepoID: repo.ID, Forge: forge, Delivery: delivery, News: string(doc)})
	if err != nil {
		return err
	}
	status := "accepted"
	if !fresh {
		status = "known already"
	}
	return api.WriteJSON(w, http.StatusAccepted, map[string]string{"status": status, "delivery": delivery})
}

// proven says why a webhook's sender has not proven who they are, nil if they
// have. All comparisons take the same time for any wrong value.
func proven(r *http.Request, forge string, secret, body []byte) error {
	switch forge {
	case git.GitHub:
		given, ok := strings.CutPrefix(r.Header.Get("X-Hub-Signature-256"), "sha256=")
		sum, err := hex.DecodeString(given)
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		if !ok || err != nil || !hmac.Equal(sum, mac.Sum(nil)) {
			return errors.New("X-Hub-Signature-256 is missing or wrong")
		}
	case git.GitLab:
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Gitlab-Token")), secret) != 1 {
			return errors.New("X-Gitlab-Token is missing or wrong")
		}
	case git.AzureDevOps:
		if _, password, ok := r.BasicAuth(); !ok || subtle.ConstantTimeCompare([]byte(password), secret) != 1 {
			return errors.New("the password of basic authentication is missing or wrong")
		}
	default:
		return errors.New("the forge is unknown")
	}
	return nil
}

// refuseHook writes the refusal down, at most ten a minute: anyone may send.
func (s *Service) refuseHook(r *http.Request, repo git.Repo, forge, delivery string, reason error) error {
	s.mu.Lock()
	if now := time.Now(); now.Sub(s.refusedSince) > time.Minute {
		s.refusedSince, s.refused = now, 0
	}
	s.refused++
	tell := s.refused <= 10
	s.mu.Unlock()
	if tell {
		slog.Warn("a webhook is refused", "repo", repo.Name, "forge", forge, "reason", reason, "from", r.RemoteAddr)
		if err := s.store.RefuseHook(r.Context(), repo, forge, reason.Error(), cut(delivery, 100), r.RemoteAddr); err != nil {
			return err
		}
	}
	return errWrongSecret
}

// cut cuts a text to n bytes, between two characters; what is no text becomes it.
// It adds nothing: an id stays one.
func cut(text string, n int) string {
	text = asText(text)
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// deliveryOf is the forge's name of a delivery, the same when it is sent again;
// the body's digest for one without a name.
func deliveryOf(forge string, r *http.Request, body []byte) string {
	id := ""
	switch forge {
	case git.GitHub:
		id = r.Header.Get("X-GitHub-Delivery")
	case git.GitLab:
		if id = r.Header.Get("Idempotency-Key"); id == "" {
			id = r.Header.Get("X-Gitlab-Event-UUID")
		}
	case git.AzureDevOps:
		var doc struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(body, &doc) == nil {
			id = doc.ID
		}
	}
	if id == "" {
		sum := sha256.Sum256(body)
		id = hex.EncodeToString(sum[:])
	}
	return cut(id, 200)
}

// tries is how often a delivery is tried before its mirror's next look has to do.
const tries = 6

// deliveries does what forges told, in order. What cannot be done is tried again
// a little later; the wait until then is returned.
func (s *Service) deliveries(ctx context.Context) (again time.Duration, err error) {
	list, err := s.store.Deliveries(ctx, 100)
	if err != nil {
		return 0, err
	}
	blocked := map[int64]bool{}
	for _, d := range list {
		if blocked[d.RepoID] {
			continue
		}
		failure := ""
		if err := s.deliver(ctx, d); err != nil {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if s.tried[d.ID]++; s.tried[d.ID] < tries {
				blocked[d.RepoID] = true
				again = sooner(again, time.Second<<s.tried[d.ID])
				continue
			}
			failure = err.Error()
			slog.Error("do what a webhook told", "delivery", d.Delivery, "err", err)
		}
		delete(s.tried, d.ID)
		if err := s.store.Delivered(ctx, d, failure); err != nil {
			return 0, err
		}
	}
	return again, nil
}

func (s *Service) deliver(ctx context.Context, d git.Delivery) error {
	var n news
	if err := json.Unmarshal([]byte(d.News), &n); err != nil {
		return err
	}
	r, err := s.store.RepoByID(ctx, d.RepoID)
	if err != nil {
		return err
	}
	m, ok, err := s.store.Mirror(ctx, r.ID)
	if err != nil {
		return err
	}
	if !ok {
		return wherry.Errorf(wherry.CodeInvalidState, "%s mirrors nothing: `wherry repo mirror` says what", r.Name)
	}
	failure := ""
	looked := s.look(ctx, r, m, n.Actor)
	if looked != nil {
		failure = looked.Error()
	}
	if err := s.store.Looked(ctx, m, failure); err != nil || looked != nil {
		return errors.Join(err, looked)
	}
	if n.Pull == nil {
		return nil
	}
	return s.putPull(ctx, r, m, n)
}

// putPull records a pull request of the forge, with refs as our own have.
func (s *Service) putPull(ctx context.Context, r git.Repo, m git.Mirror, n news) error {
	s.pulls.Lock()
	defer s.pulls.Unlock()
	p := *n.Pull
	p.RepoID = r.ID
	if p.HeadRepo == "" {
		p.HeadRepoID = r.ID
	}
	refs, err := s.store.Refs(ctx, r.ID)
	if err != nil {
		return err
	}
	if p.State == git.PullOpen {
		switch m.Forge {
		case git.GitLab:
			err = s.fetchMirror(ctx, r, m, "+refs/merge-requests/"+number(p)+"/head:"+pullRef(p, "head"))
		case git.AzureDevOps: // it offers the branch alone
			err = s.updateRef(ctx, s.dir(r), pullRef(p, "head"), p.HeadSHA, "")
		default:
			err = s.fetchMirror(ctx, r, m, "+"+pullRef(p, "head")+":"+pullRef(p, "head"))
		}
		if err != nil {
			return err
		}
		if p.BaseSHA = refs["refs/heads/"+p.Base]; p.BaseSHA == "" {
			return wherry.Errorf(wherry.CodeDoesNotExist, "%s has no branch %q", r.Name, p.Base)
		}
		if p.MergeSHA, err = s.testMerge(ctx, r, p, p.BaseSHA, p.HeadSHA); err != nil {
			return err
		}
	}
	return s.store.PutPull(ctx, r, p, n.Action, n.Actor)
}
