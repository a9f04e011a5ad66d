package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"

	"mlops/internal/history"
	"mlops/internal/kube"
	"mlops/internal/overview"
	"mlops/internal/program"
	"mlops/internal/promote"
)

// showHistory writes what was in production of the release's model.
func showHistory(ctx context.Context, c *config) error {
	limit := 20
	if text := os.Getenv("N"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return program.Inputf("N=%s: want a number of events, or 0 for all", text)
		}
		limit = n
	}
	r, err := c.installed(ctx)
	if err != nil {
		return err
	}
	connect, closed, err := r.Databases(ctx)
	if err != nil {
		return err
	}
	defer closed()
	conn, err := connect(ctx, "clean")
	if err != nil {
		return fmt.Errorf("connecting to the release's Postgres: %w", err)
	}
	defer conn.Close(ctx)
	_, model := dataSet(ctx, r)
	events, err := history.List(ctx, conn, model, limit)
	if err != nil {
		return fmt.Errorf("reading the history: %w", err)
	}
	return overview.WriteHistory(c.out, model, events)
}

// rollback puts an earlier version of the release's model back.
func rollback(ctx context.Context, c *config) error {
	to := 0
	if text := os.Getenv("TO"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return program.Inputf("TO=%s: want the number of a version", text)
		}
		to = n
	}
	why := strings.TrimSpace(os.Getenv("WHY"))
	if why == "" {
		return program.Inputf("say why with WHY=\"...\": the history keeps it")
	}
	return c.ask(ctx, "rollback-model", map[string]string{"to": strconv.Itoa(to), "why": why})
}

// pin keeps the version in production, or ends that.
func pin(ctx context.Context, c *config) error {
	why, off := strings.TrimSpace(os.Getenv("WHY")), os.Getenv("OFF") == "1"
	if (why == "") != off {
		return program.Inputf("say why with WHY=\"...\": the history keeps it; or OFF=1 to allow automatic promotion again")
	}
	return c.ask(ctx, "pin-model", map[string]string{"unpin": strconv.FormatBool(off), "why": why})
}

// challenge chooses the version that is compared with the one in production, or leaves the
// choice to the next pipeline.
func challenge(ctx context.Context, c *config) error {
	why, off := strings.TrimSpace(os.Getenv("WHY")), os.Getenv("OFF") == "1"
	version := os.Getenv("VERSION")
	if off {
		return c.ask(ctx, "challenge-model", map[string]string{"unchallenge": "true", "version": "0", "why": ""})
	}
	if n, err := strconv.Atoi(version); err != nil || n < 1 {
		return program.Inputf("VERSION=%s: want the number of a version; or OFF=1 to leave the choice to the next pipeline", version)
	}
	if why == "" {
		return program.Inputf("say why with WHY=\"...\": the history keeps it")
	}
	return c.ask(ctx, "challenge-model", map[string]string{"unchallenge": "false", "version": version, "why": why})
}

// adopt puts a version that a notebook logged into production.
func adopt(ctx context.Context, c *config) error {
	version := os.Getenv("VERSION")
	if version == "" {
		version = "0"
	} else if n, err := strconv.Atoi(version); err != nil || n < 1 {
		return program.Inputf("VERSION=%s: want the number of a version; leave it out for the newest", version)
	}
	why := strings.TrimSpace(os.Getenv("WHY"))
	if why == "" {
		return program.Inputf("say why with WHY=\"...\": the history keeps it")
	}
	return c.ask(ctx, "adopt-model", map[string]string{"version": version, "why": why, "anyway": strconv.FormatBool(os.Getenv("ANYWAY") == "1")})
}

// retain removes versions that need not stay, or says which those are.
func retain(ctx context.Context, c *config) error {
	parameters := map[string]string{"remove": strconv.FormatBool(os.Getenv("REMOVE") == "1")}
	for name, variable := range map[string]string{"newest": "NEWEST", "days": "DAYS"} {
		text := os.Getenv(variable)
		if text == "" {
			continue
		}
		if n, err := strconv.Atoi(text); err != nil || n < 0 {
			return program.Inputf("%s=%s: want a number of at least 0", variable, text)
		}
		parameters[name] = text
	}
	return c.ask(ctx, "retain-models", parameters)
}

// ask runs a workflow on behalf of who is at the keyboard.
func (c *config) ask(ctx context.Context, template string, parameters map[string]string) error {
	r, err := c.installed(ctx)
	if err != nil {
		return err
	}
	parameters["by"] = "unknown"
	if u, err := user.Current(); err == nil {
		parameters["by"] = u.Username
	}
	name, err := r.Submit(ctx, template+"-", template, parameters, nil)
	if err != nil {
		return err
	}
	c.show.Print("workflow " + name)
	w, err := r.Follow(ctx, name, c.show.Observe)
	if err != nil {
		return err
	}
	_, model := dataSet(ctx, r)
	for _, outputs := range kube.Outputs(w) {
		if text := outputs["report"]; w.Status.Phase == wfv1.WorkflowSucceeded && text != "" {
			var done promote.Retained
			if err := json.Unmarshal([]byte(text), &done); err != nil {
				return fmt.Errorf("reading the report of workflow %s: %w", name, err)
			}
			c.show.Print(done.Model + ": " + done.Words())
			if !done.Done && len(done.Removed) > 0 {
				c.show.Print("nothing was removed: REMOVE=1 does it")
			}
		}
		if w.Status.Phase == wfv1.WorkflowSucceeded && outputs["promoted"] != "" {
			c.show.Print(fmt.Sprintf("version %s of %s is in production; make history ON=cluster shows why", outputs["promoted"], model))
		}
	}
	return nil
}
