package loadtest

import "context"

// Ladder loads a server with the preset's numbers of users, searches for its capacity,
// and adds a stage with that many users, if it found any. The report has the stages, one
// per row of a table.
func Ladder(ctx context.Context, cfg Config, s Search) (Report, Capacity, error) {
	cfg.Users, cfg.Rates, s.Rate = Preset, nil, false
	report, err := Run(ctx, cfg)
	if err != nil || report.Stopped {
		return report, Capacity{}, err
	}
	found, err := FindCapacity(ctx, cfg, s)
	if err != nil || found.Median == 0 {
		return report, found, err
	}
	cfg.Users = []int{int(found.Median)}
	top, err := Run(ctx, cfg)
	if err != nil {
		return report, found, err
	}
	report.Stages = append(report.Stages, top.Stages...)
	report.Stopped = top.Stopped
	report.sumUp()
	return report, found, nil
}
