package promote

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"

	"mlops/internal/model"
	"mlops/internal/registry"
)

// Record is decision.json: all that the gate looked at when it decided on a version.
type Record struct {
	Model     string  `json:"model"`
	Version   int     `json:"version"`
	Candidate string  `json:"candidate"`
	Outcome   string  `json:"outcome"` // what became of it; see registry.Outcome
	Reason    string  `json:"reason"`  // in words
	Metric    string  `json:"metric"`  // that decides
	Value     float64 `json:"value"`   // of the metric, on the validation rows
	Rows      int     `json:"rows"`    // of the validation split

	Champion   *Scored  `json:"champion,omitempty"` // in production before, where it could be scored
	Contenders []Scored `json:"contenders"`         // all that were scored on these rows
	Checks     []Answer `json:"checks"`
}

// Scored is a version with its value of the metric.
type Scored struct {
	Version   int     `json:"version"`
	Candidate string  `json:"candidate"`
	Value     float64 `json:"value"`
}

// Answer is to one thing that the gate asks.
type Answer struct {
	Name    string             `json:"check"`             // chance, constant, calibration, samples, better or slices
	Result  string             `json:"result"`            // passed, failed, or skipped
	Found   string             `json:"found"`             // in words
	Figures map[string]float64 `json:"figures,omitempty"` // that it goes by
	Slices  []SliceGain        `json:"slices,omitempty"`
}

// tagCheck begins the tags of a run that have the checks' results.
const tagCheck = "gate."

// checks are the answers to all that the gate asks of a candidate.
func (c *Comparison) checks(e *Contender) []Answer {
	result := map[bool]string{true: "passed", false: "failed"}
	drawn := func(figures map[string]float64) map[string]float64 {
		if c.Groups > 0 {
			figures["groups"] = float64(c.Groups)
		}
		if c.Times > 0 {
			figures["times"] = float64(c.Times)
		}
		return figures
	}
	list := []Answer{{"chance", result[e.Skill.Any()], c.chanceOf(e),
		drawn(map[string]float64{"value": e.Skill.Value, "low": e.Skill.Low, "high": e.Skill.High, "guess": e.Skill.Guess}), nil}}
	if k := e.Constant; k != nil {
		list = append(list, Answer{"constant", result[!worseThanConstant(e)], c.constantOf(e),
			drawn(map[string]float64{"gain": k.Mean, "low": k.Low, "high": k.High}), nil})
	}
	r := e.Reliability
	list = append(list, Answer{"calibration", result[!c.off(e)], c.offOf(e),
		map[string]float64{"off": r.Off, "share": r.Share, "timid": r.Timid}, nil})
	if e.Loose != "" {
		for i := range list[1:] {
			list[i+1].Result, list[i+1].Found = "skipped", e.Loose
		}
	}
	list = append(list, Answer{"samples", "passed", fmt.Sprintf("%d stored predictions are given again within %g", e.Samples, model.Tolerance),
		map[string]float64{"samples": float64(e.Samples), "tolerance": model.Tolerance}, nil})
	if a := e.Against; a != nil {
		gate := c.Spec.Gate()
		figures := map[string]float64{
			"gain": a.Gain, "low": a.Low, "high": a.High, "better": a.Better, "draws": float64(a.Draws), "groups": float64(a.Groups),
			"margin": gate.Margin, "confidence": gate.Confidence,
		}
		if a.Times > 0 {
			figures["times"], figures["block"] = float64(a.Times), float64(a.Block)
		}
		list = append(list, Answer{"better", result[a.Gain > 0 && a.Better >= gate.Confidence], c.betterOf(e), figures, nil})
		if champion := c.champion(); champion != nil && len(a.Slices) > 0 {
			list = append(list, Answer{"slices", result[c.worst(e) == nil], c.slicesOf(e, champion),
				map[string]float64{"bound": c.Spec.SliceMargin(champion.Metric), "confidence": gate.Confidence, "least_rows": leastSlice}, a.Slices})
		}
	}
	return list
}

// champion returns the version in production, nil where it could not be scored.
func (c *Comparison) champion() *Contender {
	for i := range c.Contenders {
		if e := &c.Contenders[i]; e.Version.Number == c.Champion.Number && e.Unusable == nil {
			return e
		}
	}
	return nil
}

// record is what is written down about a candidate, with the tags of its run.
func (c *Comparison) record(e *Contender, n Note) (text []byte, tags map[string]string, err error) {
	r := Record{
		Model: c.Spec.Model, Version: e.Version.Number, Candidate: e.Version.Candidate,
		Outcome: string(n.Outcome), Reason: n.Reason, Metric: c.Spec.Metrics[0], Value: e.Metric, Rows: c.Rows,
		Checks: c.checks(e), Contenders: []Scored{},
	}
	for i := range c.Contenders {
		o := &c.Contenders[i]
		if o.Unusable != nil {
			continue
		}
		scored := Scored{o.Version.Number, o.Version.Candidate, o.Metric}
		r.Contenders = append(r.Contenders, scored)
		if o.Version.Number == c.Champion.Number {
			r.Champion = &scored
		}
	}
	tags = map[string]string{}
	for _, k := range r.Checks {
		maps.DeleteFunc(k.Figures, func(_ string, x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }) // unknown
		tags[tagCheck+k.Name] = k.Result + ": " + k.Found
	}
	text, err = json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, nil, fmt.Errorf("writing %s of version %d: %w", registry.FileDecision, e.Version.Number, err)
	}
	return append(text, '\n'), tags, nil
}
