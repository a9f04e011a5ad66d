package kube

import "testing"

func TestLastLine(t *testing.T) {
	for _, tt := range []struct{ why, log, want string }{
		{"no log", "", ""},
		{"another's program", "a\nb\n", "b"},
		{"ours", `{"msg":"answers"}`, "answers"},
		{"ours that waits", "x\n" + `{"level":"INFO","msg":"waiting for postgres://db:5432/raw","waited":"3s","error":"connection refused"}` + "\n", "waiting for postgres://db:5432/raw: connection refused"},
		{"ours in Argo's executor, which speaks last", `{"level":"ERROR","msg":"the source has no column age"}` + "\n" + `{"argo":true,"error":"exit status 2","level":"info","msg":"sub-process exited"}` + "\n", "the source has no column age"},
	} {
		if got := LastLine(tt.log); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.why, got, tt.want)
		}
	}
}

func TestSaid(t *testing.T) {
	for _, tt := range []struct{ why, message, want string }{
		{"nothing", "", ""},
		{"what Argo itself says", "child 'load-raw-data' failed", "child 'load-raw-data' failed"},
		{"a program that said nothing", "main: Error (exit code 1)", "main: Error (exit code 1)"},
		{"a killed one", "main: OOMKilled (exit code 137): ", "main: OOMKilled (exit code 137): "},
		{"the end of ours' log", "main: Error (exit code 2): {\"level\":\"INFO\",\"msg\":\"reading\"}\n{\"level\":\"ERROR\",\"msg\":\"the source has no column age\"}\ntime=now level=info msg=\"sub-process exited\"\n",
			"main: Error (exit code 2): the source has no column age"},
		{"the end of a panic", "main: Error (exit code 2): goroutine 1:\nexit status 2", "main: Error (exit code 2): exit status 2"},
	} {
		if got := said(tt.message); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.why, got, tt.want)
		}
	}
}
