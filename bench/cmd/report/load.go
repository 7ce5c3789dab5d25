package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/crumplezone/stability/bench"
	"github.com/crumplezone/stability/bench/internal/loopback"
)

// concurrencies are how many goroutines make requests at a time, each the next one
// when it has read the response to the last.
var concurrencies = []int{1, 8, 64}

// A loaded client is one under load, over all rounds.
type loaded struct {
	throughput, p50, p99, p999 series // requests a second; nanoseconds
	cpu                        series // nanoseconds a request, of client and server
	allocs                     series // a request, of client and server
	connections                int64  // opened over all rounds
	failures                   int64
}

// load puts each client under load in turn, each round beginning with another one.
func load(concurrency int, e effort) map[string]*loaded {
	clients := bench.Clients()
	results, loads := map[string]*loaded{}, make([]func(*loaded), len(clients))
	for i, c := range clients {
		r := &loaded{}
		results[c.Name] = r
		server := httptest.NewUnstartedServer(loopback.Handler())
		var connections atomic.Int64
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		}
		server.Start()
		base := bench.Base()
		client := c.New(base)
		req, err := http.NewRequest(http.MethodGet, server.URL, nil) //nolint:noctx // It has the background's.
		if err != nil {
			panic(err)
		}
		shoot(client, req, concurrency, e.slice, &loaded{}) // connect
		loads[i] = func(r *loaded) { shoot(client, req, concurrency, 5*e.slice, r) }
		defer func() {
			r.connections = connections.Load()
			base.CloseIdleConnections()
			server.Close()
		}()
	}
	for round := range 2 * e.rounds {
		for i := range clients {
			i = (i + round) % len(clients)
			runtime.GC()
			loads[i](results[clients[i].Name])
		}
	}
	fmt.Fprintf(os.Stderr, "HTTP, %d at a time\n", concurrency)
	return results
}

// shoot makes requests for d and adds what came of it to r.
func shoot(client *http.Client, req *http.Request, concurrency int, d time.Duration, r *loaded) {
	latencies := make([][]float64, concurrency)
	var failures atomic.Int64
	var memory [2]runtime.MemStats
	runtime.ReadMemStats(&memory[0])
	cpu := processTime()
	start := time.Now()
	var done sync.WaitGroup
	for i := range latencies {
		done.Go(func() {
			for at := time.Now(); at.Sub(start) < d; {
				if err := bench.Get(client, req); err != nil {
					failures.Add(1)
				}
				now := time.Now()
				latencies[i] = append(latencies[i], float64(now.Sub(at)))
				at = now
			}
		})
	}
	done.Wait()
	took := time.Since(start)
	cpu = processTime() - cpu
	runtime.ReadMemStats(&memory[1])
	all := slices.Concat(latencies...)
	n := float64(len(all))
	r.throughput = append(r.throughput, n/took.Seconds())
	r.p50 = append(r.p50, quantile(all, 0.5))
	r.p99 = append(r.p99, quantile(all, 0.99))
	r.p999 = append(r.p999, quantile(all, 0.999))
	r.cpu = append(r.cpu, float64(cpu)/n)
	r.allocs = append(r.allocs, float64(memory[1].Mallocs-memory[0].Mallocs)/n)
	r.failures += failures.Load()
}

// processTime is the processor time that this process has used.
func processTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
