package stability_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

// A key that a client chose began lines of the log, moved the cursor of who read it, turned
// its direction round, and was as long as the client liked.
func TestRejectionQuotesWhatOthersChose(t *testing.T) {
	for _, c := range []struct{ name, key, want string }{
		{"payments", "[2001:db8::1]:443", "payments[[2001:db8::1]:443]: breaker: call rejected"},
		{"payments", "größe 日本 🙂", "payments[größe 日本 🙂]: breaker: call rejected"},
		{"payments", "eu\n2026/12/01 ERROR all is lost", `payments["eu\n2026/12/01 ERROR all is lost"]: breaker: call rejected`},
		{"\x1b[2J", "", `"\x1b[2J": breaker: call rejected`},
		{"", "user\u202egnp.exe", `["user\u202egnp.exe"]: breaker: call rejected`},
		{"", "\xff\xfe", `["\xff\xfe"]: breaker: call rejected`},
		{"", strings.Repeat("ä", 300), "[" + strings.Repeat("ä", 256) + "…]: breaker: call rejected"},
	} {
		require.EqualError(t, &stability.Rejection{Policy: "breaker", Name: c.name, Key: c.key}, c.want)
	}
	var o stability.Outcome
	require.Less(t, len(fmt.Sprint(o.UnmarshalText(make([]byte, 1<<20)))), 300)
}
