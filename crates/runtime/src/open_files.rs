//! How many files and sockets the process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit to what the process may take without asking anybody, and returns it.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_limit() -> std::io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_becomes_the_highest_that_is_allowed() {
        let raised = raise_limit().expect("allowed");
        let limits = getrlimit(Resource::RLIMIT_NOFILE).expect("limits");
        assert_eq!(limits, (raised, raised));
    }
}
