package stabilityhttp

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// unknownClient is the key of all clients without a network address.
const unknownClient = "unknown"

// ClientIP is the key of a client by its network address, without the port: the address
// of IPv4, or the first 64 bits of IPv6, such as "2001:db8:1:2::/64", of which one
// machine has all the rest to choose from. A client of IPv4 that comes through a
// translator or a tunnel (mapped, SIIT, NAT64 with its well-known prefix, 6to4, Teredo)
// is the one that it is without.
//
// A home has up to 256 such keys (a /56) and a site 65,536 (a /48): see
// [HandlerConfig.NetworkLimit]. Behind a proxy the address is the proxy's: see
// [ClientIPBehind]. What has no address, such as a client over a Unix socket, has the key
// "unknown": all of them are one client.
func ClientIP(r *http.Request) string {
	ip, ok := parseIP(r.RemoteAddr)
	if !ok {
		return unknownClient
	}
	return keyOfIP(ip)
}

// ClientIPBehind returns a function like [ClientIP] for a server behind so many proxies
// in a row, each of which appends to the field X-Forwarded-For the address that it got the
// request from. The client is what the outermost of them appended: what a client puts in
// the field itself stands further left, and is not read. With 0 the function is ClientIP.
//
// The number must be right. With one too many, clients choose their key themselves; so do
// those that reach the server past the proxies: let it be reached through them only.
// Where the field has fewer entries, or what the outermost proxy appended is no address,
// the client is that of the connection: a proxy, whose clients all share its key. It
// panics where proxies is negative.
func ClientIPBehind(proxies int) func(*http.Request) string {
	if proxies < 0 {
		panic(fmt.Errorf("stabilityhttp: ClientIPBehind(%d): the number of proxies must not be negative", proxies))
	}
	return func(r *http.Request) string {
		if entry, ok := fromRight(r.Header["X-Forwarded-For"], proxies); ok {
			if ip, ok := parseIP(entry); ok {
				return keyOfIP(ip)
			}
		}
		return ClientIP(r)
	}
}

// fromRight returns the nth entry from the right of a list in the lines of a field; there
// is no zeroth. It reads no more of them than it must.
func fromRight(lines []string, n int) (entry string, ok bool) {
	for i := len(lines) - 1; i >= 0 && n > 0; i-- {
		for rest, more := lines[i], true; more && n > 0; n-- {
			comma := strings.LastIndexByte(rest, ',')
			entry, more = rest[comma+1:], comma >= 0
			if more {
				rest = rest[:comma]
			}
		}
	}
	return strings.Trim(entry, " \t"), n == 0 && len(lines) > 0
}

// parseIP reads an address, with or without a port.
func parseIP(s string) (netip.Addr, bool) {
	const longest = 64 // with a zone, which is no part of a key
	if zone := strings.IndexByte(s, '%'); zone >= 0 {
		end := strings.IndexByte(s[zone:], ']')
		if end < 0 {
			end = len(s) - zone
		}
		s = s[:zone] + s[zone+end:]
	}
	if s == "" || len(s) > longest {
		return netip.Addr{}, false
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip, true
	}
	if addr, err := netip.ParseAddrPort(s); err == nil {
		return addr.Addr(), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok { // without a port, as some proxies write it
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			ip, err := netip.ParseAddr(inner)
			return ip, err == nil && ip.Is6()
		}
	}
	return netip.Addr{}, false
}

// keyOfIP is the key of a client with that address.
func keyOfIP(ip netip.Addr) string {
	ip = ip.Unmap()
	if ip.Is6() {
		if inside, ok := ipv4In(ip.As16()); ok {
			ip = inside
		}
	}
	if ip.Is4() {
		return ip.String()
	}
	return netip.PrefixFrom(ip, 64).Masked().String()
}

// ipv4In returns the address of a client of IPv4 that is in its address of IPv6. One that
// is not reached from everywhere, such as 10.0.0.1, can be in there only by mistake or
// forgery, and is somebody else's where it is not: it is not taken.
func ipv4In(b [16]byte) (netip.Addr, bool) {
	var v4 [4]byte
	switch {
	case has(b, 0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0), // NAT64 (RFC 6052)
		has(b, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0): // SIIT (RFC 2765)
		v4 = [4]byte(b[12:])
	case has(b, 0x20, 0x02): // 6to4 (RFC 3056)
		v4 = [4]byte(b[2:])
	case has(b, 0x20, 0x01, 0, 0): // Teredo (RFC 4380), which inverts it
		v4 = [4]byte{^b[12], ^b[13], ^b[14], ^b[15]}
	default:
		return netip.Addr{}, false
	}
	ip := netip.AddrFrom4(v4)
	return ip, ip.IsGlobalUnicast() && !ip.IsPrivate() && v4[0] != 0 && v4[0] < 240
}

func has(b [16]byte, prefix ...byte) bool {
	return string(b[:len(prefix)]) == string(prefix)
}

// networkOf returns the /48 of a client's key that is a prefix or an address of IPv6.
func networkOf(key string) (string, bool) {
	prefix, err := netip.ParsePrefix(key)
	if err != nil {
		ip, err := netip.ParseAddr(key)
		if err != nil {
			return "", false
		}
		prefix = netip.PrefixFrom(ip.WithZone("").Unmap(), ip.Unmap().BitLen())
	}
	if !prefix.Addr().Is6() || prefix.Addr().Is4In6() || prefix.Bits() < 48 {
		return "", false
	}
	return netip.PrefixFrom(prefix.Addr(), 48).Masked().String(), true
}
