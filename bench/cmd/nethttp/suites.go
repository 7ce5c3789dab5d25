package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A suite is the tests of one package.
type suite struct {
	pkg     string
	version string // of its module; "" where it comes with Go
	skip    map[string]string
}

// suites are what is run. Versions are pinned, so that a difference is ours or Go's.
var suites = []suite{
	{pkg: "net/http", skip: map[string]string{
		"TestOmitHTTP2":         "runs the go command on net/http with other build tags, half a minute long, and sends no request",
		"TestOmitHTTP2Vet":      "runs the go command on net/http with other build tags, and sends no request",
		"TestCmdGoNoHTTPServer": "looks at the symbols of the go command, and sends no request",
	}},
	{pkg: "net/http/httptest"},
	{pkg: "net/http/httputil"},
	{pkg: "connectrpc.com/connect", version: "v1.21.1"},
	{pkg: "github.com/coder/websocket", version: "v1.8.15"},
}

// A binary is the compiled tests of a suite.
type binary struct {
	suite
	path   string
	folder string // in which its tests run
}

// A workshop builds the test binaries.
type workshop struct {
	top  string // of the checkout
	dir  string // a temporary one
	root string // GOROOT
}

// goroot is where the Go that is installed has its source.
func (w *workshop) goroot(ctx context.Context) (string, error) {
	out, err := w.command(ctx, w.top, "env", "GOROOT")
	return strings.TrimSpace(string(out)), err
}

// build compiles the tests of a suite, with guards.
func (w *workshop) build(ctx context.Context, s suite) (*binary, error) {
	name := strings.NewReplacer("/", "_", ".", "_").Replace(s.pkg)
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	o, err := newOverlay(w.root, dir)
	if err != nil {
		return nil, err
	}
	b := &binary{suite: s, path: filepath.Join(dir, "tests"), folder: filepath.Join(w.root, "src", filepath.FromSlash(s.pkg))}
	from := w.top
	if s.version != "" {
		b.folder = filepath.Join(dir, "module")
		from = b.folder
		if err := w.fetch(ctx, s, from); err != nil {
			return nil, err
		}
	}
	if err := o.guard(b.folder, filepath.Base(s.pkg), dir); err != nil {
		return nil, err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := o.write(list); err != nil {
		return nil, err
	}
	_, err = w.command(ctx, from, "test", "-c", "-vet=off", "-overlay", list, "-o", b.path, s.pkg)
	return b, err
}

// fetch puts a copy of the suite's module into a folder, and requires this library in
// it.
func (w *workshop) fetch(ctx context.Context, s suite, folder string) error {
	out, err := w.command(ctx, w.dir, "mod", "download", "-json", s.pkg+"@"+s.version)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	if err := os.CopyFS(folder, os.DirFS(module.Dir)); err != nil {
		return err
	}
	const library = "github.com/crumplezone/stability"
	if _, err := w.command(ctx, folder, "mod", "edit", "-require="+library+"@v0.0.0", "-replace="+library+"="+w.top); err != nil {
		return err
	}
	// What imports the library is not in the folder but in the overlay, of which tidy
	// knows nothing.
	use := filepath.Join(folder, "zz_stability_use_test.go")
	text := fmt.Sprintf("package %s_test\n\nimport _ %q\n", filepath.Base(s.pkg), library+"/stabilityhttp")
	if err := os.WriteFile(use, []byte(text), 0o600); err != nil {
		return err
	}
	_, err = w.command(ctx, folder, "mod", "tidy")
	return err
}

// command runs the go command outside any workspace, and returns what it says.
func (w *workshop) command(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // The arguments are this command's own.
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOTOOLCHAIN=local")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, said.Bytes(), out)
	}
	return out, nil
}

// tests are the names of the suite's tests, but for those that it skips.
func (b *binary) tests(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, b.path, "-test.list", "^(Test|Example|Fuzz)") //nolint:gosec // It was just built.
	cmd.Dir = b.folder
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("the tests of %s: %w", b.pkg, err)
	}
	names := strings.Fields(string(out))
	return slices.DeleteFunc(names, func(name string) bool { return b.skip[name] != "" }), nil
}
