package main

import (
	"slices"
	"testing"
)

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"Apache", "\n   Apache License\n   Version 2.0, January 2004", []string{"Apache-2.0"}},
		{"BSD-2", "Redistribution and use in source\nand binary forms, with or without", []string{"BSD-2-Clause"}},
		{"BSD-3", "Redistribution and use in source and binary forms ... may be used to\n// endorse or promote products", []string{"BSD-3-Clause"}},
		{"AGPL", "GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3, 19 November 2007 ... GNU General Public License", []string{"AGPL-3.0"}},
		{"GPL beside MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy\nGNU GENERAL PUBLIC LICENSE\nVersion 2", []string{"GPL", "MIT"}},
		{"none", "All rights reserved.", nil},
	} {
		if got := classify(c.text); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
