// Package browser drives a headless Chromium by its DevTools protocol, over a pipe. Tests
// and measurements of our pages use it; no program that is shipped links it.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// Find returns the browser's path. The error says what to install.
func Find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium in PATH; Debian's package chromium has it (apt-get install --no-install-recommends chromium)")
}

// Browser is a running Chromium.
type Browser struct {
	cmd     *exec.Cmd
	profile string
	in, out *os.File

	mu      sync.Mutex
	last    int // id of the last command
	waiting map[int]chan<- message
	pages   map[string]*Page // by session
	ended   error            // why the pipe is closed
}

// message is a command, its response or an event.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start starts a browser that reaches nothing but this machine, with a profile of its
// own. Close ends it.
func Start(path string) (*Browser, error) {
	profile, err := os.MkdirTemp("", "browser-")
	if err != nil {
		return nil, err
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-extensions", "--disable-domain-reliability", "--disable-client-side-phishing-detection", "--force-color-profile=srgb",
		"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--remote-debugging-pipe", "--user-data-dir="+profile, "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as the protocol has it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &Browser{cmd: cmd, profile: profile, in: in, out: out, waiting: map[int]chan<- message{}, pages: map[string]*Page{}}
	go b.read()
	return b, nil
}

// Close ends the browser and removes its profile.
func (b *Browser) Close() {
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
	_ = b.cmd.Wait()
	b.in.Close()
	b.out.Close()
	_ = os.RemoveAll(b.profile) // as far as the browser's processes have ended
}

// read hands out what the browser sends, until the pipe ends.
func (b *Browser) read() {
	in := bufio.NewReaderSize(b.out, 1<<20)
	for {
		text, err := in.ReadBytes(0)
		var m message
		if err == nil {
			err = json.Unmarshal(text[:len(text)-1], &m)
		}
		b.mu.Lock()
		if err != nil {
			if b.ended = err; errors.Is(err, io.EOF) {
				b.ended = errors.New("it ended")
			}
			for _, c := range b.waiting {
				close(c)
			}
			b.waiting = nil
			b.mu.Unlock()
			return
		}
		if c, ok := b.waiting[m.ID]; ok && m.ID != 0 {
			delete(b.waiting, m.ID)
			c <- m
		} else if p := b.pages[m.Session]; p != nil && m.Method != "" {
			p.events = append(p.events, Event{m.Method, m.Params})
		}
		b.mu.Unlock()
	}
}

// call sends a command and reads its response.
func (b *Browser) call(ctx context.Context, session, method string, params, result any) error {
	text, err := json.Marshal(params)
	if err != nil {
		return err
	}
	c := make(chan message, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return fmt.Errorf("%s: the browser does not respond: %w", method, b.ended)
	}
	b.last++
	id := b.last
	b.waiting[id] = c
	command, err := json.Marshal(message{ID: id, Session: session, Method: method, Params: text})
	if err == nil {
		_, err = b.in.Write(append(command, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	case m, ok := <-c:
		switch {
		case !ok:
			return fmt.Errorf("%s: the browser does not respond: %w", method, b.ended)
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(m.Result, result)
	}
}
