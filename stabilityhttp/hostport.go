package stabilityhttp

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// HostPort is the key of a request in the default configuration: host and port, such as
// "example.com:443". A host has one key, however the URL writes it. It is in lower case,
// and in ASCII where it is an internationalized name; without the dot at its end; an IP
// address in its shortest form, and one of IPv4 that is mapped into IPv6 as that of IPv4.
// The port is there also where it is the scheme's own, and without zeros before it. The
// zone of an address of IPv6 is in the key only where the address belongs to one link.
func HostPort(req *http.Request) string {
	return hostKeys.get(req.URL)
}

// hostPort builds the key of a URL.
func hostPort(u *url.URL) string {
	host := u.Host
	hasPort, canonical := isCanonical(host)
	if !canonical {
		host, hasPort = canonicalHost(u)
	}
	switch {
	case hasPort:
		return host
	case u.Scheme == "https":
		return host + ":443"
	default:
		return host + ":80"
	}
}

// isCanonical reports whether host, of a URL, is a name or an address of IPv4 as a key has
// it, and whether with a port. It knows the commonest of them.
func isCanonical(host string) (hasPort, canonical bool) {
	for i := range len(host) {
		switch c := host[i]; {
		case isDigit(c):
		case isLower(c), c == '-', c == '_':
			if hasPort {
				return false, false
			}
		case c == '.':
			if hasPort || i+1 == len(host) || host[i+1] == ':' {
				return false, false
			}
		case c == ':':
			if hasPort || i+1 == len(host) || host[i+1] == '0' {
				return false, false
			}
			hasPort = true
		default:
			return false, false
		}
	}
	return hasPort, true
}

// canonicalHost returns the host of a URL as a key has it.
func canonicalHost(u *url.URL) (host string, hasPort bool) {
	host, port := strings.TrimRight(u.Hostname(), "."), u.Port()
	if !isASCII(host) {
		host = strings.ToValidUTF8(strings.TrimRight(toASCII(host), "."), "\uFFFD")
	}
	// Of ASCII only: a name that cannot be converted would become one that can.
	host = strings.Map(lowerASCII, host)
	if ip, err := netip.ParseAddr(host); err == nil {
		host = canonicalIP(ip).String()
	}
	if strings.ContainsAny(host, ":[]") { // an address of IPv6, or what would be read as one in brackets
		host = "[" + host + "]"
	}
	if port == "" {
		return host, false
	}
	port = strings.TrimLeft(port[:len(port)-1], "0") + port[len(port)-1:]
	return host + ":" + port, true
}

func lowerASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// canonicalIP returns an address without a zone that means nothing, and one of IPv4 as such.
func canonicalIP(ip netip.Addr) netip.Addr {
	ip = ip.Unmap()
	if !ip.IsLinkLocalUnicast() && !ip.IsLinkLocalMulticast() && !ip.IsInterfaceLocalMulticast() {
		return ip.WithZone("")
	}
	zone := ip.Zone()
	if strings.Trim(zone, "0123456789") == "" { // the number of an interface
		zone = strings.TrimLeft(zone, "0")
	}
	return ip.WithZone(zone)
}

// toASCII returns a host name as net/http looks it up, which has the tables for that
// (UTS 46) and gives them to nobody: it is asked whom it would dial. A name that it cannot
// convert stays as it is.
func toASCII(host string) string {
	asked := &http.Transport{DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		return nil, wouldDial(addr)
	}}
	req := &http.Request{URL: &url.URL{Scheme: "http", Host: net.JoinHostPort(host, "1")}, Header: http.Header{}}
	resp, err := asked.RoundTrip(req)
	if err == nil { // which cannot be
		closeBody(resp.Body)
		return host
	}
	if addr, ok := errors.AsType[wouldDial](err); ok {
		if name, _, err := net.SplitHostPort(string(addr)); err == nil {
			return name
		}
	}
	return host
}

// wouldDial is the address that would have been dialed.
type wouldDial string

func (addr wouldDial) Error() string { return "stabilityhttp: not dialed: " + string(addr) }
