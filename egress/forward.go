package egress

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// dialTimeout is how long a host may take to answer.
const dialTimeout = 20 * time.Second

// connect answers CONNECT: a name of ours ends here, any other is passed on.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	host := hostName(r.Host)
	var far net.Conn
	switch owner := ownerOf(host); owner {
	case refused:
		http.Error(w, refusal(host), http.StatusForbidden)
		return
	case none:
		var err error
		if far, err = p.dial(r.Context(), r.Host); err != nil {
			status := http.StatusBadGateway
			if errors.Is(err, errInside) {
				status = http.StatusForbidden
			}
			http.Error(w, "wherry: "+err.Error(), status)
			return
		}
	}
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		if far != nil {
			_ = far.Close()
		}
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = near.SetDeadline(time.Time{})
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = near.Close()
	}
	c := newConn(near, buffered.Reader)
	if far == nil {
		c.target = host
		p.dispatch(c)
		return
	}
	stop := context.AfterFunc(r.Context(), func() { _, _ = c.Close(), far.Close() })
	defer stop()
	tunnel(c, far)
}

// tunnel copies both ways until both ends are done.
func tunnel(a, b net.Conn) {
	done := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // either end may break off at any time
		if w, ok := to.(interface{ CloseWrite() error }); ok {
			_ = w.CloseWrite()
		}
		done <- struct{}{}
	}
	go pass(a, b)
	go pass(b, a)
	<-done
	<-done
	_ = a.Close()
	_ = b.Close()
}

// newForward passes on plain requests.
func (p *Proxy) newForward() http.Handler {
	transport := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { return p.via(r.URL) },
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if u, err := p.via(&url.URL{Scheme: "http", Host: "example.com"}); err == nil && u != nil && proxyAddr(u) == addr {
				return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
			}
			return p.dialOutside(ctx, network, addr)
		},
		IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4,
	}
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.Header.Del("Proxy-Authorization") },
		Transport: transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			status := http.StatusBadGateway
			if errors.Is(err, errInside) {
				status = http.StatusForbidden
			}
			http.Error(w, "wherry: "+err.Error(), status)
		},
	}
}

// via returns the proxy of the server's own environment for u, nil for none.
func (p *Proxy) via(u *url.URL) (*url.URL, error) {
	if err := checkName(hostName(u.Host)); err != nil {
		return nil, err
	}
	up, err := p.upstream(u)
	if err != nil || up == nil || p.own[proxyAddr(up)] || p.reach[proxyAddr(u)] != "" {
		return nil, err // a server started from a shell that uses this very proxy
	}
	return up, nil
}

// proxyAddr is host:port of a URL.
func proxyAddr(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "https" {
		return u.Host + ":443"
	}
	return u.Host + ":80"
}

// dial opens a connection to target, host:port, through the environment's
// proxy if there is one.
func (p *Proxy) dial(ctx context.Context, target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	up, err := p.via(&url.URL{Scheme: "https", Host: target})
	if err != nil {
		return nil, err
	}
	if up == nil || p.reach[target] != "" {
		return p.dialOutside(ctx, "tcp", target)
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", proxyAddr(up))
	if err != nil {
		return nil, fmt.Errorf("the environment's proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	request := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if up.User != nil {
		password, _ := up.User.Password()
		request += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(up.User.Username()+":"+password)) + "\r\n"
	}
	if _, err := io.WriteString(c, request+"\r\n"); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("the environment's proxy: %w", err)
	}
	reader := bufio.NewReader(c)
	res, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // what follows the answer is the tunnel
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("the environment's proxy: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		_ = c.Close()
		return nil, fmt.Errorf("the environment's proxy answers %s for %s", res.Status, target)
	}
	return newConn(c, reader), nil
}

// Reach lets what goes through the proxy come to services of this machine, or
// of its network, under names that the admin gave: addresses by name:port. It
// is called before Run.
func (p *Proxy) Reach(addresses map[string]string) { p.reach = addresses }

// dialOutside dials what is not of this machine, or what the admin lets through.
func (p *Proxy) dialOutside(ctx context.Context, network, addr string) (net.Conn, error) {
	if to := p.reach[addr]; to != "" {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, to)
	}
	return outside.DialContext(ctx, network, addr)
}

// errInside refuses what is on this machine: a task must not get to its
// loopback, to what listens on all its addresses, or to a cloud's metadata
// service, through us.
var errInside = errors.New("this address is of the machine itself, and tasks may not reach it")

// outside dials public and private networks, never the machine itself; the
// address is checked once it is resolved.
var outside = &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	return checkName(host)
}}

// metadata addresses that are not link-local: Azure's, Alibaba's, AWS's.
var metadata = map[string]bool{"168.63.129.16": true, "100.100.100.200": true, "fd00:ec2::254": true}

// checkName refuses names and addresses of the machine itself.
func checkName(host string) error {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || host == "metadata.google.internal" || metadata[host] {
		return errInside
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil // a name: checked again once it is resolved
	}
	if ip = ip.Unmap(); ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsMulticast() || ip.IsUnspecified() {
		return errInside
	}
	own, err := net.InterfaceAddrs() // asked each time: addresses come and go
	if err != nil {
		return err
	}
	for _, a := range own {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == ip.WithZone("") {
			return errInside
		}
	}
	return nil
}
