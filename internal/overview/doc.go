// Package overview asks a running platform, wherever it runs, what people and
// checks want to know of it: the rows of a data set, the last runs, the version
// in production and what it answers.
package overview
