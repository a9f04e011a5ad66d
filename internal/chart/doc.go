// Package chart tests the chart in charts/: it is rendered by a real Helm with the
// default values and with each switch turned, and the output is decoded strictly into
// Kubernetes' and Argo's own types.
//
// Most tests need Helm: MLOPS_TEST_HELM names its binary, or several, separated as in
// PATH. Without it they are skipped.
package chart
