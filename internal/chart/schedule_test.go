package chart

import (
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
)

// The chart accepts exactly the schedules that Argo's own parser accepts, so that a mistake
// fails the install instead of leaving a CronWorkflow that never runs.
func TestSchedulesAreCron(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for _, test := range []struct{ why, schedule, want string }{
			{"numbers", "0 1 31 12 6", ""},
			{"leading zeros", "05 08 01 02 00", ""},
			{"steps, ranges and lists", "*/5,3 0-6/2,22 1,15 */3 1-5", ""},
			{"names", "0 0 ? JAN-mar mon,Fri", ""},
			{"a word for a whole schedule", "@midnight", ""},
			{"an interval", "@every 1h30m", ""},
			{"off", "", ""},
			{"hour 25", "0 25 * * *", `"25" is not a valid hour of a cron schedule`},
			{"minute 60", "60 1 * * *", `"60" is not a valid minute of a cron schedule`},
			{"day 0", "0 1 0 * *", `"0" is not a valid day of the month of a cron schedule`},
			{"month 13", "0 1 * 13 *", `"13" is not a valid month of a cron schedule`},
			{"Argo's cron has no seventh day", "0 1 * * 7", `"7" is not a valid day of the week of a cron schedule`},
			{"step 0", "*/0 1 * * *", `"*/0" is not a valid minute of a cron schedule`},
			{"words", "once upon a time x", `"once" is not a valid minute of a cron schedule`},
			{"four fields", "0 1 * *", "does not match pattern"},
			{"an unknown word", "@fortnightly", "does not match pattern"},
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
			"europe zurich": "'/pipelines/timezone'", "../etc/passwd": "'/pipelines/timezone'"} {
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
