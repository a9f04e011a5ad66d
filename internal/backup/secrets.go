package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// Secret is one of a release's Secrets, in the shape of Kubernetes' API.
type Secret struct {
	Metadata Metadata          `json:"metadata"`
	Type     string            `json:"type"`
	Data     map[string][]byte `json:"data"`
}

// Metadata is what a Secret needs besides its data, so that Helm takes it for its own.
type Metadata struct {
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// ReadSecrets reads Secrets that are mounted as folders, a file per key.
func ReadSecrets(dir string) ([]Secret, error) {
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the Secrets: %w", err)
	}
	var all []Secret
	for _, folder := range folders {
		s := Secret{Metadata: Metadata{Name: folder.Name()}, Type: "Opaque", Data: map[string][]byte{}}
		files, err := os.ReadDir(filepath.Join(dir, folder.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the Secrets: %w", err)
		}
		for _, f := range files {
			if strings.HasPrefix(f.Name(), "..") { // of the kubelet
				continue
			}
			if s.Data[f.Name()], err = os.ReadFile(filepath.Join(dir, folder.Name(), f.Name())); err != nil {
				return nil, fmt.Errorf("reading the Secrets: %w", err)
			}
		}
		if len(s.Data) > 0 { // a Secret that the release does not have is an empty folder
			all = append(all, s)
		}
	}
	return all, nil
}

// Seal encrypts Secrets for the owner of a private key.
func Seal(all []Secret, to age.Recipient) ([]byte, error) {
	if len(all) == 0 {
		return nil, errors.New("encrypting the Secrets: there are none")
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err == nil {
		err = json.NewEncoder(w).Encode(all)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypting the Secrets: %w", err)
	}
	return out.Bytes(), nil
}

// Unseal decrypts what Seal has encrypted.
func Unseal(sealed []byte, with ...age.Identity) (all []Secret, err error) {
	in, err := age.Decrypt(bytes.NewReader(sealed), with...)
	if err != nil {
		return nil, fmt.Errorf("decrypting the Secrets: %w; give the private key that belongs to the RECIPIENT of the backup", err)
	}
	text, err := io.ReadAll(in)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("decrypting the Secrets: %w", err)
	}
	return all, nil
}
