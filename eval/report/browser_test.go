package report

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"image/png"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"headinfer/eval"
)

// browser finds a Chromium. Where there is none the test is skipped, but not in
// continuous integration.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no chromium is installed, and CI=true says that it should be")
	}
	t.Skip("no chromium is installed; the page is not opened in a browser")
	return ""
}

// tab is a page in a headless browser, and what went wrong in it.
type tab struct {
	context.Context
	mu       sync.Mutex
	wrong    []string
	requests []string
}

func openTab(t *testing.T) *tab {
	t.Helper()
	if testing.Short() {
		t.Skip("short")
	}
	path := browser(t)
	dir, err := os.MkdirTemp("", "report-browser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The browser's children may write for a moment after it has gone.
		for range 50 {
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.UserDataDir(dir),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{Context: ctx}
	if err := chromedp.Do(ctx); err != nil { // starts the browser, whose life is that of the context
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	if err == nil {
		_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hear notes errors, and what the page asks for.
func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.wrong = append(b.wrong, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.wrong = append(b.wrong, fmt.Sprintf("console: %v", e.Type))
	case *log.EventEntryAdded:
		b.wrong = append(b.wrong, "log: "+e.Entry.Text)
	case *network.EventLoadingFailed:
		b.wrong = append(b.wrong, "not loaded: "+e.ErrorText)
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

// show opens a page as a screen of a width and a colour scheme does.
func (b *tab) show(t *testing.T, address string, width int64, scheme string) {
	t.Helper()
	_, err := chromedp.Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err == nil {
		err = chromedp.Do(b, chromedp.EmulateViewport(width, 900), chromedp.Navigate(address))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// evaluate returns what an expression comes to on the page.
func evaluate[T any](t *testing.T, b *tab, expression string) T {
	t.Helper()
	v, err := chromedp.Run(b, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// drawing is what a picture looks like on a page.
type drawing struct {
	Width  float64  `json:"width"`
	Height float64  `json:"height"`
	Out    []string `json:"out"`   // texts that are outside it
	Small  []string `json:"small"` // texts too small to read
	Texts  []string `json:"texts"`
	Marks  int      `json:"marks"`
}

// drawings measures the pictures that are shown.
const drawings = `[...document.querySelectorAll('figure svg')].filter(s => s.getClientRects().length).map(s => {
	const all = s.getBoundingClientRect(), texts = [...s.querySelectorAll('text')];
	const outside = t => { const r = t.getBoundingClientRect(); return r.left < all.left - 1 || r.right > all.right + 1 || r.top < all.top - 1 || r.bottom > all.bottom + 1 };
	const scale = all.width / s.viewBox.baseVal.width;
	return {width: all.width, height: all.height, out: texts.filter(outside).map(t => t.textContent),
		small: texts.filter(t => parseFloat(getComputedStyle(t).fontSize) * scale < 11).map(t => t.textContent),
		texts: texts.map(t => t.textContent), marks: s.querySelectorAll('rect,circle,polygon,polyline').length}})`

// TestBrowser opens a page on a wide and a narrow screen, light and dark: no errors,
// nothing asked for but the page, no sideways scrolling, pictures that can be read and
// have the figures, and colours that stand out from the ground.
func TestBrowser(t *testing.T) {
	p, dir := samplePage(fresh(t)), t.TempDir()
	if _, err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	address := (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(dir, PageFile))}).String()
	b := openTab(t)
	for _, width := range []int64{1280, 400} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprint(width, " ", scheme), func(t *testing.T) {
				b.show(t, address, width, scheme)
				if got := evaluate[string](t, b, `document.title`); got != p.Title {
					t.Errorf("the title %q", got)
				}
				if got := evaluate[int64](t, b, `document.scrollingElement.scrollWidth`); got > width {
					t.Errorf("the page is %d wide and scrolls sideways", got)
				}
				shown := evaluate[[]drawing](t, b, drawings)
				if len(shown) != len(p.pictures()) {
					t.Fatalf("%d pictures of %d are shown", len(shown), len(p.pictures()))
				}
				for i, d := range shown {
					name := p.pictures()[i].Name
					if d.Width < 150 || d.Height < 80 || d.Marks < 5 {
						t.Errorf("%s is %g × %g, of %d marks", name, d.Width, d.Height, d.Marks)
					}
					if len(d.Out)+len(d.Small) > 0 {
						t.Errorf("%s: outside it are %q, too small are %q", name, d.Out, d.Small)
					}
					checkTexts(t, name, d.Texts)
				}
				cells := evaluate[[]string](t, b, `[...document.querySelectorAll('td')].map(c => c.innerText)`)
				if want := slices.Concat(p.Sections[0].Parts[1].(Table).Rows...); !slices.Equal(cells, want) {
					t.Errorf("cells %q, want %q", cells, want)
				}
				checkBars(t, b, p.Sections[1].Parts[1].(Picture).Draw.(eval.Stacks))
				checkGround(t, b, scheme)
			})
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.wrong) > 0 {
		t.Errorf("the browser says %q", b.wrong)
	}
	for _, r := range b.requests {
		if r != address && !strings.HasPrefix(r, "data:") {
			t.Errorf("the page asked for %s", r)
		}
	}
	if len(b.requests) < 4 {
		t.Errorf("%d requests were seen of 4 pages", len(b.requests))
	}
}

// checkBars compares the width of each part of the bars that are shown with its figure.
func checkBars(t *testing.T, b *tab, s eval.Stacks) {
	t.Helper()
	widths := evaluate[[]float64](t, b, `[...document.querySelectorAll('figure svg rect')].filter(r => r.getClientRects().length &&
		r.textContent.startsWith('128Ki tokens, ')).map(r => r.getBoundingClientRect().width)`)
	var parts []float64
	for _, bar := range s.Groups[0].Bars {
		parts = append(parts, bar.Parts...)
	}
	if len(widths) != len(parts) {
		t.Fatalf("%d parts of bars are shown of %d", len(widths), len(parts))
	}
	for i, v := range parts {
		if want := v * widths[0] / parts[0]; math.Abs(widths[i]-want) > 0.5 {
			t.Errorf("part %d is %g wide, want %g for %g", i, widths[i], want, v)
		}
	}
}

// checkTexts looks for what a sample picture says.
func checkTexts(t *testing.T, name string, texts []string) {
	t.Helper()
	for _, want := range map[string][]string{
		"curves": {"prefill, seconds", "context, tokens", "adaptive", "standard", "10k"}, "memory": {"adaptive", "128Ki tokens", "keys and values", "GiB"},
		"roofline": {"FLOP/s reached", "link, 55 GB/s", "8Ki"}, "timeline-1": {"copy in", "time, µs", "h0:2 t0:4096"},
		"pipeline": {"files", "decode", "Document"}, "heat": {"depth of the fact", "1Ki", "50%"}, "heat-2": {"32Ki"},
	}[name] {
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, want) }) {
			t.Errorf("%s says %q and not %q", name, texts, want)
		}
	}
}

// checkGround looks at what is painted: the scheme's ground, and on it letters of the
// page and of its first picture that stand out.
func checkGround(t *testing.T, b *tab, scheme string) {
	t.Helper()
	data, err := chromedp.Run(b, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("REPORT_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())+".png"), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	grey := func(x, y int) int { return int(color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y) }
	ground := grey(2, 2)
	if (scheme == "dark") != (ground < 80) {
		t.Errorf("the ground is %d of 255", ground)
	}
	type area struct {
		Name            string
		X, Y, Right, Y1 float64
	}
	for _, a := range evaluate[[]area](t, b, `['h1', 'td', 'figure svg text', 'figcaption'].map(s => {
		const e = [...document.querySelectorAll(s)].find(e => e.getClientRects().length), r = e.getBoundingClientRect();
		return {Name: s, X: r.left + scrollX, Y: r.top + scrollY, Right: r.right + scrollX, Y1: r.bottom + scrollY}})`) {
		most := 0
		for y := int(a.Y); y < int(a.Y1); y++ {
			for x := int(a.X); x < min(int(a.Right), img.Bounds().Dx()); x++ {
				most = max(most, ground-grey(x, y), grey(x, y)-ground)
			}
		}
		if most < 80 {
			t.Errorf("%s differs from the ground by %d of 255", a.Name, most)
		}
	}
}

// TestPrint makes a PDF, which is on white whatever the screen is.
func TestPrint(t *testing.T) {
	p, dir := samplePage(fresh(t)), t.TempDir()
	if _, err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	b := openTab(t)
	b.show(t, (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(dir, PageFile))}).String(), 1280, "dark")
	ctx, cancel := context.WithTimeout(b, time.Minute)
	defer cancel()
	data, err := chromedp.Run(ctx, chromedp.PrintToPDF())
	if err != nil || !bytes.HasPrefix(data, []byte("%PDF-")) {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	_, err = chromedp.Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := evaluate[string](t, b, `getComputedStyle(document.body).backgroundColor`); got != "rgb(255, 255, 255)" {
		t.Errorf("on paper the ground is %s", got)
	}
	if shown := evaluate[[]drawing](t, b, drawings); len(shown) != len(p.pictures()) {
		t.Errorf("%d pictures are on paper", len(shown))
	}
	if dir := os.Getenv("REPORT_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "page.pdf"), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
