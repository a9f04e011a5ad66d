package chart

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each of the project's own images is named by its digest once the values pin them, and
// a missing digest is refused.
func TestPinnedImages(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		ours := regexp.MustCompile(`r\.example\.com/([a-z0-9-]+):0\.1\.0(@sha256:[0-9a-f]{64})?`)
		flags := set("global.images.registry=r.example.com")
		names := map[string]bool{}
		for _, m := range ours.FindAllStringSubmatch(render(t, helm, "mlops", "mlops", flags...).text, -1) {
			names[m[1]] = true
		}
		if len(names) < 10 {
			t.Fatalf("only %d images of ours: %v", len(names), names)
		}
		digest := "sha256:" + strings.Repeat("3d", 32)
		var without []string // the digest of one image
		for name := range names {
			if name == "ui" {
				without = append(slices.Clone(flags), "--set", "global.images.pin=true")
			}
			flags = append(flags, set("global.images.ids."+name+"="+digest)...)
		}
		flags = append(flags, set("global.images.pin=true")...)
		for _, m := range ours.FindAllStringSubmatch(render(t, helm, "mlops", "mlops", flags...).text, -1) {
			if m[2] != "@"+digest {
				t.Errorf("%s is not pinned", m[0])
			}
		}
		refused(t, helm, "mlops", "no digest of", without...)
	})
}
