package stabilityhttp

import (
	"hash/maphash"
	"net/url"
	"strings"
	"sync/atomic"
)

// hostKeys are the keys of hosts that were asked for lately.
var hostKeys = keyCache{seed: maphash.MakeSeed()}

// A keyCache remembers which key belongs to a host, so that none is built for each
// request. A host is kept in one of a few slots, or not at all where it is unusually long.
type keyCache struct {
	seed  maphash.Seed
	slots [256]atomic.Pointer[hostKey]
}

// A hostKey is the key of a host. It is never changed.
type hostKey struct {
	host  string
	https bool
	key   string
}

const (
	hostProbes = 4
	longHost   = 255 // the longest name that DNS has is shorter
)

func (c *keyCache) get(u *url.URL) string {
	host, https := u.Host, u.Scheme == "https"
	if len(host) > longHost {
		return hostPort(u)
	}
	hash := maphash.String(c.seed, host)
	if https {
		hash++
	}
	// Where all are taken, any of them is as good as another to be forgotten.
	slot := &c.slots[(hash+hash>>32%hostProbes)%uint64(len(c.slots))]
	for i := range uint64(hostProbes) {
		s := &c.slots[(hash+i)%uint64(len(c.slots))]
		known := s.Load()
		if known == nil {
			slot = s
			break
		}
		if known.https == https && known.host == host {
			return known.key
		}
	}
	// What is kept must not be a piece of something large.
	k := &hostKey{strings.Clone(host), https, strings.Clone(hostPort(u))}
	slot.Store(k)
	return k.key
}
