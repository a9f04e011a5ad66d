package main

import (
	"context"
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
	return overview.WriteHistory(os.Stdout, model, events)
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
		if w.Status.Phase == wfv1.WorkflowSucceeded && outputs["promoted"] != "" {
			c.show.Print(fmt.Sprintf("version %s of %s is in production; make history ON=cluster shows why", outputs["promoted"], model))
		}
	}
	return nil
}
