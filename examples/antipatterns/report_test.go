package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
)

// exampleSummary is one of all scenes, with figures that nobody measured.
func exampleSummary() summary {
	s := summary{options: options{scenes: scenes, seconds: 4}}
	for i, sc := range scenes {
		r := result{Scene: sc, Unguarded: scene.Measured{Figure: 0}, Guarded: scene.Measured{Figure: 100}}
		if sc.Want.AtMost > 0 {
			r.Unguarded.Figure, r.Guarded.Figure = 12345, 1
		}
		r.Unguarded.Note("pages answered: %d of <400>", i)
		for at := time.Duration(0); at < 4*time.Second; at += 100 * time.Millisecond {
			wave := math.Abs(math.Sin(at.Seconds() + float64(i)))
			r.Unguarded.Series = append(r.Unguarded.Series, scene.Point{At: at, Value: r.Unguarded.Figure * wave})
			r.Guarded.Series = append(r.Guarded.Series, scene.Point{At: at, Value: r.Guarded.Figure})
		}
		s.Results = append(s.Results, r)
	}
	return s
}

// The report in a browser: nothing on the console, every plot drawn, nothing wider than the window, text that can be
// read, in narrow and wide windows, by day and by night.
func TestReportInBrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			require.Fail(t, "chromium is missing, and this is CI: apt-get install chromium")
		}
		t.Skip("chromium is missing, so the report was not looked at: apt-get install chromium")
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if err := reportTemplate.Execute(w, exampleSummary().contents()); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, frame, r.URL.Query().Get("width"))
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()

	for scheme, setting := range map[string]string{"dark": "0", "light": "1"} {
		for _, width := range []int{400, 1600} {
			t.Run(fmt.Sprintf("%s at %d", scheme, width), func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
					"--enable-logging=stderr", "--blink-settings=preferredColorScheme="+setting, "--user-data-dir="+t.TempDir(),
					fmt.Sprintf("%s/?width=%d", srv.URL, width))
				var log strings.Builder
				cmd.Stderr = &log
				page, err := cmd.Output()
				require.NoError(t, err, log.String())
				for line := range strings.Lines(log.String()) {
					require.NotContains(t, line, ":CONSOLE", "on the console")
				}
				var look struct {
					Width    int     // of the window that the report was in
					Wide     int     // pixels by which it is wider than that
					Plots    int     // that are there
					Empty    int     // lines without extent
					Small    float64 // the smallest text, in pixels
					Contrast float64 // the lowest of text and lines against what is behind
					Dark     bool
				}
				_, text, _ := strings.Cut(string(page), "<pre>")
				text, _, _ = strings.Cut(text, "</pre>")
				require.NoError(t, json.Unmarshal([]byte(text), &look), "%s", page)
				require.Equal(t, width, look.Width)
				require.Equal(t, 0, look.Wide, "pixels too wide")
				require.Equal(t, len(scenes), look.Plots)
				require.Equal(t, 0, look.Empty, "lines without extent")
				require.Equal(t, scheme == "dark", look.Dark)
				require.GreaterOrEqual(t, look.Small, 10.5, "the smallest text")
				require.GreaterOrEqual(t, look.Contrast, 4.5, "the lowest contrast")
			})
		}
	}
}

// frame shows the report in a window of a width, and turns into a text about how it looks.
const frame = `<!doctype html><title>frame</title><link rel="icon" href="data:,"><body><iframe src="/report" style="width:%spx;height:900px;border:0"></iframe>
<script>
addEventListener("load", () => {
	const view = document.querySelector("iframe").contentWindow, page = view.document;
	const rgb = s => (s.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
	const light = c => {
		const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
		return .2126 * r + .7152 * g + .0722 * b;
	};
	const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
	const behind = e => { for (; e; e = e.parentElement) { const c = rgb(view.getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
	let small = Infinity, low = Infinity, empty = 0;
	for (const e of page.querySelectorAll("main *")) {
		if (e.tagName === "title" || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
		const style = view.getComputedStyle(e), svg = e.ownerSVGElement;
		const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
		small = Math.min(small, parseFloat(style.fontSize) * scale);
		low = Math.min(low, contrast(rgb(svg ? style.fill : style.color), behind(e)));
	}
	for (const p of page.querySelectorAll("svg path")) {
		if (p.getBoundingClientRect().width < 100) empty++;
		low = Math.min(low, contrast(rgb(view.getComputedStyle(p).stroke), behind(p)));
	}
	const looks = JSON.stringify({
		Width: view.innerWidth, Wide: Math.max(0, page.documentElement.scrollWidth - page.documentElement.clientWidth),
		Plots: page.querySelectorAll("svg").length, Empty: empty, Small: small, Contrast: low,
		Dark: light(rgb(view.getComputedStyle(page.body).backgroundColor)) < .2,
	});
	document.body.innerHTML = "<pre>" + looks + "</pre>";
});
</script>`

func TestChart(t *testing.T) {
	s := exampleSummary()
	c := s.Chart(s.Results[0])
	require.Len(t, c.Lines, 2)
	require.Equal(t, "100 %", c.YTicks[len(c.YTicks)-1].Label)
	require.Equal(t, "at least 90 %", c.Bound.Label)
	require.Contains(t, c.Hovers[0].Text, "0.0 s to 0.2 s\nunguarded: 0 %\nguarded: 100 %")

	empty := chartOf(result{Scene: scenes[0]}, time.Second)
	require.Empty(t, empty.Lines[0].Path)
	require.Equal(t, "0.0 s to 0.1 s", empty.Hovers[0].Text)
}
