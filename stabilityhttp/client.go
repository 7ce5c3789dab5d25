package stabilityhttp

import "net/http"

// NewClient returns a client that sends through NewTransport(nil, cfg). Its Timeout
// is not set: the Transport has one, see TransportConfig.Timeout. It panics with the error of [TransportConfig.Validate] when cfg is not usable.
func NewClient(cfg TransportConfig) *http.Client {
	return &http.Client{Transport: NewTransport(nil, cfg)}
}
