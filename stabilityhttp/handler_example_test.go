package stabilityhttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/stabilityhttp"
)

func ExampleNewHandler() {
	signUp := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") })
	guarded := stabilityhttp.NewHandler(signUp, stabilityhttp.HandlerConfig{
		Name:         "sign-up",
		Edge:         true, // anybody can be a client
		MaxTimeout:   10 * time.Second,
		RateLimit:    ratelimit.NewGroup(ratelimit.Config{Rate: 0.1, Burst: 1}, stability.Keys{Max: 10_000}),
		NetworkLimit: ratelimit.NewGroup(ratelimit.Config{Rate: 10, Burst: 100}, stability.Keys{}), // of each IPv6 /48
		Bulkhead:     bulkhead.New(bulkhead.Config{Name: "sign-up", Limit: 100, Queue: 200, MaxWait: time.Second}),
	})
	mux := http.NewServeMux()
	mux.Handle("/", guarded)
	mux.Handle("/ready", guarded.Readiness())

	for range 2 {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(w.Code, w.Header().Get("RateLimit"))
	}
	guarded.Drain() // on SIGTERM
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ready", nil))
	fmt.Println(w.Code)
	// Output:
	// 200 "sign-up";r=0;t=10
	// 429 "sign-up";r=0;t=10
	// 503
}
