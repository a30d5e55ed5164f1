package cluster

// node is a machine type of a cloud.
type node struct {
	cores    int
	memoryMB int
}

// nodeTypes are the clouds' own figures, by the ids that bundles name.
var nodeTypes = map[string]node{
	"Standard_DS3_v2": {4, 14 << 10}, "Standard_DS4_v2": {8, 28 << 10}, "Standard_DS5_v2": {16, 56 << 10},
	"Standard_DS11_v2": {2, 14 << 10}, "Standard_DS12_v2": {4, 28 << 10}, "Standard_DS13_v2": {8, 56 << 10}, "Standard_DS14_v2": {16, 112 << 10},
	"Standard_D3_v2": {4, 14 << 10}, "Standard_D4_v2": {8, 28 << 10}, "Standard_D5_v2": {16, 56 << 10}, "Standard_D12_v2": {4, 28 << 10},
	"Standard_D4s_v3": {4, 16 << 10}, "Standard_D8s_v3": {8, 32 << 10}, "Standard_D16s_v3": {16, 64 << 10},
	"Standard_D4ds_v4": {4, 16 << 10}, "Standard_D8ds_v4": {8, 32 << 10}, "Standard_D4ads_v5": {4, 16 << 10},
	"Standard_D4ds_v5": {4, 16 << 10}, "Standard_D8ds_v5": {8, 32 << 10}, "Standard_D16ds_v5": {16, 64 << 10}, "Standard_D8ads_v5": {8, 32 << 10},
	"Standard_E4s_v3": {4, 32 << 10}, "Standard_E8s_v3": {8, 64 << 10}, "Standard_E4ds_v4": {4, 32 << 10}, "Standard_E8ds_v4": {8, 64 << 10},
	"Standard_E4ds_v5": {4, 32 << 10}, "Standard_E8ds_v5": {8, 64 << 10}, "Standard_E16ds_v5": {16, 128 << 10},
	"Standard_F4": {4, 8 << 10}, "Standard_F4s": {4, 8 << 10}, "Standard_F8": {8, 16 << 10}, "Standard_F8s_v2": {8, 16 << 10},
	"Standard_L4s": {4, 32 << 10}, "Standard_L8s_v2": {8, 64 << 10}, "Standard_L8s_v3": {8, 64 << 10},
	"Standard_NC4as_T4_v3": {4, 28 << 10}, "Standard_NC6s_v3": {6, 112 << 10},
	"m4.large": {2, 8 << 10}, "m4.xlarge": {4, 16 << 10}, "m5.large": {2, 8 << 10}, "m5.xlarge": {4, 16 << 10}, "m5.2xlarge": {8, 32 << 10},
	"m5d.large": {2, 8 << 10}, "m5d.xlarge": {4, 16 << 10}, "m5d.2xlarge": {8, 32 << 10}, "m5d.4xlarge": {16, 64 << 10},
	"m6i.xlarge": {4, 16 << 10}, "m6id.xlarge": {4, 16 << 10}, "m6gd.large": {2, 8 << 10}, "m6gd.xlarge": {4, 16 << 10}, "m7gd.xlarge": {4, 16 << 10},
	"r5d.large": {2, 16 << 10}, "r5d.xlarge": {4, 32 << 10}, "r6id.large": {2, 16 << 10}, "r6id.xlarge": {4, 32 << 10},
	"i3.large": {2, 15 << 10}, "i3.xlarge": {4, 30 << 10}, "i3.2xlarge": {8, 61 << 10}, "i3.4xlarge": {16, 122 << 10},
	"i3en.large": {2, 16 << 10}, "i3en.xlarge": {4, 32 << 10}, "i4i.xlarge": {4, 32 << 10}, "c5d.xlarge": {4, 8 << 10},
	"rd-fleet.xlarge": {4, 32 << 10}, "md-fleet.large": {2, 8 << 10}, "md-fleet.xlarge": {4, 16 << 10}, "g4dn.xlarge": {4, 16 << 10},
	"n1-standard-4": {4, 15 << 10}, "n1-highmem-4": {4, 26 << 10}, "n2-standard-4": {4, 16 << 10}, "n2-standard-8": {8, 32 << 10},
	"n2-highmem-4": {4, 32 << 10}, "n2-highmem-8": {8, 64 << 10}, "n2d-standard-4": {4, 16 << 10}, "e2-standard-4": {4, 16 << 10}, "e2-highmem-4": {4, 32 << 10},
}
