package kube

import (
	"encoding/json"
	"regexp"
	"strings"
)

// LastLine returns the line of a log that explains its end: the last error of one
// of our own programs (Argo's executor may have logged after it), otherwise the
// last line. Our own programs' JSON becomes their message and error.
func LastLine(log string) string {
	all := strings.Split(strings.TrimSpace(log), "\n")
	for i := len(all) - 1; i >= 0; i-- {
		if text, level := read(all[i]); level == "ERROR" {
			return text
		}
	}
	text, _ := read(all[len(all)-1])
	return text
}

// read decodes a log line. A line that isn't from our programs is returned as it
// is.
func read(line string) (text, level string) {
	var fields struct{ Level, Msg, Error string }
	if json.Unmarshal([]byte(line), &fields) != nil || fields.Msg == "" {
		return line, ""
	}
	if fields.Error != "" {
		return fields.Msg + ": " + fields.Error, fields.Level
	}
	return fields.Msg, fields.Level
}

// ended matches Argo's message about a failed container, which the end of its log
// follows.
var ended = regexp.MustCompile(`^([a-z0-9-]+: [^\n]*?\(exit code \d+\)): (?s)(.+)$`)

// said returns Argo's message about a task with the log in it cut to one line.
func said(message string) string {
	if m := ended.FindStringSubmatch(message); m != nil {
		return m[1] + ": " + LastLine(m[2])
	}
	return message
}
