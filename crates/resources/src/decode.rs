//! A YAML value into the type of its API, with the path of the field in what goes wrong.

use serde::Deserializer;
use serde::de::DeserializeOwned;
use serde_yaml_ng::Value;

use crate::findings::Findings;

/// The value as a `T`. A field of the wrong type is an error, an unknown field a warning.
pub(crate) fn decode<T: DeserializeOwned>(value: &Value, findings: &mut Findings) -> Option<T> {
    let mut unknown = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(path_text(&path));
    let decoded = erased(serde_ignored::Deserializer::new(value, &mut note));
    for field in unknown {
        findings.warning(field, "not a field of this API", "ignored");
    }
    match decoded {
        Ok(value) => Some(value),
        Err(error) => {
            findings.error(error_field::<T>(value), error);
            None
        }
    }
}

/// Decodes behind a pointer: the types of the API are large, and would be compiled for each kind of
/// deserializer.
fn erased<'de, T: DeserializeOwned>(deserializer: impl Deserializer<'de>) -> Result<T, String> {
    let mut deserializer = <dyn erased_serde::Deserializer<'_>>::erase(deserializer);
    erased_serde::deserialize(&mut deserializer).map_err(|error| error.to_string())
}

/// The path of the field that can't be decoded. To keep track of it costs more than the decoding, so
/// that it is done when there is an error, and not before.
fn error_field<T: DeserializeOwned>(value: &Value) -> String {
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(value, &mut track);
    match erased::<T>(deserializer) {
        Ok(_) => String::new(),
        Err(_) => {
            let path = track.path().to_string();
            if path == "." { String::new() } else { path }
        }
    }
}

/// The path in the form of the Kubernetes API server: `spec.ports[0].name`.
fn path_text(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", path_text(parent)),
        Path::Map { parent, key } => match path_text(parent).as_str() {
            "" => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => path_text(parent),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let mut findings = Findings::default();
        let _: Option<Service> = decode(&serde_yaml_ng::from_str(text).unwrap(), &mut findings);
        findings.into_vec("").into_iter().map(|f| format!("{}: {}", f.field, f.message)).collect()
    }

    #[test]
    fn names_the_field() {
        let text = "
            apiVersion: v1
            kind: Service
            metadata: {name: web}
            spec:
              ports: [{port: 80, protcol: TCP}]
              unknown: {a: 1}";
        assert_eq!(
            findings(text),
            [
                "spec.ports[0].protcol: not a field of this API",
                "spec.unknown: not a field of this API"
            ]
        );
        let text = "
            apiVersion: v1
            kind: Service
            metadata: {name: web}
            spec: {ports: [{port: eighty}]}";
        let found = findings(text);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("spec.ports[0].port: invalid type"), "{found:?}");
    }
}
