//! Ring 4: the kernel programs, the probe and the main scenes on each supported older kernel.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{kernel, on_each, quoted};
use crate::built::TestProgram;
use crate::exec;
use crate::rings::{DATAPATH, SCENES};

/// For all of it: half an hour of processor time, so fifteen minutes on two cores without other work.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// Scenes that ask something of the kernel; parts of their paths. What a scene asks of the daemon alone
/// is the same on every kernel; load, and a process for each of many questions, take too long there.
const CHOSEN: [&str; 19] = [
    "authz::an_exact_principal",
    "authz::connections_that_a_new_policy",
    "dns::names::a_server_on_port_53",
    "enrolment::a_namespace_is_in_the_mesh",
    "events::",
    "lifecycle::no_connect_fails_while_the_daemon_is_restarted",
    "lifecycle::the_data_path_outlives",
    "locality::",
    "modes::a_session",
    "modes::consistent",
    "modes::least",
    "modes::round_robin",
    "refusal::",
    "sockets::",
    "udp::",
    "v4v6::",
    "waypoint::bytes::",
    "waypoint::silent::a_client_that_waits",
    "waypoint::what_waits",
];

/// How many times longer than usual a test waits there, see `testkit::patient`.
const PATIENCE: u32 = 5;

pub(crate) fn run(built: &[TestProgram]) -> Result<()> {
    let datapath = named(built, DATAPATH, "datapath")?;
    let scenes = named(built, SCENES, "scenes")?;
    let probe = exec::programs("debug")?.join("kmesh-daemon");
    let command = script(&[
        ("what the kernel has", exec::root(), words(&probe, &["probe"])),
        ("kernel programs", &datapath.folder, words(&datapath.program, &[])),
        ("scenes", &scenes.folder, words(&scenes.program, &scene_arguments())),
    ]);
    let outcomes = on_each(&kernel::ALL, &command, DEADLINE)?;
    let mut failed = Vec::new();
    for outcome in outcomes {
        match outcome.code {
            Ok(0) => {}
            Ok(_) => failed.push(outcome.kernel.series),
            Err(error) => return Err(error.context(outcome.kernel.series)),
        }
    }
    if !failed.is_empty() {
        let one = failed[0];
        bail!(
            "the tests failed on {}: look closer with: cargo xtask vm --kernel {one}",
            failed.join(" and ")
        );
    }
    Ok(())
}

fn scene_arguments() -> Vec<&'static str> {
    let mut arguments = vec!["--test-threads=1"];
    arguments.extend(CHOSEN);
    arguments
}

fn words(program: &Path, arguments: &[&str]) -> String {
    let program = program.display().to_string();
    let words = std::iter::once(program.as_str()).chain(arguments.iter().copied());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// All steps run, so that one look tells what a kernel lacks; fails when one of them did.
fn script(steps: &[(&str, &Path, String)]) -> String {
    let mut script = format!("export KMESH_TEST_PATIENCE={PATIENCE}\nfailed=0\n");
    for (title, folder, command) in steps {
        let folder = quoted(&folder.display().to_string());
        script += &format!(
            "echo {title}\ncd {folder} && {command} || {{ failed=1; echo {failure}; }}\n",
            title = quoted(&format!("-- {title}")),
            failure = quoted(&format!("-- {title}: FAILED")),
        );
    }
    script + "exit $failed\n"
}

fn named<'a>(built: &'a [TestProgram], folder: &str, target: &str) -> Result<&'a TestProgram> {
    let mut found = built.iter().filter(|it| it.is_of(folder) && it.target == target);
    found.next().with_context(|| format!("cargo built no test program {target} of {folder}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter that matches nothing would pass.
    #[test]
    fn each_chosen_scene_exists() {
        for path in CHOSEN {
            let (module, name) = path.rsplit_once("::").expect("a module and the start of a name");
            let module = module.replace("::", "/");
            let file = exec::root().join(format!("tests/scenes/root/{module}.rs"));
            let text = std::fs::read_to_string(&file).expect("the module is there");
            assert!(text.contains(&format!("fn {name}")), "{path} is gone: choose another");
        }
    }

    #[test]
    fn a_step_that_fails_does_not_stop_the_others() {
        let steps =
            [("a", Path::new("/x"), "false".to_owned()), ("b", Path::new("/"), "true".into())];
        assert_eq!(
            script(&steps),
            "export KMESH_TEST_PATIENCE=5\nfailed=0\n\
             echo '-- a'\ncd '/x' && false || { failed=1; echo '-- a: FAILED'; }\n\
             echo '-- b'\ncd '/' && true || { failed=1; echo '-- b: FAILED'; }\n\
             exit $failed\n"
        );
    }
}
