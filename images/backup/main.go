// Backup copies the databases and buckets of the release that it runs in to a bucket or
// a volume (backup write), and brings them back (backup restore). It is `make backup`
// and `make restore` for a cluster that nobody's machine has to reach.
//
// It reads the environment: PGHOST, PGPORT, PGSSLMODE, PGSSLROOTCERT, PGUSER (default: postgres) and
// PGPASSWORD of a login that may create databases; MLOPS_DATABASES and MLOPS_BUCKETS,
// separated by spaces; AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY of the release's S3 store; BACKUP_AWS_ENDPOINT_URL,
// BACKUP_AWS_REGION, BACKUP_AWS_ACCESS_KEY_ID and BACKUP_AWS_SECRET_ACCESS_KEY of the
// store for backups (unset: the release's own); MLOPS_SIGNERS, the public keys that
// versions are signed with; MLOPS_BACKUP_RECIPIENT, an age public key for the Secrets
// below the folder MLOPS_SECRETS; MLOPS_RELEASE and MLOPS_NAMESPACE.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"

	"mlops/internal/backup"
	"mlops/internal/ingest"
	"mlops/internal/kube"
	"mlops/internal/postgres"
	"mlops/internal/program"
	"mlops/internal/source"
	"mlops/internal/step"
	"mlops/internal/tlsproxy"
	"mlops/internal/versions"
)

// volume is where a volume for backups is mounted.
const volume = "/backups"

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	if len(os.Args) < 2 {
		return program.Inputf("missing command: want write or restore")
	}
	switch command, args := os.Args[1], os.Args[2:]; command {
	case "write":
		return write(ctx, log, args)
	case "restore":
		return restore(ctx, log, args)
	default:
		return program.Inputf("unknown command %q: want write or restore", command)
	}
}

func write(ctx context.Context, log *slog.Logger, args []string) error {
	var to string
	var keep int
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.StringVar(&to, "to", "", "s3://bucket/folder, or "+volume+" for the volume")
		f.IntVar(&keep, "keep", 0, "how many backups to keep; 0: all")
	})
	if err != nil {
		return err
	}
	if keep < 0 {
		return program.Inputf("keep is %d: want a number of backups, or 0 for all", keep)
	}
	release, err := parts(ctx, log)
	if err != nil {
		return err
	}
	place, err := placeOf(ctx, to, release, log)
	if err != nil {
		return err
	}
	var secrets []byte
	if text := os.Getenv("MLOPS_BACKUP_RECIPIENT"); text != "" {
		recipient, err := age.ParseX25519Recipient(text)
		if err != nil {
			return program.Inputf("MLOPS_BACKUP_RECIPIENT=%s: want an age public key, such as age1…: %w", text, err)
		}
		all, err := backup.ReadSecrets(os.Getenv("MLOPS_SECRETS"))
		if err != nil {
			return err
		}
		if secrets, err = backup.Seal(all, recipient); err != nil {
			return err
		}
	}
	m, err := backup.Write(ctx, place, release, backup.Manifest{Platform: versions.Platform, Signers: os.Getenv("MLOPS_SIGNERS")}, secrets)
	if err != nil {
		return err
	}
	deleted := 0
	if keep > 0 {
		if deleted, err = backup.Keep(ctx, place, keep); err != nil {
			return err
		}
	}
	log.Info("backup written", "backup", m.Name, "place", place.String(), "databases", len(m.Databases), "objects", len(m.Objects),
		"bytes", m.Bytes(), "secrets", m.Secrets != nil, "deleted", deleted)
	return report(map[string]any{"backup": m.Name, "place": place.String(), "databases": len(m.Databases), "objects": len(m.Objects),
		"bytes": m.Bytes(), "secrets": m.Secrets != nil, "seconds": m.Ended.Sub(m.Began).Seconds(), "deleted": deleted})
}

func restore(ctx context.Context, log *slog.Logger, args []string) error {
	var from, name string
	var replace bool
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.StringVar(&from, "from", "", "s3://bucket/folder, or "+volume+" for the volume")
		f.StringVar(&name, "backup", "", "name of the backup; empty: the newest")
		f.BoolVar(&replace, "replace", false, "replace what the release holds")
	})
	if err != nil {
		return err
	}
	release, err := parts(ctx, log)
	if err != nil {
		return err
	}
	place, err := placeOf(ctx, from, release, log)
	if err != nil {
		return err
	}
	m, err := backup.Find(ctx, place, name)
	if err != nil {
		return program.Input(err)
	}
	var restored []string // by an earlier attempt
	if !replace {
		var held string
		if restored, held, err = backup.Held(ctx, m, release); err != nil {
			return err
		}
		if held != "" {
			return program.Inputf("this release holds %s, which backup %s would replace: run the workflow backup first, then restore with the parameter replace=true", held, m.Name)
		}
	}
	if err := backup.Verify(ctx, place, m); err != nil {
		return program.Input(err)
	}
	namespace, err := program.Env("MLOPS_NAMESPACE")
	if err != nil {
		return err
	}
	k, err := kube.Inside(namespace, program.EnvOr("MLOPS_RELEASE", "mlops"))
	if err != nil {
		return err
	}
	if err := k.Trust(ctx, m.Signers); err != nil {
		return err
	}
	done, err := backup.Restore(ctx, place, m, release, restored)
	if err != nil {
		return err
	}
	if slices.Contains(release.Names, "raw") && slices.Contains(release.Names, "clean") {
		// A dump has neither owners nor rights.
		server := postgres.ConnString(os.Getenv("PGHOST"), os.Getenv("PGPORT"), program.EnvOr("PGUSER", "postgres"), os.Getenv("PGPASSWORD"))
		if err := ingest.Share(ctx, postgres.Config{ConnString: server}, log); err != nil {
			return err
		}
	}
	log.Info("backup restored", "backup", m.Name, "place", place.String(), "databases", done.Databases, "put", done.Put, "same", done.Same, "extra", done.Extra)
	missing, err := k.Restart(ctx, kube.Restored...)
	if err != nil {
		return fmt.Errorf("the databases are back, and another attempt goes on from here: %w", err)
	}
	if len(missing) > 0 {
		log.Warn("not restarted, since the release does not have them: restart your own", "deployments", missing)
	}
	if err := release.Databases.Finish(ctx, release.Names); err != nil {
		return err
	}
	return report(map[string]any{"backup": m.Name, "databases": done.Databases, "put": done.Put, "same": done.Same, "extra": done.Extra})
}

func report(what map[string]any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return step.Output("report", string(text))
}

// parts leads to the release's Postgres and S3 store.
func parts(ctx context.Context, log *slog.Logger) (backup.Release, error) {
	if _, err := program.Env("PGHOST"); err != nil {
		return backup.Release{}, err
	}
	store, err := source.S3{Endpoint: os.Getenv("AWS_ENDPOINT_URL"), Region: os.Getenv("AWS_REGION"),
		AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY")}.Client()
	if err != nil {
		return backup.Release{}, program.Input(err)
	}
	env, err := tlsproxy.Local(ctx, append(os.Environ(), "PGUSER="+program.EnvOr("PGUSER", "postgres")), log)
	if err != nil {
		return backup.Release{}, program.Input(err)
	}
	return backup.Release{Databases: backup.Local(env), Names: strings.Fields(program.EnvOr("MLOPS_DATABASES", strings.Join(backup.Names, " "))),
		Store: store, Buckets: strings.Fields(os.Getenv("MLOPS_BUCKETS")), Log: log}, nil
}

// placeOf is the bucket or the volume that an address names.
func placeOf(ctx context.Context, address string, r backup.Release, log *slog.Logger) (backup.Place, error) {
	switch {
	case address == "":
		return nil, program.Inputf("no place for backups: set pipelines.backup.to, or the workflow's parameter, to s3://bucket/folder, or to %s with a volume (pipelines.backup.volume.size)", volume)
	case address == volume || strings.HasPrefix(address, volume+"/"):
		if _, err := os.Stat(volume); err != nil {
			return nil, program.Inputf("%s is not a volume: set pipelines.backup.volume.size or .existingClaim", volume)
		}
		return backup.Folder(address), nil
	}
	name, prefix, err := backup.ParseBucket(address)
	if err != nil {
		return nil, program.Inputf("%w; or %s for the volume", err, volume)
	}
	if os.Getenv("BACKUP_AWS_ENDPOINT_URL") == "" && os.Getenv("BACKUP_AWS_ACCESS_KEY_ID") == "" {
		if slices.Contains(r.Buckets, name) {
			return nil, program.Inputf("bucket %s is itself backed up: take another one", name)
		}
		log.Warn("backups are in the release's own S3 store, and are lost with it: set pipelines.backup.existingSecret to the keys of another one")
		there, err := r.Store.BucketExists(ctx, name)
		if err == nil && !there {
			err = r.Store.MakeBucket(ctx, name, minio.MakeBucketOptions{Region: os.Getenv("AWS_REGION")})
		}
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", name, err)
		}
		return backup.Bucket{Client: r.Store, Name: name, Prefix: prefix}, nil
	}
	client, err := source.S3{Endpoint: os.Getenv("BACKUP_AWS_ENDPOINT_URL"), Region: cmp.Or(os.Getenv("BACKUP_AWS_REGION"), os.Getenv("AWS_REGION")),
		AccessKey: os.Getenv("BACKUP_AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("BACKUP_AWS_SECRET_ACCESS_KEY")}.Client()
	if err != nil {
		return nil, program.Input(fmt.Errorf("the store for backups: %w", err))
	}
	return backup.Bucket{Client: client, Name: name, Prefix: prefix}, nil
}
