package metrics

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var certificateEnd = prometheus.NewDesc("mlops_certificate_end_timestamp_seconds", "Unix time at which the first certificate of a chain ends that the release uses; 0 if it can't be read.", []string{"certificate"}, nil)

// WatchCertificates adds the ends of the certificates in a folder's NAME/tls.crt, which
// are read again at each scrape. A folder without the file has none yet.
func (m *Page) WatchCertificates(dir string, log *slog.Logger) {
	m.registry.MustRegister(certificateCollector{dir, log})
}

type certificateCollector struct {
	dir string
	log *slog.Logger
}

func (c certificateCollector) Describe(to chan<- *prometheus.Desc) { to <- certificateEnd }

func (c certificateCollector) Collect(to chan<- prometheus.Metric) {
	files, err := filepath.Glob(filepath.Join(c.dir, "*", "tls.crt"))
	if err != nil {
		c.log.Error("looking for certificates", "folder", c.dir, "error", err)
	}
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		seconds := 0.0
		end, err := firstEnd(file)
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
			continue
		case err != nil:
			c.log.Warn("a certificate can't be read", "certificate", name, "error", err)
		default:
			seconds = float64(end.Unix())
		}
		to <- prometheus.MustNewConstMetric(certificateEnd, prometheus.GaugeValue, seconds, name)
	}
}

// firstEnd is when the first of a file's certificates ends.
func firstEnd(file string) (time.Time, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}, err
	}
	var first time.Time
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return time.Time{}, fmt.Errorf("parsing %s: %w", file, err)
		}
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	if first.IsZero() {
		return first, fmt.Errorf("%s has no certificate", file)
	}
	return first, nil
}
