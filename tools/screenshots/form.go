package main

import (
	"io"
	"net/url"

	"golang.org/x/net/html"
)

// fields returns what a browser would send of the first form in a page when
// nothing was touched.
func fields(page io.Reader) (url.Values, error) {
	root, err := html.Parse(page)
	if err != nil {
		return nil, err
	}
	values := url.Values{}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		name, ok := attribute(n, "name")
		if !ok {
			continue
		}
		switch n.Data {
		case "input":
			value, _ := attribute(n, "value")
			if kind, _ := attribute(n, "type"); kind == "radio" || kind == "checkbox" {
				if _, checked := attribute(n, "checked"); !checked {
					continue
				}
			}
			values.Set(name, value)
		case "select":
			for o := range n.Descendants() {
				if o.Type != html.ElementNode || o.Data != "option" {
					continue
				}
				_, selected := attribute(o, "selected")
				if value, _ := attribute(o, "value"); selected || !values.Has(name) {
					values.Set(name, value)
				}
			}
		}
	}
	return values, nil
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}
