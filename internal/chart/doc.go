// Package chart holds the tests of the chart in charts/: it is rendered with a
// real Helm for the default values and for each switch, and what comes out is
// read strictly into Kubernetes' and Argo's own types.
//
// The tests need a Helm: MLOPS_TEST_HELM names its binary, or several, separated
// as in PATH. Without it they are skipped.
package chart
