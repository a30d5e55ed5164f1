// Package client calls a wherry server over HTTP, as the commands do.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/state"
)

// Client calls one server as one principal. It may be used by several
// goroutines.
type Client struct {
	URL string // scheme://host:port
	// Workspace is the host name of the server's workspace that is called, "" for
	// the first.
	Workspace string
	token     func(context.Context) (string, error)
	http      *http.Client
	// Trace is told of each call that was answered; nil for silence.
	Trace func(method, path, status string, took time.Duration)
}

// New returns a client that signs in with a token.
func New(url, token string) *Client {
	t := transport()
	t.Proxy = nil // the server is on this machine or named on purpose
	return &Client{URL: strings.TrimSuffix(url, "/"), token: func(context.Context) (string, error) { return token, nil }, http: &http.Client{Transport: t}}
}

// Remote returns a client of a workspace by its host name, which the
// environment's proxy may lead to a server: that is how production names reach
// wherry. token gives the token that is valid now.
func Remote(url string, token func(context.Context) (string, error)) *Client {
	return &Client{URL: strings.TrimSuffix(url, "/"), token: token, http: &http.Client{Transport: transport()}}
}

// In returns a client of another workspace of the same server, by its host name;
// "" is the first.
func (c *Client) In(host string) *Client {
	in := *c
	in.Workspace = host
	return &in
}

func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	return t
}

// Info is what a running server writes into its state directory.
type Info struct {
	URL        string `json:"url"`
	StorageURL string `json:"storage_url"`
	ProxyURL   string `json:"proxy_url"` // serves the production host names
	PID        int    `json:"pid"`
}

// ErrNoServer is the error of Local if no server runs in the state directory.
var ErrNoServer = errors.New("no wherry server runs here")

// Local returns a client of the server that runs in a state directory, as its
// admin; an error that is ErrNoServer if none answers.
func Local(ctx context.Context, dir state.Dir) (*Client, Info, error) {
	info, err := readInfo(dir)
	if err != nil {
		return nil, info, err
	}
	for {
		c, err := local(ctx, dir, info)
		if err != nil {
			return nil, info, err
		}
		// A server that starts takes the last one's port, and answers who read
		// the last one's file.
		now, err := readInfo(dir)
		if err != nil {
			return nil, info, err
		}
		if now == info {
			return c, info, nil
		}
		info = now
	}
}

func readInfo(dir state.Dir) (info Info, err error) {
	b, err := os.ReadFile(dir.Path("server.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return info, fmt.Errorf("%w: %s (start one with `wherry up`)", ErrNoServer, dir)
	}
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(b, &info); err != nil {
		return info, fmt.Errorf("read server.json: %w", err)
	}
	return info, nil
}

func local(ctx context.Context, dir state.Dir, info Info) (*Client, error) {
	token, err := os.ReadFile(dir.Path("admin-token"))
	if err != nil {
		return nil, err
	}
	c := New(info.URL, strings.TrimSpace(string(token)))
	if err := c.Health(ctx); err != nil {
		return nil, fmt.Errorf("%w: %s names %s, which does not answer (start one with `wherry up`)", ErrNoServer, dir.Path("server.json"), info.URL)
	}
	// Another server may have taken the port of one that died.
	if err := c.Do(ctx, "GET", "/api/wherry/deployments/host", nil, nil); wherry.CodeOf(err) == wherry.CodeUnauthenticated {
		return nil, fmt.Errorf("%w: the server at %s is not of the state directory %s", ErrNoServer, info.URL, dir)
	} else if err != nil {
		return nil, err
	}
	return c, nil
}

// Health asks whether the server is alive.
func (c *Client) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", c.URL+"/health", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", c.URL, resp.Status)
	}
	return nil
}

// Do sends in as JSON, unless it is nil, and reads the answer into out, unless
// that is nil. An answer that is an error is a *wherry.Error.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.Send(ctx, method, path, body, -1)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// Send sends a body as it is (size bytes, -1 for unknown) and returns a good
// answer, whose body the caller closes. An answer that is an error is a
// *wherry.Error.
func (c *Client) Send(ctx context.Context, method, path string, body io.Reader, size int64) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.URL+path, body)
	if err != nil {
		return nil, err
	}
	if size >= 0 {
		r.ContentLength = size
	}
	token, err := c.token(ctx)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("User-Agent", "wherry")
	if c.Workspace != "" {
		r.Header.Set(wherry.WorkspaceHeader, c.Workspace)
	}
	if run := os.Getenv(wherry.CIRunEnv); run != "" { // so that a deployment names the workflow that made it
		r.Header.Set(wherry.CIRunHeader, run)
	}
	began := time.Now()
	resp, err := c.http.Do(r)
	if err == nil && c.Trace != nil {
		c.Trace(method, path, resp.Status, time.Since(began))
	}
	if err != nil {
		return nil, fmt.Errorf("the server at %s does not answer: %w", c.URL, err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	e := &wherry.Error{}
	if json.Unmarshal(b, e) != nil || e.Code == "" {
		return nil, fmt.Errorf("%s %s answered %s: %s", method, path, resp.Status, strings.TrimSpace(string(b)))
	}
	return nil, e
}
