package program

import (
	"errors"
	"flag"
	"fmt"
	"testing"
)

func TestCode(t *testing.T) {
	tests := []struct {
		reason string
		err    error
		want   int
	}{
		{"no error", nil, 0},
		{"any error", errors.New("x"), Failed},
		{"bad input", Inputf("x"), BadInput},
		{"bad input, wrapped", fmt.Errorf("doing: %w", Inputf("x")), BadInput},
		{"no error marked as bad input", Input(nil), 0},
	}
	for _, test := range tests {
		if got := Code(test.err); got != test.want {
			t.Errorf("%s: exit code %d, want %d", test.reason, got, test.want)
		}
	}
}

func TestFlags(t *testing.T) {
	tests := []struct {
		reason string
		args   []string
		want   int
	}{
		{"a flag that is known", []string{"--all=true"}, 0},
		{"one that is not", []string{"--al"}, BadInput},
		{"a wrong value", []string{"--all=perhaps"}, BadInput},
		{"an argument behind the flags", []string{"--all", "more"}, BadInput},
	}
	for _, test := range tests {
		err := Flags(test.args, func(f *flag.FlagSet) { f.Bool("all", false, "") })
		if got := Code(err); got != test.want {
			t.Errorf("%s: %v, exit code %d, want %d", test.reason, err, got, test.want)
		}
	}
}

func TestEnv(t *testing.T) {
	t.Setenv("MLOPS_TEST_SET", "x")
	t.Setenv("MLOPS_TEST_EMPTY", "")
	if v, err := Env("MLOPS_TEST_SET"); v != "x" || err != nil {
		t.Errorf("set: %q, %v", v, err)
	}
	if _, err := Env("MLOPS_TEST_EMPTY"); Code(err) != BadInput {
		t.Errorf("empty: %v, want an error about the input", err)
	}
	if v := EnvOr("MLOPS_TEST_EMPTY", "other"); v != "other" {
		t.Errorf("empty: %q, want the other value", v)
	}
}
