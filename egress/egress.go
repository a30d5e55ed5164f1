// Package egress serves the production host names that we own, to tasks in
// sandboxes and to programs outside of them that use our proxy: code that names
// login.microsoftonline.com or an account below dfs.core.windows.net reaches
// this server and never the cloud. All other public hosts are passed on.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/sync/errgroup"

	"github.com/wherry-ml/wherry/state"
)

// Handlers answer for the names that we own. A nil one answers 501.
type Handlers struct {
	// Web serves requests for our own address (http://127.0.0.1:PORT).
	Web http.Handler
	// Workspace serves *.azuredatabricks.net and its like.
	Workspace http.Handler
	// Storage serves <account>.dfs|blob.core.windows.net.
	Storage http.Handler
	// SignIn serves login.microsoftonline.com.
	SignIn http.Handler
	// Azure serves management.azure.com, graph.microsoft.com and *.vault.azure.net.
	Azure http.Handler
	// Actions serves token.actions.githubusercontent.com.
	Actions http.Handler
}

// Proxy is the proxy and the servers behind it.
type Proxy struct {
	handlers Handlers
	ca       *authority
	tls      *tls.Config // one for all, so that sessions resume
	upstream func(*url.URL) (*url.URL, error)
	own      map[string]bool   // addresses that must not be taken for an upstream proxy
	reach    map[string]string // addresses of Reach
	plain    *queue            // connections that speak HTTP
	secure   *queue            // connections that speak TLS, as *tls.Conn
	forward  http.Handler
	incoming chan net.Listener
	ended    chan struct{} // closed when Run ends
}

// New loads the installation's certificate authority, or makes it, and writes
// the trust stores of Directory. Call Handle before Run.
func New(dir state.Dir) (*Proxy, error) {
	ca, err := openAuthority(dir.Keys())
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if err := ca.writeTrust(Directory(dir)); err != nil {
		return nil, fmt.Errorf("trust store: %w", err)
	}
	p := &Proxy{
		ca: ca, upstream: httpproxy.FromEnvironment().ProxyFunc(), own: map[string]bool{}, plain: newQueue(), secure: newQueue(),
		incoming: make(chan net.Listener), ended: make(chan struct{}),
	}
	p.forward = p.newForward()
	p.tls = p.tlsConfig()
	return p, nil
}

// Handle says who answers. Parts that need the proxy are made before those that
// answer for it, so this comes later than New.
func (p *Proxy) Handle(h Handlers) { p.handlers = h }

// Run serves programs outside of sandboxes on l, and what Serve is given,
// until ctx ends. It is called once.
func (p *Proxy) Run(ctx context.Context, l net.Listener) error {
	defer close(p.ended)
	p.own[l.Addr().String()] = true
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serve(ctx, http.HandlerFunc(p.servePlain), p.plain) })
	g.Go(func() error { return serve(ctx, http.HandlerFunc(p.serveOwned), p.secure) })
	g.Go(func() error { return p.accept(ctx, l) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case l := <-p.incoming:
				g.Go(func() error {
					// One box less is no reason to end the others.
					if err := p.accept(ctx, l); err != nil {
						slog.Warn("listener of a sandbox", "error", err)
					}
					return nil
				})
			}
		}
	})
	return g.Wait()
}

// Serve answers on a listening socket of a box, and closes it when Run ends.
// It does not matter which of the box's addresses it is: each connection is
// served by what it speaks. Close l when the box has ended.
func (p *Proxy) Serve(_ string, l net.Listener) {
	select {
	case p.incoming <- l:
	case <-p.ended:
		_ = l.Close()
	}
}

func serve(ctx context.Context, h http.Handler, q *queue) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 5 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
		// Clients that do not trust us, or go away in the handshake, are no news.
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if s.Shutdown(grace) != nil {
			_ = s.Close()
		}
	})
	defer stop()
	if err := s.Serve(q); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// accept takes connections from l and hands each to the server for what it
// speaks.
func (p *Proxy) accept(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			continue
		}
		if err != nil {
			return err
		}
		go p.dispatch(newConn(c, nil))
	}
}

// firstByte is how long a new connection may stay silent.
const firstByte = time.Minute

// tlsHandshake is the first byte of a TLS connection.
const tlsHandshake = 0x16

// dispatch looks at the first byte.
func (p *Proxy) dispatch(c *conn) {
	_ = c.SetReadDeadline(time.Now().Add(firstByte))
	first, err := c.peek()
	_ = c.SetReadDeadline(time.Time{})
	switch {
	case err != nil:
		_ = c.Close()
	case first == tlsHandshake:
		p.secure.push(tls.Server(c, p.tls))
	default:
		p.plain.push(c)
	}
}

// tlsConfig shows a certificate for the name that the client asks for, if it
// is ours. Storage gets HTTP/1.1 only, as in the cloud.
func (p *Proxy) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name := strings.ToLower(h.ServerName)
		if c, ok := h.Conn.(*conn); ok && name == "" {
			name = c.target
		}
		if name == "" { // an address has no server name
			name, _, _ = net.SplitHostPort(h.Conn.LocalAddr().String())
		}
		owner := ownerOf(name)
		if ip := net.ParseIP(name); owner == none && name != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, fmt.Errorf("%s is not ours", name)
		}
		leaf, err := p.ca.leaf(name)
		if err != nil {
			return nil, err
		}
		protocols := []string{"h2", "http/1.1"}
		if owner == storage || owner == signIn {
			protocols = protocols[1:]
		}
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*leaf}, NextProtos: protocols}, nil
	}}
}

// servePlain answers what came without TLS: a proxy's requests, and those for
// our own address.
func (p *Proxy) servePlain(w http.ResponseWriter, r *http.Request) {
	switch host := hostName(r.Host); {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
	case ownerOf(host) != none:
		p.serveOwned(w, r)
	case r.URL.Host != "":
		p.forward.ServeHTTP(w, r)
	default:
		p.answer(p.handlers.Web, w, r)
	}
}

// serveOwned answers for a name that we own, or our own address under TLS.
func (p *Proxy) serveOwned(w http.ResponseWriter, r *http.Request) {
	host := hostName(r.Host)
	// Handlers see the name alone, as behind the cloud's front door.
	r.Host = strings.TrimSuffix(strings.ToLower(r.Host), ":443")
	switch ownerOf(host) {
	case workspace:
		p.answer(p.handlers.Workspace, w, r)
	case storage:
		p.answer(p.handlers.Storage, w, r)
	case signIn:
		p.answer(p.handlers.SignIn, w, r)
	case azure:
		p.answer(p.handlers.Azure, w, r)
	case actions:
		p.answer(p.handlers.Actions, w, r)
	case refused:
		refuseAzure(w, http.StatusForbidden, "Forbidden", refusal(host))
	default:
		p.answer(p.handlers.Web, w, r)
	}
}

func (p *Proxy) answer(h http.Handler, w http.ResponseWriter, r *http.Request) {
	if h == nil {
		refuseAzure(w, http.StatusNotImplemented, "NotImplemented", hostName(r.Host)+" is not served by this wherry")
		return
	}
	h.ServeHTTP(w, r)
}

// hostName is the lower-case name in host[:port].
func hostName(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
