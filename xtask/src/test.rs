//! `cargo xtask test`: runs the steps, most of them one after the other.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use xshell::Shell;

use crate::background::Background;
use crate::changes::Changes;
use crate::print;
use crate::setup::{self, Need};
use crate::steps::{Context, STEPS, Step};

/// The steps to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every step, on every crate.
    All,
    /// The named steps, on every crate.
    Named(Vec<String>),
    /// The steps and crates that differ from the main branch, with their dependents.
    Changed,
}

/// Prints the name and the subject of each selected step.
///
/// # Errors
/// If a name is unknown, or git cannot list the changes.
pub fn list(sh: &Shell, selection: &Selection) -> anyhow::Result<()> {
    for step in select(sh, selection)?.0 {
        print(format_args!("{:<8} {}", step.name, step.about));
    }
    Ok(())
}

/// Installs what the selected steps need and runs them. Stops at the first failure.
///
/// # Errors
/// If a name is unknown, a tool cannot be installed, or a step fails.
pub fn run(sh: &Shell, selection: &Selection) -> anyhow::Result<()> {
    let started = Instant::now();
    let (steps, packages) = select(sh, selection)?;
    // A build from scratch, as in CI, gains nothing from incremental data and pays for writing it.
    // Nor from debug information: a panic names its line without it.
    let in_ci = [("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "none")];
    let is_ci = sh.var_os("CI").is_some();
    let _environment = is_ci.then(|| in_ci.map(|(name, value)| sh.push_env(name, value)));
    let context = Context { sh, packages };

    // A missing tool fails here, not after minutes of building.
    print("== set-up: the tools that the steps need");
    setup::ensure(sh, &needs(&steps)).context("the set-up failed")?;
    let mut times = vec![("set-up", started.elapsed())];

    let mut background = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        print(format_args!("\n== {}: {}", step.name, step.about));
        if step.is_background && index + 1 < steps.len() {
            print("beside the steps that follow");
            background.push(Background::start(sh, step.name)?);
            continue;
        }

        let began = Instant::now();
        (step.run)(&context).with_context(|| {
            let (name, time) = (step.name, seconds(began.elapsed()));
            format!(
                "step `{name}` failed after {time}; repeat with `cargo xtask test --only {name}`"
            )
        })?;
        times.push((step.name, began.elapsed()));
    }

    for step in background {
        let (name, output, time) = step.finish()?;
        print(format_args!("\n== output of {name}\n{output}"));
        times.push((name, time));
    }

    print("\nstep          time");
    for (name, time) in &times {
        print(format_args!("{name:<8} {:>9}", seconds(*time)));
    }
    print(format_args!("all steps passed in {}", seconds(started.elapsed())));
    Ok(())
}

/// Returns the selected steps, and the arguments that select packages for cargo.
fn select(sh: &Shell, selection: &Selection) -> anyhow::Result<(Vec<&'static Step>, Vec<String>)> {
    let workspace = vec!["--workspace".to_owned()];
    Ok(match selection {
        Selection::All => (STEPS.iter().collect(), workspace),
        Selection::Named(names) => (named(names)?, workspace),
        Selection::Changed => {
            let changes = Changes::read(sh)?;
            (concerned(&changes), changes.package_arguments())
        }
    })
}

fn named(names: &[String]) -> anyhow::Result<Vec<&'static Step>> {
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|s| s.name != **name)) {
        let known: Vec<&str> = STEPS.iter().map(|s| s.name).collect();
        bail!("unknown step `{unknown}`; the steps are {}", known.join(", "));
    }
    Ok(STEPS.iter().filter(|step| names.iter().any(|name| step.name == name)).collect())
}

fn concerned(changes: &Changes) -> Vec<&'static Step> {
    STEPS.iter().filter(|step| (step.concerns)(changes)).collect()
}

/// Returns the needs of the steps, each once; the compiler comes first.
fn needs(steps: &[&Step]) -> Vec<Need> {
    let mut needs = vec![Need::Rust];
    for need in steps.iter().flat_map(|step| step.needs) {
        if !needs.contains(need) {
            needs.push(*need);
        }
    }
    needs
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_step_is_refused_with_the_known_names() {
        let error = named(&["rusty".to_owned()]).err().map(|e| e.to_string()).unwrap_or_default();

        assert!(error.starts_with("unknown step `rusty`"), "{error}");
        assert!(error.contains("screen, rust, fuzz"), "{error}");
    }

    #[test]
    fn named_steps_run_in_the_order_of_the_table() {
        let steps = named(&["rust".to_owned(), "fmt".to_owned()]).unwrap_or_default();
        let names: Vec<&str> = steps.iter().map(|s| s.name).collect();

        assert_eq!(names, ["fmt", "rust"]);
    }

    #[test]
    fn without_changes_only_the_cheap_steps_run() {
        let names: Vec<&str> = concerned(&Changes::default()).iter().map(|s| s.name).collect();

        assert_eq!(names, ["fmt", "tidy", "codegen"]);
    }

    #[test]
    fn step_names_are_unique() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..index].iter().all(|s| s.name != step.name), "{} twice", step.name);
        }
    }
}
