package stabilityhttp

import (
	"fmt"
	"hash/maphash"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Keys are remembered by host and scheme, and however many hosts there are, each gets its
// own.
func TestKeyCache(t *testing.T) {
	c := &keyCache{seed: maphash.MakeSeed()}
	for range 3 {
		for i := range 3 * len(c.slots) {
			host := fmt.Sprintf("Host-%d.test", i)
			for range 2 {
				require.Equal(t, strings.ToLower(host)+":80", c.get(&url.URL{Scheme: "http", Host: host}))
				require.Equal(t, strings.ToLower(host)+":443", c.get(&url.URL{Scheme: "https", Host: host}))
			}
		}
	}
	long := strings.Repeat("a", 1000)
	require.Equal(t, long+":80", c.get(&url.URL{Scheme: "http", Host: long}))
	for i := range c.slots {
		if known := c.slots[i].Load(); known != nil {
			require.LessOrEqual(t, len(known.host), longHost)
		}
	}
}
