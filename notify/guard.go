package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// limit is how long a webhook may take, all hops together.
	limit = 10 * time.Second
	// maxHops bounds redirects.
	maxHops = 3
)

// guarded returns a client that connects to public addresses only, but for the
// hosts that are allowed. The address is looked at when it is connected to, for
// each hop, so that neither a name that changes its mind nor a redirect leads
// into the network of the server.
func guarded(allow []string) *http.Client {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: limit / 2}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(allow, func(a string) bool { return strings.EqualFold(a, host) || strings.EqualFold(a, address) }) {
			d.Control = func(_, address string, _ syscall.RawConn) error { return onlyPublic(host, address) }
		}
		return d.DialContext(ctx, network, address)
	}
	return &http.Client{
		Timeout: limit,
		// No proxy: it would connect in our place, to wherever it may. Connections
		// are not kept: notices are few, and each is looked at anew.
		Transport: &http.Transport{
			DialContext: dial, TLSHandshakeTimeout: limit / 2, ResponseHeaderTimeout: limit, DisableKeepAlives: true,
			MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxHops:
				return fmt.Errorf("the receiver redirects more than %d times", maxHops)
			case r.Method != http.MethodPost:
				return errors.New("the receiver redirects in a way that loses the notice (301, 302 or 303): give the address that it redirects to")
			case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
				return errors.New("the receiver redirects from https to http")
			}
			return nil
		},
	}
}

// onlyPublic refuses an address, as it is about to be connected to, that is not
// on the public internet.
func onlyPublic(host, address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if public(a.Addr()) {
		return nil
	}
	return undeliverable(fmt.Sprintf("%s is at %s, which is no public address: start the server with `wherry up --allow-webhook-host %s` if it is meant", host, a.Addr().Unmap(), host))
}

// notPublic are the blocks of IANA's registries of special-purpose addresses
// that netip does not know, or that carry another address in themselves.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
	// The platform's own address inside of Azure, from where it answers for the
	// machine.
	netip.MustParsePrefix("168.63.129.16/32"),
}

func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	return !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}
