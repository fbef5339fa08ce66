//! Manifests for Kubernetes, as kustomize renders them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    checkout, installed,
    instance::{file::OwnFile, lastack},
    run,
};

/// What a kustomization renders, if Kubernetes' schemas allow it.
pub(crate) fn rendered(kustomization: &Path) -> Vec<Value> {
    let kubectl = installed("kubectl");
    // Where the machine has one, none is installed.
    let kubectl = if kubectl.exists() {
        kubectl
    } else {
        "kubectl".into()
    };
    let text = run(Command::new(kubectl).arg("kustomize").arg(kustomization)).unwrap();
    validated(&text).unwrap_or_else(|error| panic!("{}: {error}", kustomization.display()))
}

/// Manifests of a file in YAML, if the schemas allow them.
fn validated(text: &str) -> Result<Vec<Value>, String> {
    let file = OwnFile::new(text);
    let mut python = Command::new(installed("python"));
    python.arg(checkout("filter-user/tests/fleet/manifests.py"));
    let output = python
        .stdin(Stdio::from(fs::File::open(file.path()).unwrap()))
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!("{python:?}: {error}; `cargo xtask test` installs it");
    });
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    Err(String::from_utf8(output.stderr).unwrap())
}

/// The one of a kind.
pub(crate) fn of_kind(manifests: &[Value], kind: &str) -> Value {
    let mut found = manifests.iter().filter(|manifest| manifest["kind"] == kind);
    let manifest = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "several of {kind}");
    manifest.clone()
}

fn kustomizations() -> Vec<PathBuf> {
    let overlays = fs::read_dir(checkout("fleet/kubernetes/overlays")).unwrap();
    let overlays = overlays.map(|entry| entry.unwrap().path());
    [checkout("fleet/kubernetes/base")]
        .into_iter()
        .chain(overlays)
        .collect()
}

#[test]
fn kubernetes_schemas_allow_what_is_rendered_and_each_has_the_same_rights() {
    for kustomization in kustomizations() {
        let manifests = rendered(&kustomization);
        for manifest in &manifests {
            let namespaced = manifest["kind"] != "Namespace";
            let namespace = namespaced.then_some("lastack");
            assert_eq!(manifest["metadata"]["namespace"].as_str(), namespace);
        }
        let pod = &of_kind(&manifests, "DaemonSet")["spec"]["template"]["spec"];
        let [container] = &pod["containers"].as_array().unwrap()[..] else {
            panic!("one container: {pod}");
        };
        let rights = json!({
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"], "add": ["BPF", "NET_ADMIN", "PERFMON"]},
        });
        let before = pod["initContainers"].as_array().into_iter().flatten();
        for container in before.chain([container]) {
            assert_eq!(container["securityContext"], rights);
        }
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        assert_eq!(pod["hostNetwork"], true);
        for other in ["hostPID", "hostIPC"] {
            assert_eq!(pod[other], Value::Null);
        }
    }
}

#[test]
fn a_quota_allows_the_priority_of_the_pods_in_their_namespace() {
    for kustomization in kustomizations() {
        let manifests = rendered(&kustomization);
        let pod = &of_kind(&manifests, "DaemonSet")["spec"]["template"]["spec"];
        let quota = &of_kind(&manifests, "ResourceQuota")["spec"];
        let scope = json!([{
            "scopeName": "PriorityClass", "operator": "In", "values": [pod["priorityClassName"]],
        }]);
        assert_eq!(quota["scopeSelector"]["matchExpressions"], scope);
        assert_eq!(quota["hard"], json!({"pods": "10k"}));
    }
}

#[test]
fn what_runs_before_the_program_is_of_its_image_and_looks_where_it_pins() {
    for kustomization in kustomizations() {
        let manifests = rendered(&kustomization);
        let pod = &of_kind(&manifests, "DaemonSet")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        for before in pod["initContainers"].as_array().into_iter().flatten() {
            for key in ["image", "imagePullPolicy"] {
                assert_eq!(before[key], container[key]);
            }
            for key in ["env", "volumeMounts"] {
                let all = container[key].as_array().unwrap();
                for one in before[key].as_array().unwrap() {
                    assert!(all.contains(one), "{one} of {all:?}");
                }
            }
        }
    }
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_refused() {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}, "specs": {},
    });
    let error = validated(&manifest.to_string()).unwrap_err();
    assert!(error.contains("'specs' was unexpected"), "{error}");
}

#[test]
fn lastack_understands_each_configuration() {
    for kustomization in kustomizations() {
        let manifests = rendered(&kustomization);
        let text = &of_kind(&manifests, "ConfigMap")["data"]["lastack.toml"];
        let file = OwnFile::new(text.as_str().unwrap());
        // Judges the file before it looks at the machine, which need not have that interface.
        let mut check = lastack(&["check", "--config", file.as_str(), "--iface", "lo"]);
        let said = run(check.args(["--output", "json"])).unwrap_or_else(|said| said);
        assert!(said.starts_with('{'), "{said}");
    }
}
