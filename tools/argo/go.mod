// Names the version of Argo Workflows from which tools/images builds the
// controller, the executor and the server. go.sum vouches for its archive, whose
// own go.sum vouches for the rest: the programs are built in a copy of that
// archive, with the versions of libraries that its makers chose.
module mlops/tools/argo

go 1.26

require github.com/argoproj/argo-workflows/v3 v3.7.14
