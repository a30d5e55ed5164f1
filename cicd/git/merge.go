package git

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/git"
)

// maxMerged bounds the length of all paths, in bytes, that either side of a merge
// has changed since they parted.
const maxMerged = 16 << 20

// merge is two commits brought together, without a working tree.
type merge struct {
	tree      string
	conflicts []string // files; then there is no tree
}

// mergeTree merges two commits as `git merge` would (git merge-tree
// --write-tree, since git 2.38); RESOURCE_EXHAUSTED if one of them changed so many
// files that git would take the machine's memory, or if it takes too long.
func (s *Service) mergeTree(ctx context.Context, r git.Repo, base, head string) (merge, error) {
	parted, err := s.ask(ctx, r, "", "merge-base", base, head)
	related, err := said(err)
	if err != nil {
		return merge{}, err
	}
	if parted = strings.TrimSpace(parted); !related {
		parted = noTree
	}
	for _, side := range []string{base, head} {
		if _, err := s.differing(ctx, r, parted, side, maxMerged); err != nil {
			return merge{}, err
		}
	}
	out, err := s.ask(ctx, r, "", "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", base, head)
	clean, err := said(err)
	if err != nil {
		return merge{}, err
	}
	tree, files, _ := strings.Cut(out, "\x00")
	if clean {
		return merge{tree: tree}, nil
	}
	m := merge{}
	for name := range strings.SplitSeq(strings.Trim(files, "\x00"), "\x00") {
		m.conflicts = append(m.conflicts, name)
	}
	return m, nil
}

// person is an author or committer.
type person struct{ name, email string }

func personOf(p wherry.Principal) person {
	email := p.UserName
	if !strings.Contains(email, "@") {
		email += "@wherry.invalid"
	}
	name := p.DisplayName
	if name == "" {
		name = p.UserName
	}
	return person{name, email}
}

// ourselves is who makes the test merges of pull requests.
var ourselves = person{"wherry", "wherry@wherry.invalid"}

// commitTree makes a commit of a tree.
func (s *Service) commitTree(ctx context.Context, dir, tree, message string, author, committer person, parents ...string) (string, error) {
	args := []string{"commit-tree", tree}
	for _, p := range parents {
		args = append(args, "-p", p)
	}
	c := s.command(ctx, dir, args...)
	c.Stdin = strings.NewReader(message)
	c.Env = append(c.Env, "GIT_AUTHOR_NAME="+author.name, "GIT_AUTHOR_EMAIL="+author.email, "GIT_COMMITTER_NAME="+committer.name, "GIT_COMMITTER_EMAIL="+committer.email)
	out, err := run(c)
	return strings.TrimSpace(out), err
}

func (s *Service) updateRef(ctx context.Context, dir, ref, sha, old string) error {
	args := []string{"update-ref", ref, sha}
	if sha == git.Zero {
		args = []string{"update-ref", "-d", ref}
	}
	if old != "" {
		args = append(args, old)
	}
	_, err := s.output(ctx, dir, args...)
	return err
}

// mergeIn asks to merge a pull request.
type mergeIn struct {
	pullPath
	Method     string `json:"method"` // merge (the default) or squash
	Message    string `json:"message"`
	DeleteHead bool   `json:"delete_head"`
	// SHA is where the caller saw the head; "" merges whatever it is now.
	SHA string `json:"sha"`
}

func (s *Service) mergePull(ctx context.Context, in *mergeIn) (*pullOut, error) {
	id := wherry.IdentityFrom(ctx)
	r, _, err := s.pull(ctx, &in.pullPath)
	if err == nil {
		err = s.notMirror(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	if in.Method != "" && in.Method != "merge" && in.Method != "squash" {
		return nil, wherry.NotImplemented("merging by " + in.Method + " (merge and squash are supported)")
	}
	if err := s.mergeLocked(ctx, id, r, in); err != nil {
		return nil, err
	}
	return s.showPull(ctx, &in.pullPath)
}

// mergeLocked merges while no push moves refs and nobody else changes pull
// requests.
func (s *Service) mergeLocked(ctx context.Context, id wherry.Identity, r git.Repo, in *mergeIn) error {
	l := s.lock(r)
	l.Lock()
	defer l.Unlock()
	s.pulls.Lock()
	defer s.pulls.Unlock()
	p, err := s.store.Pull(ctx, r, int64(in.Number))
	if err != nil {
		return err
	}
	refs, err := s.store.Refs(ctx, r.ID)
	if err != nil {
		return err
	}
	base := refs["refs/heads/"+p.Base]
	switch {
	case p.State != git.PullOpen:
		return wherry.Errorf(wherry.CodeInvalidState, "pull request %d is %s", p.Number, p.State)
	case base == "" || p.HeadSHA == "":
		return wherry.Errorf(wherry.CodeInvalidState, "pull request %d has lost a branch", p.Number)
	case in.SHA != "" && in.SHA != p.HeadSHA, !p.Fork() && refs["refs/heads/"+p.Head] != p.HeadSHA:
		return wherry.Errorf(wherry.CodeConflict, "%s has moved in the meantime: look at pull request %d again", p.Head, p.Number)
	}
	if err := s.mayMerge(ctx, r, p); err != nil {
		return err
	}
	sha, err := s.mergeCommit(ctx, id, r, p, in, base)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := s.note(r, pusher{id.UserName, id.RunID, p.Number, sha}); err != nil {
		return err
	}
	if err := s.updateRef(ctx, s.dir(r), "refs/heads/"+p.Base, sha, base); err != nil {
		return err
	}
	if err := s.store.Merge(ctx, r, p, sha, id.UserName, id.RunID); err != nil {
		l.settled.Store(false) // the ref moved: whoever comes next records it
		return err
	}
	s.forget(r)
	if in.DeleteHead && !p.Fork() {
		return s.deleteHead(ctx, id, r, p)
	}
	return nil
}

// mayMerge checks what the base's protections ask for.
func (s *Service) mayMerge(ctx context.Context, r git.Repo, p git.PullRequest) error {
	list, err := s.store.Protections(ctx, r.ID)
	if err != nil {
		return err
	}
	checks, err := s.store.Statuses(ctx, r.ID, p.HeadSHA)
	if err != nil {
		return err
	}
	return mergeable(git.RuleOf(list, p.Base), checks, p)
}

// mergeCommit makes the commit that the base becomes.
func (s *Service) mergeCommit(ctx context.Context, id wherry.Identity, r git.Repo, p git.PullRequest, in *mergeIn, base string) (string, error) {
	m, err := s.mergeTree(ctx, r, base, p.HeadSHA)
	if err != nil {
		return "", err
	}
	if len(m.conflicts) > 0 {
		return "", wherry.Errorf(wherry.CodeConflict, "%s and %s change the same lines of %s: merge %s into %s, push, and try again",
			p.Head, p.Base, strings.Join(m.conflicts, ", "), p.Base, p.Head)
	}
	by := personOf(id.Principal)
	if in.Method == "squash" {
		author := by
		out, err := s.output(ctx, s.dir(r), "log", "-1", "--format=%an%n%ae", p.HeadSHA)
		if err != nil {
			return "", err
		}
		if name, email, ok := strings.Cut(strings.TrimSpace(out), "\n"); ok {
			author = person{name, email}
		}
		return s.commitTree(ctx, s.dir(r), m.tree, message(in.Message, fmt.Sprintf("%s (#%d)", p.Title, p.Number), p.Body), author, by, base)
	}
	from := p.Head
	if p.Fork() {
		from = p.HeadRepo + "/" + from
	}
	return s.commitTree(ctx, s.dir(r), m.tree, message(in.Message, fmt.Sprintf("Merge pull request #%d from %s", p.Number, from), p.Title), by, by, base, p.HeadSHA)
}

func message(own, subject, body string) string {
	if own != "" {
		return own + "\n"
	}
	return strings.TrimSpace(subject+"\n\n"+body) + "\n"
}

// deleteHead deletes the branch of a merged pull request, unless a rule keeps it.
func (s *Service) deleteHead(ctx context.Context, id wherry.Identity, r git.Repo, p git.PullRequest) error {
	list, err := s.store.Protections(ctx, r.ID)
	if err != nil {
		return err
	}
	if p.Head == r.DefaultBranch || git.RuleOf(list, p.Head).Protected {
		return wherry.Errorf(wherry.CodeInvalidState, "merged; %s is protected and stays", p.Head)
	}
	if err := s.updateRef(ctx, s.dir(r), "refs/heads/"+p.Head, git.Zero, p.HeadSHA); err != nil {
		return err
	}
	_, err = s.store.Record(ctx, r, id.UserName, id.RunID, []git.Movement{{Ref: "refs/heads/" + p.Head, New: git.Zero}})
	return err
}

// finishMerge ends a pull request whose merge was cut off after its base moved.
func (s *Service) finishMerge(ctx context.Context, r git.Repo, who pusher) error {
	if who.Pull == 0 {
		return nil
	}
	p, err := s.store.Pull(ctx, r, who.Pull)
	if err != nil {
		return err
	}
	refs, err := s.store.Refs(ctx, r.ID)
	if err != nil || p.State != git.PullOpen || refs["refs/heads/"+p.Base] != who.Merge {
		return err
	}
	return s.store.ClosePull(ctx, r, p, who.Merge, who.Actor)
}

// oldGit says that git cannot merge without a working tree.
func (s *Service) oldGit(ctx context.Context) bool {
	c := exec.CommandContext(ctx, s.git, "version")
	out, err := run(c)
	var major, minor int
	if _, scan := fmt.Sscanf(out, "git version %d.%d", &major, &minor); err != nil || scan != nil {
		return true
	}
	return major < 2 || major == 2 && minor < 38
}
