package main

import "testing"

func TestStepContainers(t *testing.T) {
	steps, err := stepContainers("../../workflows")
	if err != nil {
		t.Fatal(err)
	}
	limits := map[string]string{}
	for _, s := range steps {
		limits[s.Name] = s.Resources.Limits.Memory().String()
	}
	for _, name := range []string{"step load-raw-data", "step process-data", "step train", "step promote-best-model"} {
		if limits[name] == "" || limits[name] == "0" {
			t.Errorf("%s has the limit %q", name, limits[name])
		}
	}
}
