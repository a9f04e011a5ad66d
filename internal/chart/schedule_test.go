package chart

import (
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedules are what Argo's own parser takes, so that a mistake is told with the
// install and not by a CronWorkflow that never runs.
func TestSchedulesAreCron(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		for _, test := range []struct{ why, schedule, want string }{
			{"numbers", "0 1 31 12 6", ""},
			{"with a zero before", "05 08 01 02 00", ""},
			{"steps, ranges and lists", "*/5,3 0-6/2,22 1,15 */3 1-5", ""},
			{"names", "0 0 ? JAN-mar mon,Fri", ""},
			{"a word for all of it", "@midnight", ""},
			{"some hours apart", "@every 1h30m", ""},
			{"off", "", ""},
			{"an hour that no day has", "0 25 * * *", `"25" is no hour of cron`},
			{"a minute that no hour has", "60 1 * * *", `"60" is no minute of cron`},
			{"no day of the month", "0 1 0 * *", `"0" is no day of the month of cron`},
			{"no month", "0 1 * 13 *", `"13" is no month of cron`},
			{"Argo's cron has no seventh day", "0 1 * * 7", `"7" is no day of the week of cron`},
			{"no step", "*/0 1 * * *", `"*/0" is no minute of cron`},
			{"words", "once upon a time x", `"once" is no minute of cron`},
			{"four fields", "0 1 * *", "does not match pattern"},
			{"a word that cron does not know", "@fortnightly", "does not match pattern"},
		} {
			t.Run(test.why, func(t *testing.T) {
				_, err := cron.ParseStandard(test.schedule)
				if (err == nil || test.schedule == "") != (test.want == "") {
					t.Errorf("Argo's own parser: %v", err)
				}
				flags := []string{"--set-string", "pipelines.schedules.load=" + strings.ReplaceAll(test.schedule, ",", `\,`)}
				if test.want == "" {
					render(t, helm, "mlops", "mlops", flags...)
				} else {
					refused(t, helm, "mlops", test.want, flags...)
				}
			})
		}
		for zone, want := range map[string]string{"Europe/Zurich": "", "America/Argentina/Buenos_Aires": "", "UTC": "", "EST5EDT": "",
			"europe zurich": "'/timezone'", "../etc/passwd": "'/timezone'"} {
			if _, err := time.LoadLocation(zone); (err == nil) != (want == "") {
				t.Errorf("zone %s: %v", zone, err)
			}
			if want == "" {
				render(t, helm, "mlops", "mlops", set("pipelines.timezone="+zone)...)
			} else {
				refused(t, helm, "mlops", want, set("pipelines.timezone="+zone)...)
			}
		}
	})
}
