// Command inference serves the production version of a registered model.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mlops/internal/certificate"
	"mlops/internal/earlier"
	"mlops/internal/headers"
	"mlops/internal/mlflow"
	"mlops/internal/postgres"
	"mlops/internal/program"
	"mlops/internal/registry"
	"mlops/internal/serve"
	"mlops/internal/signature"
)

// earlierConnections bounds the connections to Postgres, which a server has only if the
// model looks at earlier rows.
const earlierConnections = 6

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	address := program.EnvOr("MLOPS_LISTEN", ":8000")
	supervise, err := onOff("MLOPS_SUPERVISE", "off")
	if err != nil {
		return err
	}
	if supervise && !program.Supervised() {
		return program.Supervise(ctx, log, address)
	}
	name, err := program.Env("MLOPS_MODEL")
	if err != nil {
		return err
	}
	tracking, err := program.Env("MLFLOW_TRACKING_URI")
	if err != nil {
		return err
	}
	if file := program.EnvOr("SSL_CERT_FILE", ""); file != "" {
		http.DefaultTransport.(*http.Transport).DialTLSContext = certificate.Dialer(file)
	}
	// The server polls every second, so a failed call need not be retried.
	client, err := mlflow.New(tracking, mlflow.Options{Tries: 1, UserAgent: "mlops-inference",
		Username: program.EnvOr("MLFLOW_TRACKING_USERNAME", ""), Password: program.EnvOr("MLFLOW_TRACKING_PASSWORD", ""), Token: program.EnvOr("MLFLOW_TRACKING_TOKEN", "")})
	if err != nil {
		return program.Input(err)
	}
	drain, err := time.ParseDuration(program.EnvOr("MLOPS_DRAIN", "0s"))
	if err != nil {
		return program.Inputf("MLOPS_DRAIN: %w", err)
	}
	limits, err := limits()
	if err != nil {
		return err
	}
	earlierMemory, err := size("MLOPS_EARLIER_MEMORY")
	if err != nil {
		return err
	}
	var trusted signature.Trusted
	if keys := program.EnvOr("MLOPS_SIGNERS", ""); keys != "" {
		if trusted, err = signature.ReadTrusted([]byte(keys)); err != nil {
			return program.Inputf("MLOPS_SIGNERS: %w", err)
		}
	} else {
		log.Warn("MLOPS_SIGNERS is not set: versions are served no matter who made them")
	}
	shadow, err := strconv.ParseFloat(program.EnvOr("MLOPS_SHADOW", "0"), 64)
	if err != nil || !(shadow >= 0 && shadow <= 1) {
		return program.Inputf("MLOPS_SHADOW: %q is not a share from 0 to 1", program.EnvOr("MLOPS_SHADOW", ""))
	}
	models := registry.New(client, name)
	plainHTTP, err := onOff("MLOPS_PLAIN_HTTP", "on")
	if err != nil {
		return err
	}
	l, restarts, err := program.Listen(address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	memory := program.MemoryLimit()
	if program.Supervised() {
		if err := program.ConfineMemory(memory); err != nil {
			return err
		}
	}
	options := serve.Options{
		Trusted:  trusted,
		Memory:   memory,
		Model:    name,
		Cache:    program.EnvOr("MLOPS_CACHE", "/var/cache/mlops"),
		Registry: models,
		Log:      log,
		Drain:    drain,
		Restarts: restarts,
		Limits:   limits,
		Hosts:    headers.Names(program.EnvOr("MLOPS_HOSTS", "")),
		Origins:  strings.FieldsFunc(program.EnvOr("MLOPS_CORS_ORIGINS", ""), func(r rune) bool { return r == ',' || r == ' ' }),

		Shadow:      shadow,
		Challengers: models,
		Papers:      models,
		NetHTTPOnly: !plainHTTP,

		EarlierMemory: earlierMemory,
	}
	if folder := program.EnvOr("MLOPS_TLS", ""); folder != "" {
		if options.TLS, err = certificate.Server(folder); err != nil {
			return program.Inputf("MLOPS_TLS: %w", err)
		}
	}
	if host := program.EnvOr("PGHOST", ""); host != "" {
		rows := earlier.NewSource(postgres.Config{ConnString: postgres.ConnString(host, program.EnvOr("PGPORT", ""), program.EnvOr("PGUSER", ""), program.EnvOr("PGPASSWORD", ""))}, earlierConnections, log)
		defer rows.Close()
		options.Earlier = rows
	}
	server := serve.New(options)
	if path := program.EnvOr("MLOPS_API_KEYS", ""); path != "" {
		if err := server.RequireKeys(path); err != nil {
			return program.Inputf("MLOPS_API_KEYS: %w", err)
		}
	}
	log.Info("listening", "address", l.Addr().String(), "model", name)
	return server.Run(ctx, l)
}

// limits reads the limits that are set; 0 means the server's default.
func limits() (l serve.Limits, err error) {
	number := func(name string, bits int) int64 {
		n, bad := strconv.ParseInt(program.EnvOr(name, "0"), 10, bits)
		if err == nil && (bad != nil || n < 0) {
			err = program.Inputf("%s: %q is not a number of at least 0", name, program.EnvOr(name, ""))
		}
		return n
	}
	l.Concurrency = int(number("MLOPS_CONCURRENCY", 16))
	l.Queue = int(number("MLOPS_QUEUE", 32))
	l.Connections = int(number("MLOPS_CONNECTIONS", 32))
	l.ConnectionRequests = uint32(number("MLOPS_CONNECTION_REQUESTS", 32))
	l.BodyMemory = number("MLOPS_BODY_MEMORY", 64)
	return l, err
}

// size reads a number of bytes, or of Ki, Mi or Gi; 0 means the server's default.
func size(name string) (int64, error) {
	text := program.EnvOr(name, "0")
	number, unit := strings.TrimRight(text, "KMGi"), int64(1)
	switch text[len(number):] {
	case "":
	case "Ki":
		unit = 1 << 10
	case "Mi":
		unit = 1 << 20
	case "Gi":
		unit = 1 << 30
	default:
		return 0, program.Inputf("%s: %q is not a size such as 64Mi", name, text)
	}
	n, err := strconv.ParseInt(number, 10, 40)
	if err != nil || n < 0 {
		return 0, program.Inputf("%s: %q is not a size such as 64Mi", name, text)
	}
	return n * unit, nil
}

// onOff reads a switch, which has a default.
func onOff(name, unset string) (bool, error) {
	switch value := program.EnvOr(name, unset); value {
	case "on":
		return true, nil
	case "off":
		return false, nil
	default:
		return false, program.Inputf("%s: %q is neither on nor off", name, value)
	}
}
