// Command ui serves the web page, a form to try the served model with.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"
	_ "time/tzdata" // schedules are in a time zone, and the image has no files of them

	"mlops/internal/certificate"
	"mlops/internal/headers"
	"mlops/internal/page"
	"mlops/internal/postgres"
	"mlops/internal/program"
)

// inferenceTimeout bounds each request to the inference server.
const inferenceTimeout = 10 * time.Second

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	if file := program.EnvOr("SSL_CERT_FILE", ""); file != "" {
		http.DefaultTransport.(*http.Transport).DialTLSContext = certificate.Dialer(file)
	}
	server, err := page.New(program.EnvOr("MLOPS_INFERENCE", "http://localhost:8000"), inferenceTimeout, log)
	if err != nil {
		return program.Input(err)
	}
	server.OnlyHosts(headers.Names(program.EnvOr("MLOPS_HOSTS", "")))
	server.UseKey(program.EnvOr("MLOPS_API_KEY", ""))
	if path := program.EnvOr("MLOPS_API_KEYS", ""); path != "" {
		if err := server.RequireKeys(path); err != nil {
			return program.Inputf("MLOPS_API_KEYS: %w", err)
		}
	}
	if folder := program.EnvOr("MLOPS_TLS", ""); folder != "" {
		config, err := certificate.Server(folder)
		if err != nil {
			return program.Inputf("MLOPS_TLS: %w", err)
		}
		server.UseTLS(config)
	}
	if address := program.EnvOr("MLOPS_PROMETHEUS", ""); address != "" {
		if err := server.UsePrometheus(address); err != nil {
			return program.Inputf("MLOPS_PROMETHEUS: %w", err)
		}
	}
	if password := program.EnvOr("PGPASSWORD", ""); password != "" {
		server.UseFigures(postgres.Config{ConnString: postgres.ConnString(program.EnvOr("PGHOST", ""), program.EnvOr("PGPORT", ""), program.EnvOr("PGUSER", ""), password)})
	}
	if dir := program.EnvOr("MLOPS_SCHEDULES", ""); dir != "" {
		server.WatchSchedules(dir)
	}
	if dir := program.EnvOr("MLOPS_CERTIFICATES", ""); dir != "" {
		server.WatchCertificates(dir)
	}
	links, err := page.ParseLinks(program.EnvOr("MLOPS_LINKS", ""))
	if err != nil {
		return program.Inputf("MLOPS_LINKS: %w", err)
	}
	server.SetLinks(links)
	l, err := net.Listen("tcp", program.EnvOr("MLOPS_LISTEN", ":8501"))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	log.Info("listening", "address", l.Addr().String())
	connections, err := strconv.Atoi(program.EnvOr("MLOPS_CONNECTIONS", "0"))
	if err != nil || connections < 0 {
		return program.Inputf("MLOPS_CONNECTIONS: %q is not a number of at least 0", program.EnvOr("MLOPS_CONNECTIONS", ""))
	}
	return server.Run(ctx, l, connections)
}
