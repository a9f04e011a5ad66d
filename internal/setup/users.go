package setup

import (
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7/pkg/signer"

	"mlops/internal/retry"
	"mlops/internal/source"
)

// User is a user of MinIO that may use these buckets and nothing else.
type User struct {
	AccessKey, SecretKey string
	Reads, Writes        string // buckets; empty: none. In the second one it also creates, overwrites and deletes
}

// policy is what a user may do, in the language of AWS' policies, and its name.
func (u User) policy() (name string, text []byte, err error) {
	type statement struct{ Effect, Action, Resource any }
	var all []statement
	for _, b := range []struct {
		name, does string
		objects    []string
	}{
		{u.Reads, "read", []string{"s3:GetObject"}},
		{u.Writes, "write", []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}},
	} {
		if b.name == "" {
			continue
		}
		name += "-" + b.does + "-" + b.name
		all = append(all,
			statement{"Allow", []string{"s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"}, []string{"arn:aws:s3:::" + b.name}},
			statement{"Allow", b.objects, []string{"arn:aws:s3:::" + b.name + "/*"}})
	}
	text, err = json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	return "mlops" + name, text, err
}

// users creates the users, or gives existing ones these keys and rights.
func users(ctx context.Context, c Config) error {
	for _, u := range c.Users {
		if u.AccessKey == c.S3.AccessKey {
			return fmt.Errorf("user of bucket %s: its access key is the administrator's; give it a key of its own", cmp.Or(u.Writes, u.Reads))
		}
		name, text, err := u.policy()
		if err != nil {
			return err
		}
		keys, err := json.Marshal(map[string]string{"secretKey": u.SecretKey, "status": "enabled"})
		if err != nil {
			return err
		}
		if keys, err = seal(c.S3.SecretKey, keys); err != nil {
			return err
		}
		for _, call := range []struct {
			path  string
			query url.Values
			body  []byte
		}{
			{"add-canned-policy", url.Values{"name": {name}}, text},
			{"add-user", url.Values{"accessKey": {u.AccessKey}}, keys},
			{"set-user-or-group-policy", url.Values{"policyName": {name}, "userOrGroup": {u.AccessKey}, "isGroup": {"false"}}, nil},
		} {
			err := waitFor(ctx, c.Log, c.Patience, "MinIO", func(ctx context.Context) error { return admin(ctx, c.S3, call.path, call.query, call.body) })
			if err != nil {
				return fmt.Errorf("making the user of bucket %s: %w", cmp.Or(u.Writes, u.Reads), err)
			}
		}
	}
	c.Log.Info("the buckets' users are ready", "users", len(c.Users))
	return nil
}

// admin sends one call of MinIO's admin API, version 3, signed with the
// administrator's keys.
func admin(ctx context.Context, s source.S3, path string, query url.Values, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, strings.TrimSuffix(s.Endpoint, "/")+"/minio/admin/v3/"+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	req = signer.SignV4(*req, s.AccessKey, s.SecretKey, "", cmp.Or(s.Region, "us-east-1"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return err
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return nil
	case resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests:
		err = retry.Permanent(fmt.Errorf("%s: %s: %s", path, resp.Status, text))
	default:
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, text)
	}
	return err
}

// seal encrypts a body as MinIO's admin API wants it: a salt of 32 bytes, the number
// of the method (2: the key from PBKDF2, then AES-256 in GCM), a nonce of 8 bytes, and
// the text in fragments of 16 KiB, of which there is one here. Each fragment's nonce
// is counted on from 1; number 0 is that of an empty text, whose tag with the mark of
// the last fragment in front is every fragment's additional data.
func seal(password string, text []byte) ([]byte, error) {
	const fragment, method, last, rounds = 16 << 10, 2, 0x80, 8192
	if len(text) > fragment {
		return nil, fmt.Errorf("encrypting for MinIO: %d bytes, want at most %d", len(text), fragment)
	}
	head := make([]byte, 32+1+8)
	rand.Read(head)
	head[32] = method
	salt, nonce := head[:32], append(bytes.Clone(head[33:]), 0, 0, 0, 0)
	key, err := pbkdf2.Key(sha256.New, password, salt, rounds, 32)
	if err != nil {
		return nil, fmt.Errorf("encrypting for MinIO: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("encrypting for MinIO: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("encrypting for MinIO: %w", err)
	}
	additional := gcm.Seal([]byte{last}, nonce, nil, nil)
	binary.LittleEndian.PutUint32(nonce[8:], 1)
	return gcm.Seal(head, nonce, text, additional), nil
}
