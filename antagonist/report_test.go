package antagonist

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// comparison is what the report's tests show: two variants, two classes, two
// servers, two faults.
func comparison(t *testing.T) Results {
	t.Helper()
	return Compare(t, Scenario{
		For:  40 * sec,
		Load: Load{{Name: "checkout", Rate: Constant(30), Patience: 2 * sec}, {Name: "browse", Rate: Spike(60, 90, 25*sec, 30*sec)}},
		Servers: []Server{
			{Name: "api", Workers: 50, Service: LogNormal(5*ms, 40*ms), Handle: calls("db")},
			{Name: "db", Workers: 10, Service: Exponential(50 * ms), Queue: Queue{Max: 500}},
		},
		Faults: []Fault{{Server: "db", From: 10 * sec, To: 15 * sec, Slow: 4}, {Server: "api", From: 25 * sec, To: 28 * sec, Fail: true, Share: 0.1}},
	}, Variant{Name: "one try", Client: tries(1, sec, "api")}, Variant{Name: "three tries <at once>", Client: tries(3, sec, "api")})
}

func TestReportFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	old := *reportDir
	*reportDir = dir
	defer func() { *reportDir = old }()
	<-reportsWritten
	reportsWritten <- map[string]int{} // -count runs the test more than once
	rs := comparison(t)
	if err := report(t.Name(), rs); err != nil { // a second one of the same test
		t.Fatal(err)
	}
	for _, name := range []string{"TestReportFile.html", "TestReportFile-2.html"} {
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"TestReportFile", "one try", "three tries &lt;at once&gt;", "db: slow ×4, 10s to 15s", "Answered in time: checkout"} {
			if !strings.Contains(string(page), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		for _, no := range []string{"http://", "https://", "src=", "@import", "url("} {
			if strings.Contains(string(page), no) {
				t.Errorf("%s has %q: it must load nothing", name, no)
			}
		}
	}
	file := filepath.Join(dir, "TestReportFile.html")
	*reportDir = file
	if err := report(t.Name(), rs); err == nil {
		t.Error("a file where the directory should be is no error")
	}
}

// The report in a browser: nothing on the console, every plot drawn, nothing
// wider than the window, text that can be read, in narrow and wide windows, by
// day and by night.
func TestReportInBrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is missing, and this is CI: apt-get install chromium")
		}
		t.Skip("chromium is missing, so the report was not looked at: apt-get install chromium")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "report.html")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := comparison(t).WriteReport(f, "TestCheckoutOnFriday"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b := openBrowser(t, chromium)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{400, 1600} {
			t.Run(fmt.Sprintf("%s at %d", scheme, width), func(t *testing.T) {
				b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600})
				b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}})
				b.call("Page.navigate", map[string]any{"url": "file://" + file})
				for loaded := false; !loaded; {
					b.wait("Page.loadEventFired") // which may be that of the empty page before
					b.evaluate(`document.readyState === "complete" && location.protocol === "file:"`, &loaded)
				}
				var seen struct {
					Wide     int     // pixels by which the page is wider than the window
					Plots    int     // that are there
					Empty    int     // lines without extent
					Small    float64 // the smallest text, in pixels
					Contrast float64 // the lowest of text and lines against what is behind
					Dark     bool
					Overlap  int // labels of an axis that touch one another
					Tip      string
				}
				b.evaluate(looks, &seen)
				equal(t, "pixels too wide", seen.Wide, 0)
				equal(t, "plots", seen.Plots, 11)
				equal(t, "lines without extent", seen.Empty, 0)
				equal(t, "overlapping labels", seen.Overlap, 0)
				equal(t, "dark", seen.Dark, scheme == "dark")
				if seen.Small < 12 {
					t.Errorf("the smallest text is %v pixels", seen.Small)
				}
				if seen.Contrast < 3 {
					t.Errorf("the lowest contrast is %.2f", seen.Contrast)
				}
				if !strings.Contains(seen.Tip, "second 20") || !strings.Contains(seen.Tip, "one try: ") {
					t.Errorf("the tip says %q", seen.Tip)
				}
				for _, entry := range b.console {
					t.Errorf("on the console: %s", entry)
				}
				b.console = nil
				if shots := os.Getenv("ANTAGONIST_SCREENSHOTS"); shots != "" {
					b.screenshot(filepath.Join(shots, fmt.Sprintf("%s-%d.png", scheme, width)))
				}
			})
		}
	}
}

// looks measures the page.
const looks = `(() => {
	const rgb = s => (s.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
	const light = c => {
		const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
		return .2126 * r + .7152 * g + .0722 * b;
	};
	const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
	const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
	let small = Infinity, low = Infinity, empty = 0, overlap = 0;
	for (const e of document.querySelectorAll("main *")) {
		if ([...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.getClientRects().length) {
			const style = getComputedStyle(e);
			small = Math.min(small, parseFloat(style.fontSize));
			low = Math.min(low, contrast(rgb(style.color), behind(e)));
		}
	}
	for (const p of document.querySelectorAll(".area path")) {
		const box = p.getBoundingClientRect();
		if (box.width < 100 || !p.getAttribute("d")) empty++;
		low = Math.min(low, contrast(rgb(getComputedStyle(p).stroke), behind(p.closest("figure"))));
	}
	for (const axis of document.querySelectorAll(".x, .y")) {
		const boxes = [...axis.children].map(c => c.getBoundingClientRect());
		for (let i = 1; i < boxes.length; i++) {
			const [a, b] = [boxes[i - 1], boxes[i]];
			if (axis.className === "x" ? a.right > b.left : b.bottom > a.top + 2) overlap++;
		}
	}
	const area = document.querySelector(".area"), box = area.getBoundingClientRect();
	area.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width * 20.5 / 40, clientY: box.top + 5}));
	const tip = area.querySelector(".tip").innerText;
	area.dispatchEvent(new PointerEvent("pointerleave"));
	return {
		Wide: Math.max(0, document.documentElement.scrollWidth - innerWidth),
		Plots: document.querySelectorAll(".area").length, Empty: empty, Small: small, Contrast: low, Overlap: overlap,
		Dark: light(rgb(getComputedStyle(document.body).backgroundColor)) < .2, Tip: tip,
	};
})()`

// A browser is a headless Chromium, driven over the two pipes of its DevTools
// protocol.
type browser struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	id      int
	session string
	events  []string
	console []string
}

type reply struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

func openBrowser(t *testing.T, path string) *browser {
	t.Helper()
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(context.Background(), path, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
		"--user-data-dir="+t.TempDir(), "about:blank")
	command.ExtraFiles = []*os.File{theirs, written}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirs.Close(), written.Close()
	if err := answers.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, to: ours, from: bufio.NewReader(answers)}
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil)
		_ = command.Wait() // how it exits does not matter
		_, _ = ours.Close(), answers.Close()
	})
	var target struct{ TargetID string }
	b.into(b.call("Target.createTarget", map[string]any{"url": "about:blank"}), &target)
	var session struct{ SessionID string }
	b.into(b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}), &session)
	b.session = session.SessionID
	for _, domain := range []string{"Page", "Log", "Runtime"} {
		b.call(domain+".enable", nil)
	}
	return b
}

// call sends a command and returns its result.
func (b *browser) call(method string, params map[string]any) json.RawMessage {
	b.t.Helper()
	b.id++
	command := map[string]any{"id": b.id, "method": method}
	if params != nil {
		command["params"] = params
	}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		if r := b.read(); r.ID == b.id {
			if r.Error != nil {
				b.t.Fatalf("%s: %s", method, r.Error)
			}
			return r.Result
		}
	}
}

// read returns what comes next, and keeps what is an event.
func (b *browser) read() reply {
	b.t.Helper()
	text, err := b.from.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("chromium: %v", err)
	}
	var r reply
	b.into(text[:len(text)-1], &r)
	switch r.Method {
	case "":
	case "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown":
		b.console = append(b.console, string(r.Params))
	default:
		b.events = append(b.events, r.Method)
	}
	return r
}

// wait returns when an event has come.
func (b *browser) wait(event string) {
	b.t.Helper()
	for {
		for i, e := range b.events {
			if e == event {
				b.events = b.events[i+1:]
				return
			}
		}
		b.read()
	}
}

// evaluate runs an expression in the page.
func (b *browser) evaluate(expression string, into any) {
	b.t.Helper()
	var result struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.into(b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}), &result)
	if result.ExceptionDetails != nil {
		b.t.Fatalf("in the page: %s", result.ExceptionDetails)
	}
	b.into(result.Result.Value, into)
}

func (b *browser) screenshot(file string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.into(b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}), &shot)
	image, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(file, image, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}

func (b *browser) into(text []byte, v any) {
	b.t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		b.t.Fatalf("%v in %s", err, text)
	}
}
