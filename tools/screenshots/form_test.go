package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFields(t *testing.T) {
	t.Parallel()
	got, err := fields(strings.NewReader(`<form>
		<input type=hidden name=run value=r1><input name=age value=7><input type=radio name=sex value=f><input type=radio name=sex value=m checked>
		<select name=a><option value=1>one<option value=2 selected>two</select><select name=b><option value="">none<option value=x></select>
		<button>go</button></form>`))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"run": {"r1"}, "age": {"7"}, "sex": {"m"}, "a": {"2"}, "b": {""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}
