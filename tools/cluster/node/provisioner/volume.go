package main

import "strings"

const (
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	selectedNode  = "volume.kubernetes.io/selected-node"
	wantedFrom    = "volume.kubernetes.io/storage-provisioner"
)

// The parts of Kubernetes' objects that are read and written.
type (
	metadata struct {
		Name              string            `json:"name,omitempty"`
		Namespace         string            `json:"namespace,omitempty"`
		UID               string            `json:"uid,omitempty"`
		Annotations       map[string]string `json:"annotations,omitempty"`
		DeletionTimestamp string            `json:"deletionTimestamp,omitempty"`
	}
	class struct {
		Metadata    metadata `json:"metadata"`
		Provisioner string   `json:"provisioner"`
		Reclaim     string   `json:"reclaimPolicy"`
	}
	claim struct {
		Metadata metadata `json:"metadata"`
		Spec     struct {
			Class     string   `json:"storageClassName"`
			Volume    string   `json:"volumeName"`
			Modes     []string `json:"accessModes"`
			Mode      string   `json:"volumeMode"`
			Resources struct {
				Requests map[string]string `json:"requests"`
			} `json:"resources"`
		} `json:"spec"`
	}
	volume struct {
		Metadata metadata `json:"metadata"`
		Spec     struct {
			Reclaim string `json:"persistentVolumeReclaimPolicy"`
			Local   struct {
				Path string `json:"path"`
			} `json:"local"`
		} `json:"spec"`
		Status struct {
			Phase string `json:"phase"`
		} `json:"status"`
	}
)

// wants reports whether the claim waits for a volume on the node. The volume
// controller annotates it with the provisioner that is to make one, the
// scheduler with the node.
func (c claim) wants(node string) bool {
	if c.Metadata.DeletionTimestamp != "" || c.Spec.Volume != "" || c.Spec.Mode == "Block" || c.Metadata.Annotations[wantedFrom] != Name {
		return false
	}
	at, chosen := c.Metadata.Annotations[selectedNode]
	return !chosen || at == node
}

func (c claim) volumeName() string { return "pvc-" + c.Metadata.UID }

// folderName is for people; the claim's uid tells claims of the same name
// apart.
func (c claim) folderName() string {
	return c.Metadata.Namespace + "_" + c.Metadata.Name + "_" + strings.Split(c.Metadata.UID, "-")[0]
}

func (c claim) volume(k class, dir, node string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolume",
		"metadata": map[string]any{"name": c.volumeName(), "annotations": map[string]string{provisionedBy: Name}},
		"spec": map[string]any{
			"accessModes":                   c.Spec.Modes,
			"capacity":                      map[string]string{"storage": c.Spec.Resources.Requests["storage"]},
			"persistentVolumeReclaimPolicy": k.Reclaim,
			"storageClassName":              c.Spec.Class,
			"volumeMode":                    "Filesystem",
			"local":                         map[string]string{"path": dir},
			"claimRef": map[string]string{"apiVersion": "v1", "kind": "PersistentVolumeClaim",
				"namespace": c.Metadata.Namespace, "name": c.Metadata.Name, "uid": c.Metadata.UID},
			"nodeAffinity": map[string]any{"required": map[string]any{"nodeSelectorTerms": []any{map[string]any{
				"matchExpressions": []any{map[string]any{"key": "kubernetes.io/hostname", "operator": "In", "values": []string{node}}},
			}}}},
		},
	}
}
