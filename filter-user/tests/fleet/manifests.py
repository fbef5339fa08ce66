"""Says what Kubernetes' schemas refuse of the manifests on standard input, or else prints them as a list in JSON."""

import json
import sys

import kubernetes_validate
import yaml

# The newest whose schemas the package has; and the oldest that is looked at.
VERSIONS = ["1.37", "1.27"]
# Their schemas are the operator's, not Kubernetes'.
OTHERS = {("monitoring.coreos.com/v1", "PodMonitor")}


def main():
    manifests = [manifest for manifest in yaml.safe_load_all(sys.stdin) if manifest]
    for manifest in manifests:
        if (manifest["apiVersion"], manifest["kind"]) in OTHERS:
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except (
                kubernetes_validate.ValidationError,
                kubernetes_validate.SchemaNotFoundError,
            ) as error:
                sys.exit(f"{version}: {manifest['kind']}: {str(error).splitlines()[0]}")
    json.dump(manifests, sys.stdout)


main()
