package registry

import (
	"crypto/sha256"
	"encoding/hex"

	"mlops/internal/dataset"
)

// generation is raised when a change of the training's code makes other models
// out of the same data and spec, so that they are trained again.
const generation = "3"

// Training is the digest of all that the candidates of one training share: the
// data as they are now and the whole spec. It is the value of TagTraining.
func Training(spec *dataset.Spec, dataDigest string) string {
	sum := sha256.Sum256([]byte(generation + "\n" + spec.Digest() + "\n" + dataDigest))
	return hex.EncodeToString(sum[:])
}

// Key names what one training makes of a candidate. It is the value of
// TagTrainingKey.
func Key(training, candidate string) string { return training + "/" + candidate }
