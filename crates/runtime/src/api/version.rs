//! Build information, with Kmesh's keys.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which build this is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Version {
    /// Release, such as `0.1.0`.
    pub git_version: String,
    /// Commit that it was built from, empty when the build did not say.
    pub git_commit: String,
    /// `clean` or `dirty`, empty when the build did not say.
    pub git_tree_state: String,
    /// RFC 3339 time of the build, empty when the build did not say.
    pub build_date: String,
    /// Always empty; the key is kept for programs that read Kmesh's answer.
    pub go_version: String,
    /// The compiler, such as `rustc 1.95.0`.
    pub compiler: String,
    /// Operating system and architecture, such as `linux/amd64`.
    pub platform: String,
}

impl Version {
    /// The build of the running program. A release build sets `KMESH_GIT_COMMIT`,
    /// `KMESH_GIT_TREE_STATE` and `KMESH_BUILD_DATE` in its environment.
    pub fn current() -> Self {
        Self {
            git_version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: option_env!("KMESH_GIT_COMMIT").unwrap_or_default().to_owned(),
            git_tree_state: option_env!("KMESH_GIT_TREE_STATE").unwrap_or_default().to_owned(),
            build_date: option_env!("KMESH_BUILD_DATE").unwrap_or_default().to_owned(),
            go_version: String::new(),
            compiler: env!("KMESH_COMPILER").to_owned(),
            platform: platform(std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

/// `version` or `version-commit`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.git_version)?;
        if !self.git_commit.is_empty() {
            write!(f, "-{}", self.git_commit)?;
        }
        Ok(())
    }
}

/// The platform with the architecture names that container images use.
fn platform(os: &str, arch: &str) -> String {
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{os}/{arch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_build_names_its_compiler_and_platform() {
        let version = Version::current();
        assert!(version.compiler.starts_with("rustc 1."), "{}", version.compiler);
        assert!(version.platform.starts_with("linux/"), "{}", version.platform);
        assert_eq!(version.go_version, "");
        assert_eq!(platform("linux", "aarch64"), "linux/arm64");
    }

    #[test]
    fn the_commit_follows_the_release() {
        let mut version = Version { git_version: "1.2.3".into(), ..Version::default() };
        assert_eq!(version.to_string(), "1.2.3");
        version.git_commit = "abc".into();
        assert_eq!(version.to_string(), "1.2.3-abc");
    }
}
