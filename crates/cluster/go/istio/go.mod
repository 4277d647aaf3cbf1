module kmesh.net/tools/istio
go 1.26
require istio.io/istio v0.0.0-20260409200358-0c774325b938
replace istio.io/api => istio.io/api v1.29.2
replace istio.io/client-go => istio.io/client-go v1.29.2
replace github.com/openshift/api => github.com/openshift/api v0.0.0-20260420151639-34e60874783e
