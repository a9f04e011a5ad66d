package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Page is one tab of a browser.
type Page struct {
	browser *Browser
	session string
	events  []Event // guarded by the browser's mutex
}

// Event is what the browser said by itself.
type Event struct {
	Method string
	Params json.RawMessage
}

// Open opens an empty tab of that size in CSS pixels.
func (b *Browser) Open(ctx context.Context, width, height int) (*Page, error) {
	p := &Page{browser: b}
	var target struct {
		ID string `json:"targetId"`
	}
	if err := b.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	var attached struct {
		Session string `json:"sessionId"`
	}
	if err := b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	p.session = attached.Session
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		if err := p.Call(ctx, domain+".enable", nil, nil); err != nil {
			return nil, err
		}
	}
	return p, p.Resize(ctx, width, height)
}

// Resize gives the tab a size in CSS pixels.
func (p *Page) Resize(ctx context.Context, width, height int) error {
	return p.Call(ctx, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Media emulates media features, such as prefers-color-scheme: dark.
func (p *Page) Media(ctx context.Context, features map[string]string) error {
	list := []map[string]string{}
	for name, value := range features {
		list = append(list, map[string]string{"name": name, "value": value})
	}
	return p.Call(ctx, "Emulation.setEmulatedMedia", map[string]any{"features": list}, nil)
}

// Call sends a command of the DevTools protocol and reads its result into result.
func (p *Page) Call(ctx context.Context, method string, params, result any) error {
	if params == nil {
		params = map[string]any{}
	}
	return p.browser.call(ctx, p.session, method, params, result)
}

// Go opens an address and waits until everything in it is loaded.
func (p *Page) Go(ctx context.Context, address string) error {
	var at struct {
		Problem string `json:"errorText"`
	}
	if err := p.Call(ctx, "Page.navigate", map[string]any{"url": address}, &at); err != nil {
		return err
	}
	if at.Problem != "" {
		return fmt.Errorf("opening %s: %s", address, at.Problem)
	}
	return p.Until(ctx, "document.readyState === 'complete' && location.href !== 'about:blank'")
}

// Eval evaluates an expression, awaits it if it is a promise, and reads its value into
// result.
func (p *Page) Eval(ctx context.Context, expression string, result any) error {
	var got struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text   string `json:"text"`
			Thrown struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	params := map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}
	if err := p.Call(ctx, "Runtime.evaluate", params, &got); err != nil {
		return err
	}
	if e := got.Exception; e != nil {
		return fmt.Errorf("evaluating %.200s: %s %s", expression, e.Text, e.Thrown.Description)
	}
	if result == nil || len(got.Result.Value) == 0 {
		return nil
	}
	return json.Unmarshal(got.Result.Value, result)
}

// Until waits until an expression is true.
func (p *Page) Until(ctx context.Context, expression string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		var holds bool
		err := p.Eval(ctx, expression, &holds)
		if err == nil && holds {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %.200s: %w", expression, ctx.Err())
		case <-time.After(20 * time.Millisecond): // a navigation under way ends an evaluation
		}
	}
}

// keys are those that Press knows beside characters.
var keys = map[string]map[string]any{
	"Tab":        {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
	"Enter":      {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
	"ArrowRight": {"key": "ArrowRight", "code": "ArrowRight", "windowsVirtualKeyCode": 39},
	"ArrowUp":    {"key": "ArrowUp", "code": "ArrowUp", "windowsVirtualKeyCode": 38},
}

// Press presses a key: one of keys, or a character.
func (p *Page) Press(ctx context.Context, key string) error {
	params, ok := keys[key]
	if !ok {
		params = map[string]any{"key": key, "text": key}
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		event := map[string]any{"type": kind}
		for name, value := range params {
			event[name] = value
		}
		if err := p.Call(ctx, "Input.dispatchKeyEvent", event, nil); err != nil {
			return err
		}
	}
	return nil
}

// Screenshot is a picture of the tab, or of the whole page, as PNG.
func (p *Page) Screenshot(ctx context.Context, whole bool) ([]byte, error) {
	var got struct {
		Data []byte `json:"data"`
	}
	err := p.Call(ctx, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}, &got)
	return got.Data, err
}

// Events are those of a kind so far.
func (p *Page) Events(method string) []Event {
	p.browser.mu.Lock()
	defer p.browser.mu.Unlock()
	var list []Event
	for _, e := range p.events {
		if e.Method == method {
			list = append(list, e)
		}
	}
	return slices.Clip(list)
}

// Complaints are the errors that scripts threw, and those that the browser logged, such
// as a violation of the Content-Security-Policy.
func (p *Page) Complaints() []string {
	var list []string
	for _, e := range p.Events("Runtime.exceptionThrown") {
		list = append(list, string(e.Params))
	}
	for _, e := range p.Events("Log.entryAdded") {
		var logged struct {
			Entry struct {
				Level string `json:"level"`
				Text  string `json:"text"`
				URL   string `json:"url"`
			} `json:"entry"`
		}
		if err := json.Unmarshal(e.Params, &logged); err == nil && logged.Entry.Level == "error" {
			list = append(list, logged.Entry.Text+" "+logged.Entry.URL)
		}
	}
	return list
}
