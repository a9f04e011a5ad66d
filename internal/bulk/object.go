package bulk

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"

	"mlops/internal/program"
	"mlops/internal/retry"
	"mlops/internal/source"
)

// minPart is the size from which records are uploaded; S3 wants at least that of a part.
const minPart = 5 << 20

// object is a target in S3, written by a multipart upload: it is there as a whole, or not
// at all. The ledger keeps what S3 needs to continue it.
type object struct {
	bucket, key string
	core        *minio.Core
	ledger      *ledger

	text bytes.Buffer // not uploaded yet
	at   progress     // behind text
}

func newObject(address string, s3 source.S3, l *ledger) (*object, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") == "" || strings.HasSuffix(u.Path, "/") {
		return nil, program.Inputf("%q is no target: want s3://bucket/key", address)
	}
	c, err := s3.Client()
	if err != nil {
		return nil, program.Input(err)
	}
	return &object{bucket: u.Host, key: strings.TrimPrefix(u.Path, "/"), core: &minio.Core{Client: c}, ledger: l}, nil
}

func (o *object) grows() bool { return false }

// runKey is an object's metadata key for the upload that wrote it.
const runKey = "Mlops-Run"

func (o *object) begin(ctx context.Context, r *run, names []string) (over bool, err error) {
	o.text.Reset()
	o.at = r.progress
	token, upload, _ := strings.Cut(r.upload, " ")
	if upload != "" {
		if over, err = o.written(ctx, token); err != nil || over {
			return over, err
		}
		var there bool
		err := o.try(ctx, func(ctx context.Context) error {
			_, err := o.core.ListObjectParts(ctx, o.bucket, o.key, upload, 0, 1)
			there = err == nil
			if minio.ToErrorResponse(err).Code == "NoSuchUpload" {
				return nil
			}
			return err
		})
		if err != nil {
			return false, err
		}
		if there {
			return false, o.header(r, names)
		}
		o.ledger.log.Warn("the upload is gone, so it begins again", "target", r.target, "records", r.records)
	}
	err = o.try(ctx, func(ctx context.Context) error {
		return o.core.RemoveIncompleteUpload(ctx, o.bucket, o.key) // of runs that noted none
	})
	if err != nil {
		return false, err
	}
	if names == nil {
		return false, o.ledger.reset(ctx, r, progress{})
	}
	token = rand.Text()
	err = o.try(ctx, func(ctx context.Context) error {
		upload, err = o.core.NewMultipartUpload(ctx, o.bucket, o.key, minio.PutObjectOptions{ContentType: "text/csv; charset=utf-8", UserMetadata: map[string]string{runKey: token}})
		return err
	})
	if err != nil {
		return false, err
	}
	// From the beginning: an upload without parts has no records.
	p := progress{upload: token + " " + upload}
	if err := o.ledger.reset(ctx, r, p); err != nil {
		return false, err
	}
	o.at = r.progress
	return false, o.header(r, names)
}

// header writes the first line where there is none yet.
func (o *object) header(r *run, names []string) error {
	if len(r.etags) > 0 {
		return nil
	}
	return csv.NewWriter(&o.text).WriteAll([][]string{names})
}

func (o *object) kept(ctx context.Context, r *run) (bool, error) {
	token, _, _ := strings.Cut(r.upload, " ")
	return o.written(ctx, token)
}

// written reports whether the object is what an upload has completed.
func (o *object) written(ctx context.Context, token string) (over bool, err error) {
	err = o.try(ctx, func(ctx context.Context) error {
		info, err := o.core.StatObject(ctx, o.bucket, o.key, minio.StatObjectOptions{})
		if minio.ToErrorResponse(err).Code == "NoSuchKey" {
			return nil
		}
		over = err == nil && info.UserMetadata[runKey] == token
		return err
	})
	return over, err
}

func (o *object) put(ctx context.Context, r *run, rows [][]string, p progress) error {
	w := csv.NewWriter(&o.text)
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	upload, etags := o.at.upload, o.at.etags
	o.at = p
	o.at.upload, o.at.etags = upload, etags
	if o.text.Len() >= minPart {
		return o.flush(ctx, r)
	}
	r.records, r.excluded, r.warned = p.records, p.excluded, p.warned // what the next part counts on from
	return nil
}

// flush uploads what is there as the next part, and notes it. A part that was uploaded
// and not noted is overwritten.
func (o *object) flush(ctx context.Context, r *run) error {
	_, upload, _ := strings.Cut(o.at.upload, " ")
	var done minio.ObjectPart
	err := o.try(ctx, func(ctx context.Context) (err error) {
		done, err = o.core.PutObjectPart(ctx, o.bucket, o.key, upload, len(o.at.etags)+1, bytes.NewReader(o.text.Bytes()), int64(o.text.Len()), minio.PutObjectPartOptions{})
		return err
	})
	if err != nil {
		return err
	}
	p := o.at
	p.etags = append(p.etags[:len(p.etags):len(p.etags)], done.ETag)
	if err := o.ledger.note(ctx, r, p, nil); err != nil {
		return err
	}
	o.at = p
	o.text.Reset()
	return nil
}

func (o *object) end(ctx context.Context, r *run) error {
	token, upload, _ := strings.Cut(o.at.upload, " ")
	if o.text.Len() > 0 {
		if err := o.flush(ctx, r); err != nil {
			return err
		}
	}
	over, err := o.written(ctx, token)
	if err != nil {
		return err
	}
	if !over {
		parts := make([]minio.CompletePart, len(r.etags))
		for i, tag := range r.etags {
			parts[i] = minio.CompletePart{PartNumber: i + 1, ETag: tag}
		}
		err := o.try(ctx, func(ctx context.Context) error {
			_, err := o.core.CompleteMultipartUpload(ctx, o.bucket, o.key, upload, parts, minio.PutObjectOptions{})
			return err
		})
		if err != nil {
			// The response may have been lost.
			if over, _ := o.written(ctx, token); !over {
				return err
			}
		}
	}
	return o.ledger.end(ctx, r)
}

func (o *object) takeBack(ctx context.Context, r *run) error {
	_, upload, _ := strings.Cut(r.upload, " ")
	if upload == "" {
		return nil
	}
	return o.try(ctx, func(ctx context.Context) error {
		err := o.core.AbortMultipartUpload(ctx, o.bucket, o.key, upload)
		if minio.ToErrorResponse(err).Code == "NoSuchUpload" {
			return nil
		}
		return err
	})
}

// try repeats a call that S3 did not respond to, or with an error of its own.
func (o *object) try(ctx context.Context, work func(context.Context) error) error {
	err := retry.Do(ctx, retry.Policy{Tries: 5, Wait: time.Second, Log: o.ledger.log, Message: "asking S3 again"}, func(ctx context.Context) error {
		err := work(ctx)
		if res := minio.ToErrorResponse(err); err != nil && res.StatusCode >= 400 && res.StatusCode < 500 && res.StatusCode != 408 && res.StatusCode != 429 {
			return retry.Permanent(err)
		}
		return err
	})
	if err == nil {
		return nil
	}
	err = fmt.Errorf("writing s3://%s/%s: %w", o.bucket, o.key, err)
	switch minio.ToErrorResponse(errors.Unwrap(err)).Code {
	case "NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch":
		return program.Input(err)
	}
	return err
}

// reset puts a run to a place, whatever it was at.
func (l *ledger) reset(ctx context.Context, r *run, p progress) error {
	if p.etags == nil {
		p.etags = []string{}
	}
	err := l.do(ctx, "beginning an upload", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE scored.runs SET position = $2, records = $3, excluded = $4, warned = $5, upload = $6, etags = $7, ended_at = NULL WHERE id = $1",
			r.id, p.position, p.records, p.excluded, p.warned, p.upload, p.etags)
		return err
	})
	if err == nil {
		r.progress = p
	}
	return err
}
