package git

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/git"
)

func number(p git.PullRequest) string { return strconv.FormatInt(p.Number, 10) }

// read takes from a webhook what means something here; ignored is why nothing
// does.
func read(forge string, r *http.Request, body []byte) (n news, ignored string, err error) {
	switch forge {
	case git.GitHub:
		n, ignored, err = readGitHub(r.Header.Get("X-GitHub-Event"), body)
	case git.GitLab:
		n, ignored, err = readGitLab(body)
	default:
		n, ignored, err = readAzure(body)
	}
	if err != nil {
		return n, "", wherry.Errorf(wherry.CodeInvalidParameter, "the webhook's body is not what %s sends: %v", forge, err)
	}
	if p := n.Pull; p != nil && (p.Number <= 0 || p.Base == "" || p.Head == "" || len(p.HeadSHA) != 40 || strings.Trim(p.HeadSHA, "0123456789abcdef") != "") {
		return n, "", wherry.Errorf(wherry.CodeInvalidParameter, "the webhook's pull request lacks its number, branches or commit")
	}
	if n.Pull != nil {
		n.Pull.Title, n.Pull.Body = cut(n.Pull.Title, 1000), cut(n.Pull.Body, 60000)
	}
	return n, ignored, nil
}

// githubHook is what GitHub sends with push, create, delete and pull_request
// (docs.github.com, "Webhook events and payloads").
type githubHook struct {
	Action string `json:"action"`
	Sender struct {
		Login string `json:"login"`
	} `json:"sender"`
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
	PullRequest struct {
		Number int64  `json:"number"`
		Title  string `json:"title"`
		Body   string `json:"body"`
		Merged bool   `json:"merged"`
		Merge  string `json:"merge_commit_sha"`
		User   struct {
			Login string `json:"login"`
		} `json:"user"`
		Base, Head struct {
			Ref  string `json:"ref"`
			SHA  string `json:"sha"`
			Repo *struct {
				FullName string `json:"full_name"`
			} `json:"repo"`
		}
	} `json:"pull_request"`
}

func readGitHub(event string, body []byte) (n news, ignored string, err error) {
	var h githubHook
	if err := json.Unmarshal(body, &h); err != nil {
		return n, "", err
	}
	n.Actor = h.Sender.Login
	switch event {
	case "push", "create", "delete":
		n.Push = true
		return n, "", nil
	case "pull_request":
	default:
		return n, "the event " + cut(event, 60) + " means nothing here", nil
	}
	pr := h.PullRequest
	p := &git.PullRequest{
		Number: pr.Number, Title: pr.Title, Body: pr.Body, Base: pr.Base.Ref, Head: pr.Head.Ref,
		HeadSHA: pr.Head.SHA, Author: pr.User.Login, State: git.PullOpen,
	}
	switch {
	case pr.Head.Repo == nil: // the fork was deleted
		p.HeadRepo = "unknown"
	case pr.Head.Repo.FullName != h.Repository.FullName:
		p.HeadRepo = pr.Head.Repo.FullName
	}
	switch h.Action {
	case git.ActionOpened, git.ActionSynchronize, git.ActionReopened:
		n.Action = h.Action
	case git.ActionClosed:
		n.Action, p.State, p.ClosedBy = h.Action, git.PullClosed, n.Actor
		if pr.Merged {
			p.State, p.MergeSHA = git.PullMerged, pr.Merge
		}
	case "edited":
	default:
		return n, "the action " + cut(h.Action, 60) + " means nothing here", nil
	}
	n.Pull = p
	return n, "", nil
}

// gitlabHook is what GitLab sends with pushes and merge requests (docs.gitlab.com,
// "Webhook events").
type gitlabHook struct {
	Kind     string `json:"object_kind"`
	UserName string `json:"user_username"` // of a push
	User     struct {
		UserName string `json:"username"`
	} `json:"user"`
	Attributes struct {
		Number    int64  `json:"iid"`
		Title     string `json:"title"`
		Body      string `json:"description"`
		Base      string `json:"target_branch"`
		Head      string `json:"source_branch"`
		SourceID  int64  `json:"source_project_id"`
		TargetID  int64  `json:"target_project_id"`
		Action    string `json:"action"`
		OldHead   string `json:"oldrev"` // of an update that moved the head
		Merge     string `json:"merge_commit_sha"`
		LastState struct {
			ID string `json:"id"`
		} `json:"last_commit"`
		Source struct {
			Path string `json:"path_with_namespace"`
		} `json:"source"`
	} `json:"object_attributes"`
}

func readGitLab(body []byte) (n news, ignored string, err error) {
	var h gitlabHook
	if err := json.Unmarshal(body, &h); err != nil {
		return n, "", err
	}
	n.Actor = cmp.Or(h.UserName, h.User.UserName)
	switch h.Kind {
	case "push", "tag_push":
		n.Push = true
		return n, "", nil
	case "merge_request":
	default:
		return n, "the event " + cut(h.Kind, 60) + " means nothing here", nil
	}
	a := h.Attributes
	p := &git.PullRequest{Number: a.Number, Title: a.Title, Body: a.Body, Base: a.Base, Head: a.Head, HeadSHA: a.LastState.ID, Author: n.Actor, State: git.PullOpen}
	if a.SourceID != a.TargetID {
		p.HeadRepo = cmp.Or(a.Source.Path, "unknown")
	}
	switch a.Action {
	case "open":
		n.Action = git.ActionOpened
	case "reopen":
		n.Action = git.ActionReopened
	case "update":
		if a.OldHead != "" {
			n.Action = git.ActionSynchronize
		}
	case "close":
		n.Action, p.State, p.ClosedBy = git.ActionClosed, git.PullClosed, n.Actor
	case "merge":
		n.Action, p.State, p.ClosedBy, p.MergeSHA = git.ActionClosed, git.PullMerged, n.Actor, a.Merge
	default:
		return n, "the action " + cut(a.Action, 60) + " means nothing here", nil
	}
	n.Pull = p
	return n, "", nil
}

// azureHook is what a service hook of Azure DevOps sends (learn.microsoft.com,
// "Service hooks events").
type azureHook struct {
	Event    string `json:"eventType"`
	Resource struct {
		PushedBy struct {
			Name string `json:"uniqueName"`
		} `json:"pushedBy"`
		CreatedBy struct {
			Name string `json:"uniqueName"`
		} `json:"createdBy"`
		ClosedBy struct {
			Name string `json:"uniqueName"`
		} `json:"closedBy"`
		Number int64  `json:"pullRequestId"`
		Status string `json:"status"` // active, completed, abandoned
		Title  string `json:"title"`
		Body   string `json:"description"`
		Source string `json:"sourceRefName"`
		Target string `json:"targetRefName"`
		Head   struct {
			ID string `json:"commitId"`
		} `json:"lastMergeSourceCommit"`
		Merge struct {
			ID string `json:"commitId"`
		} `json:"lastMergeCommit"`
		Fork *struct {
			Repository struct {
				Name string `json:"name"`
			} `json:"repository"`
		} `json:"forkSource"`
	} `json:"resource"`
}

func readAzure(body []byte) (n news, ignored string, err error) {
	var h azureHook
	if err := json.Unmarshal(body, &h); err != nil {
		return n, "", err
	}
	r := h.Resource
	n.Actor = cmp.Or(r.PushedBy.Name, r.ClosedBy.Name, r.CreatedBy.Name)
	p := &git.PullRequest{
		Number: r.Number, Title: r.Title, Body: r.Body, Base: strings.TrimPrefix(r.Target, "refs/heads/"), Head: strings.TrimPrefix(r.Source, "refs/heads/"),
		HeadSHA: r.Head.ID, Author: r.CreatedBy.Name, State: git.PullOpen,
	}
	switch h.Event {
	case "git.push":
		n.Push = true
		return n, "", nil
	case "git.pullrequest.created":
		n.Action = git.ActionOpened
	case "git.pullrequest.updated":
		n.Action = git.ActionSynchronize
	case "git.pullrequest.merged": // a merge was tried: of one that is open it says nothing new
		if r.Status != "completed" {
			return n, "the merge was only tried", nil
		}
	default:
		return n, "the event " + cut(h.Event, 60) + " means nothing here", nil
	}
	if r.Fork != nil {
		return n, "a pull request from a fork of Azure DevOps: the fork's commits are not in the repository", nil
	}
	switch r.Status {
	case "completed":
		n.Action, p.State, p.ClosedBy, p.MergeSHA = git.ActionClosed, git.PullMerged, n.Actor, r.Merge.ID
	case "abandoned":
		n.Action, p.State, p.ClosedBy = git.ActionClosed, git.PullClosed, n.Actor
	}
	n.Pull = p
	return n, "", nil
}
