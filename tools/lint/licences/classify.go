package main

import (
	"regexp"
	"strings"
)

// classify returns the SPDX names of the licences whose text is in a file.
func classify(text string) []string {
	text = strings.Join(strings.Fields(strings.NewReplacer("#", " ", "*", " ", "//", " ").Replace(text)), " ")
	var found []string
	for _, l := range texts {
		if l.pattern.MatchString(text) && (l.without == "" || !strings.Contains(text, l.without)) {
			found = append(found, l.name)
		}
	}
	return found
}

// texts are what tells each licence from the others, once blanks are single.
var texts = []struct {
	name    string
	pattern *regexp.Regexp
	without string
}{
	{"AGPL-3.0", regexp.MustCompile(`GNU AFFERO GENERAL PUBLIC LICENSE Version 3`), ""},
	{"GPL", regexp.MustCompile(`GNU GENERAL PUBLIC LICENSE Version [23]`), ""},
	{"LGPL", regexp.MustCompile(`GNU (LESSER|LIBRARY) GENERAL PUBLIC LICENSE Version`), ""},
	{"Apache-2.0", regexp.MustCompile(`(?i)Apache License,? Version 2\.0`), ""},
	{"MPL-2.0", regexp.MustCompile(`(?i)Mozilla Public License,? (Version|v\.) ?2\.0`), ""},
	{"OFL-1.1", regexp.MustCompile(`SIL OPEN FONT LICENSE Version 1\.1`), ""},
	{"MIT", regexp.MustCompile(`(?i)Permission is hereby granted, free of charge, to any person obtaining a copy`), ""},
	{"ISC", regexp.MustCompile(`Permission to use, copy, modify, and(/or)? distribute this software for any purpose with or without fee is hereby granted`), ""},
	{"BSD-3-Clause", regexp.MustCompile(`Redistribution and use in source and binary forms.*(may not|may) be used to endorse or promote`), ""},
	{"BSD-2-Clause", regexp.MustCompile(`Redistribution and use in source and binary forms`), "endorse or promote"},
	{"Unlicense", regexp.MustCompile(`This is free and unencumbered software released into the public domain`), ""},
	{"CC-BY-4.0", regexp.MustCompile(`Creative Commons Attribution 4\.0 International`), ""},
	{"CC0-1.0", regexp.MustCompile(`CC0 1\.0 Universal`), ""},
}
