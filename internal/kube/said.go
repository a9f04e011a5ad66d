package kube

import (
	"cmp"
	"encoding/json"
	"regexp"
	"strings"
)

// LastLine is what a log says at its end, as people read it: the last error of
// one of our own programs, which Argo's executor may have ended after, else the
// last line. Of our own programs' lines it is what they say and why.
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

// read takes a line of a log apart; one that is not our programs' is its own text.
func read(line string) (text, level string) {
	var fields struct{ Level, Msg, Because, Error string }
	if json.Unmarshal([]byte(line), &fields) != nil || fields.Msg == "" {
		return line, ""
	}
	if because := cmp.Or(fields.Because, fields.Error); because != "" {
		return fields.Msg + ": " + because, fields.Level
	}
	return fields.Msg, fields.Level
}

// ended is what Argo says of a container that has failed, before the log's end.
var ended = regexp.MustCompile(`^([a-z0-9-]+: [^\n]*?\(exit code \d+\)): (?s)(.+)$`)

// said is what Argo says of a task, the log's end in it in one line.
func said(message string) string {
	if m := ended.FindStringSubmatch(message); m != nil {
		return m[1] + ": " + LastLine(m[2])
	}
	return message
}
