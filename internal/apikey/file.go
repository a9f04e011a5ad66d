package apikey

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxKeys = 1000    // each has a few series of metrics
	maxFile = 1 << 20 // bytes
)

// Parse reads keys, one a line. Blank lines and those that begin with # say nothing.
func Parse(text string) ([]Key, error) {
	var keys []Key
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if slices.ContainsFunc(keys, func(other Key) bool { return other.ID == k.ID }) {
			return nil, fmt.Errorf("line %d: there is another key %s", n, k.ID)
		}
		keys = append(keys, k)
	}
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("%d keys are more than the maximum of %d", len(keys), maxKeys)
	}
	return keys, nil
}

// Revoke returns the text of a file without a key, which is named by its id or, if no
// other has that name, by its name.
func Revoke(text, idOrName string) (string, Key, error) {
	if strings.HasPrefix(idOrName, prefix) {
		return "", Key{}, errors.New("name the key by its id, the 8 digits after mlops_, and not by the key itself")
	}
	keys, err := Parse(text)
	if err != nil {
		return "", Key{}, err
	}
	var found []Key
	for _, k := range keys {
		if k.ID == idOrName {
			found = []Key{k}
			break
		}
		if k.Name == idOrName {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return "", Key{}, fmt.Errorf("there is no key %q", idOrName)
	case 1:
	default:
		return "", Key{}, fmt.Errorf("%d keys are named %s: name the one to revoke by its id", len(found), idOrName)
	}
	var rest strings.Builder
	for line := range strings.Lines(text) {
		if id, _, _ := strings.Cut(strings.TrimSpace(line), " "); id != found[0].ID {
			rest.WriteString(line)
		}
	}
	return rest.String(), found[0], nil
}

// Add returns the text of a file with one more key.
func Add(text string, k Key) (string, error) {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	text += k.String() + "\n"
	_, err := Parse(text)
	return text, err
}

// read returns the text of files and of folders' files, one after the other.
func read(list string) (string, error) {
	var all strings.Builder
	for _, path := range filepath.SplitList(list) {
		text, err := readPath(path)
		if err == nil {
			_, err = Parse(text) // with the number of the line in this file
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		all.WriteString(text + "\n")
	}
	return all.String(), nil
}

// readPath returns the text of a file, or of a folder's files: several Secrets may be
// mounted in one. Names that begin with a dot are Kubernetes' own.
func readPath(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return readFile(path)
	}
	entries, err := os.ReadDir(path) // sorted
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		text, err := readFile(filepath.Join(path, e.Name()))
		if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
			continue
		}
		if err != nil {
			return "", err
		}
		if _, err := Parse(text); err != nil {
			return "", fmt.Errorf("%s: %w", e.Name(), err)
		}
		all.WriteString(text + "\n")
	}
	return all.String(), nil
}

func readFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("longer than %d bytes", maxFile)
	}
	return string(bytes.ToValidUTF8(data, nil)), err
}
