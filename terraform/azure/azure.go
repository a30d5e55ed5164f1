// Package azure is the client with which the stand-ins of azurerm and azuread
// call Azure's APIs: it signs in as those providers do, and sends JSON.
package azure

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/wherry-ml/wherry/terraform/provider"
)

// Resources that tokens are for.
const (
	Management = "https://management.azure.com"
	Graph      = "https://graph.microsoft.com"
	Storage    = "https://storage.azure.com"
	Vault      = "https://vault.azure.net"
)

// Client calls Azure's APIs as one principal.
type Client struct {
	Tenant, Subscription string
	Features             provider.Values // what the block features says
	signIn               func(ctx context.Context, resource string) (token, error)

	mu     sync.Mutex
	tokens map[string]token
}

type token struct {
	Value   string
	Expires time.Time
}

// Settings are what both providers' configurations say about signing in.
type Settings struct{ values provider.Values }

// text is a field of the configuration, else the first variable that is set.
func (s Settings) text(field string, variables ...string) string {
	if v, _ := s.values[field].(string); v != "" {
		return v
	}
	for _, name := range variables {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

func (s Settings) flag(field, variable string, usual bool) bool {
	if v, ok := s.values[field].(bool); ok {
		return v
	}
	if v := os.Getenv(variable); v != "" {
		return v == "true" || v == "1"
	}
	return usual
}

// Connect reads the configuration and the variables ARM_*; nothing is called.
func Connect(values provider.Values) (*Client, error) {
	s := Settings{values}
	c := &Client{Tenant: s.text("tenant_id", "ARM_TENANT_ID"), Subscription: s.text("subscription_id", "ARM_SUBSCRIPTION_ID"), tokens: map[string]token{}}
	if blocks, _ := values["features"].([]any); len(blocks) > 0 {
		c.Features, _ = blocks[0].(provider.Values)
	}
	return c, c.choose(s)
}

// Do sends in as JSON, unless it is nil, to a URL of the resource, and returns
// the answer's document. What is not there is provider.ErrGone.
func (c *Client) Do(ctx context.Context, resource, method, url string, in any) (provider.Document, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	doc, _, err := c.Send(ctx, resource, method, url, http.Header{"Content-Type": {"application/json"}}, body)
	return doc, err
}

// Send sends a body as it is and returns the answer's document and headers.
func (c *Client) Send(ctx context.Context, resource, method, url string, header http.Header, body []byte) (provider.Document, http.Header, error) {
	for try := 1; ; try++ {
		t, err := c.token(ctx, resource)
		if err != nil {
			return nil, nil, err
		}
		r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		for k, v := range header {
			r.Header[k] = v
		}
		r.Header.Set("Authorization", "Bearer "+t)
		r.Header.Set("Accept", "application/json")
		r.Header.Set("User-Agent", "wherry terraform")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, nil, err
		}
		b, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
		res.Body.Close()
		if err != nil {
			return nil, nil, err
		}
		busy := res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusBadGateway
		if !busy || try == 4 {
			doc, err := answer(method, url, res.StatusCode, b)
			return doc, res.Header, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(time.Duration(try) * time.Second):
		}
	}
}

// Error is an error that an API answered.
type Error struct {
	Status        int
	Code, Message string
	call          string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s answered %d %s: %s", e.call, e.Status, e.Code, e.Message)
}

func answer(method, url string, status int, b []byte) (provider.Document, error) {
	doc := provider.Document{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	bad := dec.Decode(&doc)
	switch {
	case status == http.StatusNotFound:
		return nil, provider.ErrGone
	case status < 300 && (len(bytes.TrimSpace(b)) == 0 || bad == nil):
		return doc, nil
	case status < 300:
		return nil, fmt.Errorf("%s %s answered what is no JSON: %w", method, url, bad)
	}
	e := &Error{Status: status, Code: http.StatusText(status), Message: strings.TrimSpace(string(b)), call: method + " " + url}
	if code, ok := provider.At(doc, "error", "code").(string); ok {
		e.Code = code
	}
	if m, ok := provider.At(doc, "error", "message").(string); ok {
		e.Message = m
	}
	return nil, e
}

func (c *Client) token(ctx context.Context, resource string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tokens[resource]
	if time.Until(t.Expires) > time.Minute {
		return t.Value, nil
	}
	t, err := c.signIn(ctx, resource)
	if err != nil {
		return "", fmt.Errorf("sign in for %s: %w", resource, err)
	}
	c.tokens[resource] = t
	return t.Value, nil
}

// Claims are what the token for a resource says of the caller: tid, oid, appid.
func (c *Client) Claims(ctx context.Context, resource string) (map[string]any, error) {
	t, err := c.token(ctx, resource)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(t, ".")
	if len(parts) != 3 {
		return nil, errors.New("the access token is no JWT")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	claims := map[string]any{}
	return claims, json.Unmarshal(b, &claims)
}

// Caller is the object id, client id and tenant of the caller.
func (c *Client) Caller(ctx context.Context, resource string) (object, client, tenant string, err error) {
	claims, err := c.Claims(ctx, resource)
	if err != nil {
		return "", "", "", err
	}
	text := func(name string) string { s, _ := claims[name].(string); return s }
	return text("oid"), cmp.Or(text("appid"), text("azp")), cmp.Or(text("tid"), c.Tenant), nil
}

// Time reads a date of a configuration: RFC 3339.
func Time(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q is not a date like 2026-01-02T15:04:05Z", s)
	}
	return t, nil
}
